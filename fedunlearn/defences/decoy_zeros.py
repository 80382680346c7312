"""Weights that nobody asked to remove are zeroed too, so that a zero does not prove that it was pruned."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from fedunlearn.defences.base import DEFENCES, Occasion, ReleaseDefence
from fedunlearn.federation import Weights
from fedunlearn.settings import Settings


class DecoyZerosSettings(Settings):
    """Settings of `decoy-zeros`."""

    share: float = Field(default=0.01, ge=0, lt=1, description="Share of all kept weights that is zeroed; 0: off.")


@DEFENCES.register("decoy-zeros")
class DecoyZeros(ReleaseDefence):
    """A random share of the kept weights of every matrix and kernel is zero as well, from the request on.

    Who takes exact zeros for the mask then has a precision of a / (a + share * (1 - a)) in a tensor of which a share a
    was pruned; the recall stays 1. The decoys are the same ones in every release, as new ones would stand out from
    the zeros that stay. Head included, biases not; it acts on branches where nothing was pruned as well, so that
    zeros do not give a pruning method away.

    Adaptive: `revival`, which completes decoys and pruned weights alike, and `past-round-oracle`, who saw what was
    there before.
    """

    Settings = DecoyZerosSettings
    adaptive = ("revival", "past-round-oracle")
    costs = "a random share of every layer's weights"

    def release(self, weights: Weights, occasion: Occasion) -> Weights:
        """Return the model with its decoys zeroed."""
        if not self.settings.share:
            return weights
        draws, thinned = occasion.fixed(), {}
        for name, array in weights.items():
            if array.ndim > 1:
                decoys = draws.random(array.shape) < self.settings.share
                decoys &= ~occasion.pruned.get(name, np.zeros(array.shape, bool))
                thinned[name] = np.where(decoys, np.zeros_like(array), array)
        return weights | thinned
