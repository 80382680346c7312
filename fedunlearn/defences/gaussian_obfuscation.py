"""Pruned weights are filled with Gaussian noise of about the size of the others: no zero tells where they were."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from fedunlearn.defences.base import DEFENCES
from fedunlearn.defences.mask_fill import MaskFill
from fedunlearn.federation import Weights
from fedunlearn.settings import Settings


class GaussianObfuscationSettings(Settings):
    """Settings of `gaussian-obfuscation`."""

    scale: float = Field(
        default=1.0, ge=0, description="Standard deviation of the fill, relative to the tensor's kept weights; 0: off."
    )


@DEFENCES.register("gaussian-obfuscation")
class GaussianObfuscation(MaskFill):
    """Pruned weights are filled with Gaussian noise as large as the tensor's other weights.

    Formula: W[mask] ~ N(0, (scale * s)^2), s the standard deviation of the tensor's kept weights. How well the filled
    ones can be told from the others by their size is the discernibility curve (`fedunlearn.defences.discernibility`):
    a small scale leaves them among the smallest, a large one costs accuracy.

    Source: the defence proposed with the attack on pruned diffusion models, "Roots Beneath the Cut" (CVPR 2026, arXiv
    2603.06640). Deviations: the tensor's own spread, where the source gives one number.

    Adaptive: `revival`, which takes the smallest weights for the pruned ones, `past-round-oracle`, who saw an earlier
    round and needs no zeros, `regrowth-revival`, which reads signs from later updates, and `class-bias-revival`, which
    touches no weight at all.
    """

    Settings = GaussianObfuscationSettings
    adaptive = ("revival", "past-round-oracle", "regrowth-revival", "class-bias-revival")
    costs = "noise on what the pruned layers put out"

    def values(self, name: str, weights: Weights, mask: np.ndarray, draws: np.random.Generator) -> np.ndarray:
        """Return normal noise in the shape of the tensor; none where nothing of it was kept."""
        kept = weights[name][~mask].astype(np.float64)
        spread = kept.std() if kept.size else 0.0
        return np.asarray(self.settings.scale * spread * draws.standard_normal(mask.shape))
