"""Pruned weights are drawn again as when the model was new."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from fedunlearn.defences.base import DEFENCES
from fedunlearn.defences.mask_fill import MaskFill
from fedunlearn.federation import Weights
from fedunlearn.settings import Settings


class RandomReinitSettings(Settings):
    """Settings of `random-reinit`."""

    scale: float = Field(
        default=1.0, ge=0, description="Half width of the draws, relative to the initialisation's; 0: off."
    )


@DEFENCES.register("random-reinit")
class RandomReinit(MaskFill):
    """Pruned weights and biases are drawn again from the layer's initial distribution.

    Formula: W[mask] ~ U(-b, b), b = scale / sqrt(fan-in of the layer). Needs no statistics of the model, and suits
    whole pruned units too: they are new ones that may learn something else. Against trained layers whose weights are
    wider than at the start, the fill is among the smaller ones: see the discernibility curve
    (`fedunlearn.defences.discernibility`).

    Deviation from the model's own initialisation where that is another one: gain and bias of a pruned normalisation
    layer stay zero, for a gain and bias of one and zero would be as plain to see.

    Adaptive: `revival`, which takes the smallest weights for the pruned ones, `donor-rows`, which gives pruned units
    the weights of others, `past-round-oracle`, who saw an earlier round, and `class-bias-revival`, which touches no
    weight at all.
    """

    Settings = RandomReinitSettings
    adaptive = ("revival", "donor-rows", "past-round-oracle", "class-bias-revival")
    costs = "noise on what the pruned layers put out"

    def values(self, name: str, weights: Weights, mask: np.ndarray, draws: np.random.Generator) -> np.ndarray:
        """Return uniform draws in the shape of the tensor; zeros for a layer without fan-in."""
        layer, _, _ = name.rpartition(".")
        fan_in = weights[f"{layer}.weight"][0].size if weights[f"{layer}.weight"].ndim > 1 else 0
        bound = self.settings.scale / np.sqrt(fan_in) if fan_in else 0.0
        return draws.uniform(-bound, bound, mask.shape)
