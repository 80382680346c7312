"""The forgotten class's row of the head is given the size of the others."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from fedunlearn.defences.base import DEFENCES, Occasion, ReleaseDefence
from fedunlearn.defences.head import Head
from fedunlearn.federation import Weights
from fedunlearn.settings import Settings


class RowNormMatchSettings(Settings):
    """Settings of `row-norm-match`."""

    strength: float = Field(
        default=1.0, ge=0, le=1, description="How far the row goes towards the others' mean size; 0: off."
    )


@DEFENCES.register("row-norm-match")
class RowNormMatch(ReleaseDefence):
    """The forgotten row gets the mean, the norm around its mean and the bias that other rows have on average.

    Its direction stays: it was trained to point away from retained data, so its predictions stay harmless as far as
    the bias lets them. Where no class was asked for, a class drawn once is treated alike: a row of exactly average
    size would otherwise tell a request from none.

    Adaptive: `null-class-query` asks what the row predicts, `bias-drop` looks at how the bias moves from round to
    round instead of where it is.
    """

    Settings = RowNormMatchSettings
    adaptive = ("null-class-query", "bias-drop")
    costs = "predictions of the forgotten class wherever its old bias held them back"

    def release(self, weights: Weights, occasion: Occasion) -> Weights:
        """Return the model with the rows of `occasion.classes` matched."""
        if not self.settings.strength:
            return weights
        head = Head.of(weights)
        rows, others = head.rows, head.others(occasion.classes)
        means = rows.mean(axis=1, keepdims=True)
        norms = np.linalg.norm(rows - means, axis=1, keepdims=True)
        for u in occasion.classes:
            length = norms[u] if norms[u] else 1.0  # a row without direction gets none
            matched = means[others].mean() + (rows[u] - means[u]) / length * norms[others].mean()
            head.bias[u] += self.settings.strength * (head.bias[others].mean() - head.bias[u])
            rows[u] += self.settings.strength * (matched - rows[u])
        return head.placed_in(weights)
