"""The query interface tells its first choices alone."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from fedunlearn.defences.base import DEFENCES, AnswerDefence
from fedunlearn.settings import Settings


class AnswerTop1Settings(Settings):
    """Settings of `answer-top1`."""

    top: int = Field(default=1, ge=1, description="How many classes are told; the number of classes or more: off.")


@DEFENCES.register("answer-top1")
class AnswerTop1(AnswerDefence):
    """Answers with the most probable class alone, as if certain; with `top` above 1, with so many probabilities.

    The probabilities that are told are scaled to sum to 1, the others are 0. With one class the answer is what an
    observer at access `labels` gets.

    Adaptive: `null-class-query` counts labels.
    """

    Settings = AnswerTop1Settings
    adaptive = ("null-class-query",)
    costs = "the probabilities; no prediction changes"

    def answer(self, probabilities: np.ndarray) -> np.ndarray:
        """Return the highest probabilities alone, scaled to sum to 1."""
        if self.settings.top >= probabilities.shape[1]:
            return probabilities
        chosen = np.argsort(-probabilities, axis=1, kind="stable")[:, : self.settings.top]
        told = np.zeros_like(probabilities)
        np.put_along_axis(told, chosen, np.take_along_axis(probabilities, chosen, axis=1), axis=1)
        return np.asarray(told / told.sum(axis=1, keepdims=True))
