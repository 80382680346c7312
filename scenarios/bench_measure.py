"""Turns, medians and ratios."""

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from fedunlearn.federation import Weights

Figures = dict[str, Any]
WARM_UP = 3  # rounds before the first that counts
ROOT = Path(__file__).resolve().parent.parent


class Contender(Protocol):
    """Somebody who does a round per call, and what the global model is after it."""

    weights: Weights

    def __call__(self) -> None:
        """Do one round."""


def take_turns(contenders: Mapping[str, Contender], turns: int, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of a round (the median of `rounds`) in every turn, by contender; all do equally many."""
    for step in contenders.values():
        median_seconds(step, WARM_UP)
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(turns):
        for name, step in contenders.items():
            seconds[name].append(median_seconds(step, rounds))
    return seconds


def median_seconds(step: Callable[[], object], rounds: int) -> float:
    """Return the median of the seconds that `rounds` calls take."""
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        step()
        taken.append(time.perf_counter() - began)
    return float(np.median(taken))


def shares(prefix: str, limit: str, seconds: Mapping[str, Sequence[float]]) -> Figures:
    """Return each contender's median seconds, and for those beside `limit` the share of its speed that they reach."""
    figures: Figures = {f"{prefix}_{name}_seconds": float(np.median(taken)) for name, taken in seconds.items()}
    for name, taken in seconds.items():
        if name != limit:
            figures |= ratio(f"{prefix}_{name}_share_of_{limit}", seconds[limit], taken)
    return figures


def ratio(name: str, numerators: Sequence[float], denominators: Sequence[float]) -> Figures:
    """Return the median of the ratios within a turn under `name`, the extremes under `name`_min and _max."""
    ratios = np.divide(numerators, denominators)
    return {name: float(np.median(ratios)), f"{name}_min": float(ratios.min()), f"{name}_max": float(ratios.max())}


def agree(models: Mapping[str, Weights]) -> None:
    """Make sure that the contenders did the same work: their models differ by rounding only.

    Raises:
        RuntimeError: when they differ by more.
    """
    (first, expected), *others = models.items()
    for name, weights in others:
        gap = max(float(np.abs(weights[key] - array).max()) for key, array in expected.items())
        if not gap < 1e-2:
            raise RuntimeError(f"{name} and {first} did not do the same work: their weights differ by {gap:g}")


def help_seconds() -> float:
    """Return how long `run_sim.py --help` takes, the median of five."""
    command = [sys.executable, str(ROOT / "run_sim.py"), "--help"]
    return median_seconds(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL), 5)
