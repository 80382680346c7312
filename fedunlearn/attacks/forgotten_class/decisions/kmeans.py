"""Two clusters of classes."""

from collections.abc import Sequence

import numpy as np
from sklearn.cluster import KMeans as Clusters
from sklearn.metrics import silhouette_score

from fedunlearn.attacks.forgotten_class.decisions.base import (
    DECISIONS,
    ROUNDING,
    ClassEvidence,
    Decided,
    Decision,
    Measured,
    selected,
)

LEAST_SILHOUETTE = 0.25
RESTARTS = 10


@DECISIONS.register("kmeans")
class KMeans(Decision):
    """The smaller of two clusters of the standardised features; none where they hardly separate. Needs no shadows.

    k-means with 2 clusters, k-means++ starts, 10 restarts. Of clusters of equal size the one with the higher mean
    score is named. It abstains when the silhouette is below 0.25 or undefined: all features equal, or two classes. It
    has no nominal level, and as any cloud of points has two halves, expect false alarms.

    Source: Zheng, Chen, Huang, Guo, Xiao, Label Leakage Attacks in Machine Unlearning (arXiv 2604.07386), who decide
    by k-means; the abstention is ours.
    """

    def __call__(self, evidence: ClassEvidence, shadows: Sequence[Measured], rng: np.random.Generator) -> Decided:
        """Return the smaller cluster."""
        seed = int(rng.integers(2**31))
        # In an order that knows no class numbers, so that rounding and the starts do not depend on them either.
        order = np.lexsort([*evidence.features.T, evidence.scores])
        points, scores = evidence.features[order], evidence.scores[order]
        spread = points.std(axis=0)
        spread[spread <= ROUNDING * np.abs(points).max(axis=0)] = np.inf  # equal but for rounding: no feature at all
        points = (points - points.mean(axis=0)) / spread
        if len(points) < 3 or len(np.unique(points, axis=0)) < 2:
            return Decided((), {"silhouette": None})
        clusters = Clusters(n_clusters=2, n_init=RESTARTS, random_state=seed).fit_predict(points)
        silhouette = float(silhouette_score(points, clusters))
        if silhouette < LEAST_SILHOUETTE:
            return Decided((), {"silhouette": silhouette})
        sizes = np.bincount(clusters, minlength=2)
        means = [scores[clusters == cluster].mean() for cluster in (0, 1)]
        chosen = min((0, 1), key=lambda cluster: (sizes[cluster], -means[cluster]))
        members = np.zeros(len(points), dtype=bool)
        members[order] = clusters == chosen
        return Decided(selected(members), {"silhouette": silhouette})
