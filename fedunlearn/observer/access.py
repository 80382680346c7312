"""What an observer may see: access levels as sets of capabilities, and the flags that add knowledge."""

from typing import Literal, get_args

Access = Literal[
    "labels",
    "probabilities",
    "probabilities-before-after",
    "final-weights",
    "weights-before-after",
    "broadcasts",
    "aggregate-only",
    "updates",
]
ACCESS_LEVELS: tuple[Access, ...] = get_args(Access)
SHOWS: dict[Access, str] = {
    "labels": "the final model's predicted classes for its own questions",
    "probabilities": "the final model's probabilities for its own questions",
    "probabilities-before-after": "those of the model before the request as well",
    "final-weights": "the final model's weights",
    "weights-before-after": "the models' weights before and after the request",
    "broadcasts": "the global model of every round, as a client receives it",
    "aggregate-only": "and the sum of every round's updates: a server behind secure aggregation",
    "updates": "and every client's update: an honest-but-curious server",
}

_ANSWERS = {"labels", "probabilities"}
_MODELS = _ANSWERS | {"before", "weights"}
CAPABILITIES: dict[Access, frozenset[str]] = {
    "labels": frozenset({"labels"}),
    "probabilities": frozenset(_ANSWERS),
    "probabilities-before-after": frozenset(_ANSWERS | {"before"}),
    "final-weights": frozenset(_ANSWERS | {"weights"}),
    "weights-before-after": frozenset(_MODELS),
    "broadcasts": frozenset(_MODELS | {"broadcasts"}),
    "aggregate-only": frozenset(_MODELS | {"broadcasts", "aggregate"}),
    "updates": frozenset(_MODELS | {"broadcasts", "aggregate", "updates"}),
}

# What the flags tell of a request is told on the control branches too, as it was filed: the attacker of a control was
# led to expect a request that is not served there.
FLAGS: dict[str, str] = {
    "public-unlabelled": "the public split's images",
    "public-labelled": "the public split's images and labels",
    "learning-known": "the clients' learning rate, batch size and local epochs",
    "batch-norm-statistics": "the statistics that batch normalisation saw in a client's batch",
    "request-round": "the round of the request",
    "request-party": "which clients asked",
    "request-target": "which classes, samples or clients the request names",
    "class-count-known": "how many classes were asked to be forgotten",
    "method": "which unlearning method the server runs",
    "own-updates": "what one of the clients sent itself, the observer's own",
    "auxiliary-replies": "statistics that clients send beside updates: importances, activations, second heads",
    "mask-known": "which weights the unlearning method pruned",
    "defences-known": "which defences are in force, and their settings",
    "candidates": "labelled samples whose membership is in question",
}


class AccessRefused(Exception):
    """An attack asked for something that its observer's access level or flags do not give."""


def allows(held: Access, needed: Access) -> bool:
    """Return whether an observer at level `held` sees everything that level `needed` shows.

    Example:
        >>> allows("updates", "broadcasts"), allows("labels", "final-weights")
        (True, False)
        >>> allows("final-weights", "probabilities-before-after")
        False
    """
    return CAPABILITIES[needed] <= CAPABILITIES[held]
