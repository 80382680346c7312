"""The same measures for what was asked to be forgotten and for the others: does forgetting protect from inversion?"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from fedunlearn.judging.intervals import bootstrap_mean, interval_of_share
from fedunlearn.judging.inversion.comparison import OF_CLAIMED, Comparison
from fedunlearn.judging.metric import METRICS, Metric, is_share, mean_or_nan

MEASURES = ("attack-accuracy", "knn-distance", "coverage", "ddcs-surrogate", "vulnerable-share")
PARTS: dict[str, tuple[str, str]] = {  # what is meant of claimed pictures, and of private samples
    "forgotten": ("pictures of whole forgotten classes", "samples that were asked to be forgotten"),
    "others": ("pictures of the other classes", "the other private samples"),
}
NAMES = tuple(f"{part}-{measure}" for part in PARTS for measure in MEASURES)
HELD_OUT = ("attack-accuracy", "coverage", "ddcs-surrogate")  # what is told of fresh samples, too
HELD_OUT_NAMES = tuple(f"held-out-{measure}" for measure in HELD_OUT)


def part_metrics(
    found: Comparison,
    claimed_forgotten: np.ndarray,
    private_forgotten: np.ndarray,
    rng: np.random.Generator,
) -> dict[str, Metric]:
    """Return every measure of both parts; NaN where a part is empty.

    A part may be a single class, so intervals draw pictures and samples again, not classes.

    Args:
        found: everything sample by sample.
        claimed_forgotten: bool (m,), which pictures are claimed of a whole forgotten class.
        private_forgotten: bool (n,), which private samples were asked to be forgotten.
        rng: for the bootstrap.
    """
    metrics = {}
    for part in PARTS:
        for measure in MEASURES:
            chosen = claimed_forgotten if measure in OF_CLAIMED else private_forgotten
            values = found.values[measure][chosen if part == "forgotten" else ~chosen]
            known = values[np.isfinite(values)]
            interval = (interval_of_share if is_share(measure) else bootstrap_mean)(known, rng)
            metrics[f"{part}-{measure}"] = Metric(mean_or_nan(known), len(known), interval)
    return metrics


def _register() -> None:
    """File every measure of a part, and of fresh samples, under its name, described by what it is restricted to."""

    def file(name: str, measure: str, words: str) -> None:
        restricted: Callable[..., Any] = partial(METRICS[measure])
        restricted.__doc__ = f"`{measure}` {words}."
        METRICS.register(name)(restricted)

    for part, (pictures, samples) in PARTS.items():
        for measure in MEASURES:
            file(f"{part}-{measure}", measure, f"of {pictures if measure in OF_CLAIMED else samples}")
    for name, measure in zip(HELD_OUT_NAMES, HELD_OUT, strict=True):
        file(name, measure, "of as many fresh samples of the classes: what knowing the classes alone gives")


_register()
