"""What an attack returns. A finding holds claims, never a score: scoring needs the truth, and that is the judge's."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fedunlearn.federation import Weights


@dataclass(frozen=True)
class LabelCounts:
    """Claimed number of samples of each class in observed updates.

    Attributes:
        targets: (the view's round number, client id) of each update.
        counts: one integer array (num_classes,) per target.
        estimates: the real-valued counts before rounding, float64 (num_classes,) per target; empty where an attack
            has none.
    """

    targets: tuple[tuple[int, int], ...]
    counts: tuple[np.ndarray, ...]
    notes: dict[str, Any] = field(default_factory=dict)
    estimates: tuple[np.ndarray, ...] = ()


@dataclass(frozen=True)
class Reconstructions:
    """Claimed training images behind observed updates.

    Attributes:
        targets: (the view's round number, client id) of each update.
        images: one float32 array (batch, channels, height, width) in [0, 1] per target.
        labels: one integer array (batch,) per target, as used by the attack.
        label_source: `known`, `known, n wrong` or the name of the label attack that gave them.
    """

    targets: tuple[tuple[int, int], ...]
    images: tuple[np.ndarray, ...]
    labels: tuple[np.ndarray, ...]
    label_source: str
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ForgottenImages:
    """Claimed pictures of the samples that a request asks to forget, in no order.

    Attributes:
        request: id of the request that the claim is about, as the view tells it.
        images: float32 array (n, channels, height, width) in [0, 1].
        labels: integer array (n,), as used by the attack.
        label_source: the name of the label attack that gave them.
    """

    request: str
    images: np.ndarray
    labels: np.ndarray
    label_source: str
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Said:
    """What a sequential attack would have said after a round.

    Attributes:
        round: the view's number of the last round that it had seen.
        scores: (num_classes,), higher = more likely forgotten.
        named: the classes that its decision rule named then.
    """

    round: int
    scores: np.ndarray
    named: tuple[int, ...]


@dataclass(frozen=True)
class ForgottenClasses:
    """Claimed forgotten classes.

    Attributes:
        scores: (num_classes,), higher = more likely forgotten.
        named: the classes that the attack's own decision rule names; empty when it sees no request.
        said: of an attack on a stream of rounds, what it would have said after each, ascending; empty for others.
        distribution: (num_classes,), summing to 1: the claimed class shares of what was forgotten; None where the
            attack makes no such claim.
        prototypes: float32 (num_classes, channels, height, width) in [0, 1]: a picture per class that the attack
            made; None where it makes none.
    """

    scores: np.ndarray
    named: tuple[int, ...]
    notes: dict[str, Any] = field(default_factory=dict)
    said: tuple[Said, ...] = ()
    distribution: np.ndarray | None = None
    prototypes: np.ndarray | None = None


@dataclass(frozen=True)
class Membership:
    """Claimed membership of the candidate samples, in their order.

    Attributes:
        scores: (num_candidates,), higher = more likely still a member of the training data.
    """

    scores: np.ndarray
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ClassImages:
    """Claimed pictures of what a model was trained on, class by class; the best of a class come first.

    Attributes:
        images: float32 (n, channels, height, width) in [0, 1].
        labels: int64 (n,): the class that each is to show.
        notes: what the attack tells about its work.
    """

    images: np.ndarray
    labels: np.ndarray
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RevivedModel:
    """A model in which what was pruned is to be back.

    Attributes:
        weights: every tensor of the revived model.
        filled: by tensor, bool of its shape: where the attack thinks that something was pruned; empty for attacks that
            restore no weight.
        revived_class: the class that the attack aimed at, None if it needed none.
        notes: what the attack tells about its work.
        signs: by tensor, int8 of its shape: the claimed sign of each pruned weight, 0 without a claim; also of those
            that the attack did not put back. Empty for attacks that claim none.
    """

    weights: Weights
    filled: Weights
    revived_class: int | None
    notes: dict[str, Any] = field(default_factory=dict)
    signs: Weights = field(default_factory=dict)


Finding = LabelCounts | Reconstructions | ForgottenImages | ForgottenClasses | Membership | RevivedModel | ClassImages
