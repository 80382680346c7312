"""Every random number of the project comes from `rng(seed, stream, round, client)`.

Independent streams make results independent of execution order: a client's batches are the same
whichever worker process draws them, and resuming at round r needs no saved generator state.
"""

import numpy as np

STREAMS = {
    "split": 1,  # which samples are train, validation, test, public, judge
    "partition": 2,  # which client holds which training sample
    "initialisation": 3,  # model weights
    "sampling": 4,  # which clients take part in a round
    "batches": 5,  # the order in which a client visits its data
    "noise": 6,  # dropout layers, defences
    "faults": 7,  # which injected faults fire
    "requests": 8,  # randomly drawn targets of unlearning requests
    "attack": 9,  # the observer
    "judge": 10,  # bootstrap intervals, membership candidates
    "probes": 11,  # what a probed client works on
    "unlearning": 12,  # what a method's own client half draws: the order of its batches, wrong labels
    "poison": 13,  # which samples of the poisoning client carry the trigger
    "forgetting": 14,  # the samples and the blind model that the judge compares final models on
    "diffusion": 15,  # times, noise and withheld classes in the training of diffusion models
}


def rng(seed: int, stream: str, round: int = 0, client: int = 0) -> np.random.Generator:
    """Return the generator of one (seed, stream, round, client).

    Args:
        seed: the scenario's seed, 0 <= seed < 2**32.
        stream: a name in `STREAMS`.
        round: the branch's call counter, or an index that the stream's user chooses.
        client: the logical client id (0 where no client is meant).

    Raises:
        KeyError: for a stream that does not exist.
    """
    # All four numbers, always: numpy pads shorter lists with zeros, so [1] and [1, 0] would be one stream.
    return np.random.default_rng([seed, STREAMS[stream], round, client])
