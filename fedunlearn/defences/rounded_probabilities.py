"""The query interface rounds what it tells."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from fedunlearn.defences.base import DEFENCES, AnswerDefence
from fedunlearn.settings import Settings

EXACT = 8  # decimals from which single precision is told as it is


class RoundedProbabilitiesSettings(Settings):
    """Settings of `rounded-probabilities`."""

    decimals: int = Field(default=1, ge=0, description="Of every probability; 8 or more: off.")


@DEFENCES.register("rounded-probabilities")
class RoundedProbabilities(AnswerDefence):
    """Answers with probabilities rounded to a few decimals: small ones, where forgetting shows, become 0.

    Rounded probabilities need not sum to 1. The predicted class stays what it was.

    Adaptive: `null-class-query` averages over many images, and counts labels where too little is left.
    """

    Settings = RoundedProbabilitiesSettings
    adaptive = ("null-class-query",)
    costs = "the decimals; no prediction changes"

    def answer(self, probabilities: np.ndarray) -> np.ndarray:
        """Return the rounded probabilities."""
        if self.settings.decimals >= EXACT:
            return probabilities
        return np.asarray(probabilities.round(self.settings.decimals))
