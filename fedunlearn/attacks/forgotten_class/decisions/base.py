"""What a decision is: a rule from evidence per class, and from evidence about shadows, to the classes it names."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

from fedunlearn.registry import Registry

ROUNDING = 1e-9  # numbers that differ by less than this share of them are equal


@dataclass(frozen=True)
class ClassEvidence:
    """What an attack measured about each class of one model.

    Attributes:
        scores: (num_classes,), finite, higher = more likely forgotten.
        features: (num_classes, number of features), finite; the scores as a column where an attack has no others.
        levels: (num_classes,), not negative, small = likely forgotten, for example how sure a model is of a class; for
            rules that compare with half the median. None where an attack has no such quantity.
    """

    scores: np.ndarray
    features: np.ndarray
    levels: np.ndarray | None = None

    @classmethod
    def of(cls, scores: np.ndarray) -> ClassEvidence:
        """Return evidence that has the scores alone."""
        return cls(scores, scores[:, None])


Measured = tuple[ClassEvidence, tuple[int, ...]]  # of a shadow: its evidence, and the classes that it forgot


@dataclass(frozen=True)
class Decided:
    """A decision's claim.

    Attributes:
        named: ascending class numbers; empty when it sees no request.
        notes: how it came to that; `nominal-false-alarm-rate` where it has a nominal level.
    """

    named: tuple[int, ...]
    notes: dict[str, Any] = field(default_factory=dict)


class Decision(ABC):
    """Base of the decisions; one file each, registered by name. Renumbering the classes renumbers the answer.

    Args:
        alpha: nominal false-alarm level, for decisions that have one.
        forgotten_count: how many classes were forgotten, None where that is not known.

    Attributes:
        fits: whether it is fitted on shadows and refused without them.
        shadows: which shadows it looks at: those that forgot classes, those that did not (`controls`), both or none.
    """

    fits: ClassVar[bool] = False
    shadows: ClassVar[Literal["none", "both", "controls"]] = "none"

    def __init__(self, alpha: float, forgotten_count: int | None) -> None:
        self.alpha, self.forgotten_count = alpha, forgotten_count

    @abstractmethod
    def __call__(self, evidence: ClassEvidence, shadows: Sequence[Measured], rng: np.random.Generator) -> Decided:
        """Return which classes are named.

        Args:
            evidence: about the model in question.
            shadows: about the attacker's own federations; empty where the decision looks at none or none are to be had.
            rng: the only source of randomness.
        """


DECISIONS: Registry[type[Decision]] = Registry("decision")


def broken_ties(scores: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return scores in the same order, where equal ones are put in random order by less than any other gap."""
    distinct = np.unique(scores)
    gap = np.diff(distinct).min() if len(distinct) > 1 else 1.0
    places = rng.permutation(len(scores)) / len(scores)
    return scores + places * gap / 2 if len(distinct) < len(scores) else scores


def selected(mask: np.ndarray) -> tuple[int, ...]:
    """Return the ascending class numbers where a mask (num_classes,) is true."""
    return tuple(np.flatnonzero(mask).tolist())
