"""A scenario's defences at work: on one branch, from its first request on, and in the query interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from fedunlearn.defences.base import (
    DEFENCES,
    AnswerDefence,
    Defence,
    Features,
    Occasion,
    ReleaseDefence,
    TrainingDefence,
)
from fedunlearn.federation import Federation, Weights
from fedunlearn.randomness import rng

Answer = Callable[[np.ndarray], np.ndarray]  # probabilities (n, num_classes) to what is answered instead


class Listed(Protocol):
    """A defence as a scenario lists it."""

    @property
    def name(self) -> str:
        """The name in the registry."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """Its own settings."""


def make_defences(listed: Sequence[Listed]) -> list[Defence]:
    """Return the defences that a scenario lists, in its order."""
    made = []
    for entry in listed:
        defence = DEFENCES[entry.name]
        made.append(defence(defence.Settings.model_validate(entry.settings, by_alias=True, by_name=False)))
    return made


def answering(defences: Sequence[Defence]) -> Answer | None:
    """Return what the query interface does to probabilities before it answers; None where it does nothing."""
    acting = [defence for defence in defences if isinstance(defence, AnswerDefence)]

    def answer(probabilities: np.ndarray) -> np.ndarray:
        for defence in acting:
            probabilities = defence.answer(probabilities)
        return probabilities

    return answer if acting else None


class Guard:
    """What the defences do to one branch while it works.

    They begin with the first request, also on a branch that serves none: a mechanism that only ran when somebody had
    asked would give the request away by itself. Where no class was asked for, one that was drawn stands in.

    Args:
        defences: of the scenario, in order.
        seed: of what they draw, in the stream "noise".
        num_classes: of the data set.
        samples_of: returns the ids of all training samples of some classes, by client.
        features: returns the head's inputs (n, d), float64, of a model for pictures of a kind.
    """

    def __init__(
        self,
        defences: Sequence[Defence],
        seed: int,
        num_classes: int,
        samples_of: Callable[[Sequence[int]], dict[int, np.ndarray]],
        features: Features,
    ) -> None:
        self._numbered = list(enumerate(defences, start=1))
        self._seed, self._num_classes, self._samples_of, self._features = seed, num_classes, samples_of, features
        self._classes: tuple[int, ...] = ()
        self._released = 0  # a restart begins the calls again, but the noise of its models must be new
        self._federation: Federation | None = None

    def request(self, federation: Federation, classes: Sequence[int]) -> None:
        """Hear that a request is served from here on, for `classes`; none where it names no whole class."""
        self._classes = tuple(sorted({*self._classes, *classes}))
        if self._federation is None and any(d.place in ("release", "training") for _, d in self._numbered):
            self._federation, federation.release = federation, self._release
            self._withhold()

    def _release(self, weights: Weights) -> Weights:
        """Return what leaves the server in place of a global model."""
        self._released += 1
        for number, defence in self._numbered:
            if isinstance(defence, ReleaseDefence):
                weights = defence.release(weights, self._occasion(number, self._released))
        self._withhold()
        return weights

    def _withhold(self) -> None:
        """Tell the federation what clients leave out now; the same draws every time, for a shorter list."""
        assert self._federation is not None
        classes: set[int] = set()
        for number, defence in self._numbered:
            if isinstance(defence, TrainingDefence) and self._released < defence.rounds:
                classes.update(defence.withheld(self._occasion(number, 0), self._num_classes))
        self._federation.withheld = self._samples_of(sorted(classes)) if classes else {}

    def _occasion(self, number: int, release: int) -> Occasion:
        assert self._federation is not None
        stand_in = int(rng(self._seed, "noise").integers(self._num_classes))
        return Occasion(
            classes=self._classes or (stand_in,),
            requested=bool(self._classes),
            fixed=lambda: rng(self._seed, "noise", 0, number),
            rng=rng(self._seed, "noise", release, number),
            features=self._features,
            pruned=self._federation.pruned,
        )
