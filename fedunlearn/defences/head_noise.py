"""Noise on the head: what its rows and biases tell about classes is blurred, and so is what they predict."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from fedunlearn.defences.base import DEFENCES, Occasion, ReleaseDefence
from fedunlearn.defences.head import Head
from fedunlearn.federation import Weights
from fedunlearn.settings import Settings


class HeadNoiseSettings(Settings):
    """Settings of `head-noise`."""

    scale: float = Field(
        default=0.1, ge=0, description="Standard deviation, relative to the root mean square of the tensor; 0: off."
    )


@DEFENCES.register("head-noise")
class HeadNoise(ReleaseDefence):
    """Gaussian noise on the head's weights and biases of every released model.

    Formula: W + scale * RMS(W) * N(0, 1), likewise for the bias; fresh for every model, as a fixed vector would
    vanish in the difference of two models. All classes alike, so it acts on branches without a request as well. No
    privacy accounting: this is noise, not differential privacy.

    Adaptive: `bias-drop` averages over rounds, in which fresh noise falls as one over the root of their number, and
    `null-class-query` asks about many images, in which noise on weights turns into a small one on shares.
    """

    Settings = HeadNoiseSettings
    adaptive = ("bias-drop", "null-class-query")
    costs = "noise on every prediction, which training then has to undo"

    def release(self, weights: Weights, occasion: Occasion) -> Weights:
        """Return the model with noise on its head."""
        if not self.settings.scale:
            return weights
        head, draws = Head.of(weights), occasion.rng
        return Head(*(self._noisy(part, draws) for part in (head.rows, head.bias))).placed_in(weights)

    def _noisy(self, array: np.ndarray, draws: np.random.Generator) -> np.ndarray:
        size = self.settings.scale * np.sqrt(np.mean(np.square(array)))
        return np.asarray(array + size * draws.standard_normal(array.shape))
