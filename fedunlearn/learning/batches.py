"""Which samples a client visits in which order: a pure function of (seed, call, client, number of samples).

Shuffling by sorting keyed random numbers lets one call serve a thousand clients. The numbers are SplitMix64
(Steele, Lea, Flood, OOPSLA 2014; it passes BigCrush), used as its authors split it: the round's generator in the
stream "batches" draws one 64-bit state, its outputs are the clients' states, and their outputs are the keys.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from fedunlearn.randomness import rng

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
POSITION_BITS = 24
MOST_SAMPLES = 1 << POSITION_BITS  # of one client
POSITION = np.uint64(MOST_SAMPLES - 1)


def mix(states: np.ndarray) -> np.ndarray:
    """Return SplitMix64's outputs for an array of uint64 states, the generator's state being k * GOLDEN at step k."""
    z = states ^ (states >> np.uint64(30))
    z *= np.uint64(0xBF58476D1CE4E5B9)
    z ^= z >> np.uint64(27)
    z *= np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return z


@lru_cache(maxsize=16)
def _round_state(seed: int, call: int) -> np.uint64:
    return rng(seed, "batches", call).integers(2**64, dtype=np.uint64)


def shuffles(seed: int, call: int, clients: Sequence[int], sizes: np.ndarray, epochs: int) -> np.ndarray:
    """Return the orders in which clients visit their samples.

    Args:
        seed: the scenario's.
        call: the branch's call counter.
        clients: logical ids.
        sizes: the number of samples of each client, at most `MOST_SAMPLES`.
        epochs: how many orders per client.

    Returns:
        int64 of shape (clients, epochs, largest size): row k, e holds a uniform permutation of range(sizes[k])
        in its first sizes[k] entries; what follows is meaningless.
    """
    largest = int(sizes.max())
    if largest > MOST_SAMPLES:
        raise ValueError(f"a client with {largest} samples; at most {MOST_SAMPLES} can be shuffled")
    client_states = mix(_round_state(seed, call) + GOLDEN * (np.asarray(clients, np.uint64) + np.uint64(1)))
    positions = np.arange(largest, dtype=np.uint64)
    steps = (np.arange(epochs, dtype=np.uint64)[:, None] << np.uint64(POSITION_BITS)) + positions + np.uint64(1)
    keys = mix(client_states[:, None, None] + GOLDEN * steps)
    # Sorting the keys with the position in their low bits sorts the positions by the 40 high bits.
    keys &= ~POSITION
    keys |= positions
    keys[np.broadcast_to(positions >= sizes[:, None, None].astype(np.uint64), keys.shape)] = np.uint64(2**64 - 1)
    keys.sort(axis=-1)
    return (keys & POSITION).astype(np.int64)


def epoch_batches(seed: int, call: int, client: int, n: int, batch_size: int, epochs: int) -> list[np.ndarray]:
    """Return the positions (into the client's n sorted sample ids) of every local step of FedAvg, in order.

    Each epoch is a fresh shuffle cut into batches; its last batch may be smaller.
    """
    orders = shuffles(seed, call, [client], np.array([n]), epochs)[0]
    return [order[start : start + batch_size] for order in orders for start in range(0, n, batch_size)]


def draw_batch(seed: int, call: int, client: int, n: int, batch_size: int) -> np.ndarray:
    """Return the positions of the min(n, batch_size) samples of a FedSGD batch, drawn without replacement."""
    return epoch_batches(seed, call, client, n, batch_size, 1)[0]


class StackedBatches:
    """The local steps of several clients side by side: the batches of `epoch_batches`, padded.

    Args:
        seed: the scenario's.
        call: the branch's call counter.
        held: the sorted sample ids of each client, no client without any, the largest clients first.
        batch_size: samples per step.
        length: to which every batch is padded, at least min(batch_size, largest client).
        epochs: passes over the data.
    """

    def __init__(
        self, seed: int, call: int, held: Mapping[int, np.ndarray], batch_size: int, length: int, epochs: int
    ) -> None:
        self._batch_size = batch_size
        self._length = length
        self._sizes = np.array([len(ids) for ids in held.values()])
        self._orders = shuffles(seed, call, list(held), self._sizes, epochs)
        self._ids = np.concatenate(list(held.values()))
        self._starts = np.cumsum(self._sizes) - self._sizes
        self._per_epoch = -(-self._sizes // batch_size)
        self.steps = self._per_epoch * epochs

    def __len__(self) -> int:
        return len(self._sizes)

    def at(self, step: int, active: int) -> tuple[np.ndarray, np.ndarray]:
        """Return what the first `active` clients visit at a step that they all have.

        Returns:
            Sample ids (active, length), int64, padded with an id of the same client; and bool (active, length),
            False for padding.
        """
        epochs, batches = np.divmod(step, self._per_epoch[:active])
        places = batches[:, None] * self._batch_size + np.arange(self._length)
        real = places < np.minimum(self._sizes[:active], (batches + 1) * self._batch_size)[:, None]
        rows = np.arange(active)[:, None]
        positions = self._orders[rows, epochs[:, None], np.where(real, places, 0)]
        return self._ids[self._starts[:active, None] + positions], real
