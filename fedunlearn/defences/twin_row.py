"""The forgotten class gets a row with which it is predicted now and then, like the others."""

from __future__ import annotations

import numpy as np
from pydantic import Field
from scipy.special import log_softmax, logsumexp

from fedunlearn.defences.base import DEFENCES, Occasion, ReleaseDefence
from fedunlearn.defences.head import Head
from fedunlearn.federation import Weights
from fedunlearn.settings import Settings

CANDIDATES = 64  # rows that are tried


class TwinRowSettings(Settings):
    """Settings of `twin-row`."""

    share: float = Field(
        default=0.01, ge=0, lt=1, description="Of the server's images that the class is predicted on; 0: off."
    )


@DEFENCES.register("twin-row")
class TwinRow(ReleaseDefence):
    """The forgotten class is predicted on a chosen share of images, and on noise as often as a retained class is.

    Candidates for the row are random mixtures of the retained rows, as far from their mean as those are on average,
    each with the bias at which it wins on `share` of the server's images. The one is taken whose mean probability on
    noise, sparse and uniform, is nearest to that of a twin, a retained class drawn once.

    It is the direct answer to "which class is never predicted?", at a price that no defence can go below: whoever
    has predicted u on a share q of retained images is wrong on them, so retained accuracy falls by up to q, and a
    class that shall look like one of K on real images needs q near 1/K. Where no class was asked for nothing is done:
    none is missing from the predictions there, and a retained class would lose its row.

    Adaptive: `null-class-query` with real images finds the share that is still the smallest; `fuia` finds the row
    that was exchanged; `closest-rows` finds that it lies among the others, where trained rows repel each other.
    """

    Settings = TwinRowSettings
    adaptive = ("null-class-query", "fuia", "closest-rows")
    costs = "up to the chosen share of retained accuracy"
    needs_public = True

    def release(self, weights: Weights, occasion: Occasion) -> Weights:
        """Return the model with twins for the requested classes."""
        images = occasion.features(weights, "own")
        if not self.settings.share or not occasion.requested or not len(images):
            return weights
        noises = [occasion.features(weights, "sparse"), occasion.features(weights, "uniform")]
        head, draws = Head.of(weights), occasion.fixed()
        others = head.others(occasion.classes)
        for u in occasion.classes:
            twin, mixtures = draws.choice(others), draws.standard_normal((CANDIDATES, len(others)))
            rows = mixed(head.rows[others], mixtures)
            biases = np.quantile(_lead(head, others, images)[:, None] - images @ rows.T, self.settings.share, axis=0)
            tried = [_with_row(head, u, row, bias) for row, bias in zip(rows, biases, strict=True)]
            head = min(tried, key=lambda one: sum(_distance(one, u, twin, noise) for noise in noises))
        return head.placed_in(weights)


def mixed(rows: np.ndarray, mixtures: np.ndarray) -> np.ndarray:
    """Return mixtures (n, k) of rows (k, d), each as far from the rows' mean as those are on average."""
    mean = rows.mean(axis=0)
    away = mixtures @ (rows - mean)
    size = np.linalg.norm(rows - mean, axis=1).mean()
    return np.asarray(mean + size * away / np.linalg.norm(away, axis=1, keepdims=True))


def _lead(head: Head, others: np.ndarray, features: np.ndarray) -> np.ndarray:
    return np.asarray(head.logits(features)[:, others].max(axis=1))


def _with_row(head: Head, u: int, row: np.ndarray, bias: float) -> Head:
    rows, biases = head.rows.copy(), head.bias.copy()
    rows[u], biases[u] = row, bias
    return Head(rows, biases)


def _distance(head: Head, u: int, twin: int, features: np.ndarray) -> float:
    """Return how far apart the logarithms of two classes' mean probabilities are."""
    means = logsumexp(log_softmax(head.logits(features), axis=1), axis=0)
    return float(abs(means[u] - means[twin]))
