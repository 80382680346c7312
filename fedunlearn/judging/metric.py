"""One judged number with everything needed to read it, and the registry of metric functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fedunlearn.registry import Registry

NAN = math.nan
Interval = tuple[float, float]
UNKNOWN: Interval = (NAN, NAN)

RATES = frozenset({  # 0 or 1 in each trial
    "exact", "top-1", "exact-set", "alarm", "false-alarm", "detected", "detected-within-1",
})  # fmt: skip

METRICS: Registry[Callable[..., Any]] = Registry("metric")


LOWER_IS_BETTER = frozenset({
    "lpips", "fft2d", "detection-delay", "early-alarms", "request-round-error", "distribution-error",
    "class-false-positive-rate", "knn-distance", "forgotten-knn-distance", "others-knn-distance", "frechet-judge-cnn",
})  # fmt: skip
UNBOUNDED = frozenset({
    "ssim", "mcc", "lpips", "density", "knn-distance", "forgotten-knn-distance", "others-knn-distance",
    "frechet-judge-cnn", "ddcs-excess", "vulnerability-rank", "margin-rank",
})  # fmt: skip
ROUNDS = frozenset({"detection-delay", "request-round-error"})  # counted in rounds


def is_share(name: str) -> bool:
    """Return whether a metric lies between 0 and 1."""
    return not name.startswith("psnr") and name not in UNBOUNDED | ROUNDS


@dataclass(frozen=True)
class Metric:
    """A value and what it has to be compared with. NaN means unknown or failed, never 0.

    Attributes:
        value: the measured value.
        n: how many trials (updates, images, candidates, requests) it is the mean of.
        ci: 95 % interval (low, high): Wilson for shares, bootstrap for means.
        chance: what an answer drawn at random scores on average.
        baseline: what the best trivial answer scores.
        control: the same metric where nothing was asked to be forgotten.
        oracle: the same metric on the model retrained without the forgotten data.
    """

    value: float
    n: int
    ci: Interval = UNKNOWN
    chance: float = NAN
    baseline: float = NAN
    control: float = NAN
    oracle: float = NAN

    def with_values(self, **changes: Any) -> Metric:
        """Return a copy with some attributes replaced."""
        return replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        """Return plain values; NaN becomes None.

        Example:
            >>> Metric(1.0, 4).to_json()["chance"] is None
            True
        """
        return {
            "value": finite_or_none(self.value),
            "n": int(self.n),
            "ci": [finite_or_none(end) for end in self.ci],
            "chance": finite_or_none(self.chance),
            "baseline": finite_or_none(self.baseline),
            "control": finite_or_none(self.control),
            "oracle": finite_or_none(self.oracle),
        }


def finite_or_none(value: float) -> float | None:
    """Return a plain float, or None for NaN and infinity (JSON has neither)."""
    return float(value) if math.isfinite(value) else None


def number(value: float | None) -> float:
    """Return the float, NaN for None."""
    return NAN if value is None else float(value)


def mean_or_nan(values: Sequence[float] | np.ndarray) -> float:
    """Return the mean, NaN of no values."""
    return float(np.mean(values)) if len(values) else NAN


def as_json(value: Any) -> Any:
    """Return a value as JSON values: arrays become lists, NaN becomes None, other objects their text."""
    if isinstance(value, Mapping):
        return {str(key): as_json(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset | np.ndarray):
        return [as_json(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)
