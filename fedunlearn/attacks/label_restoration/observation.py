"""An update as the label estimators see it: the head's gradient, and what the head makes of images meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fedunlearn.attacks.label_restoration.outputs import Outputs
from fedunlearn.federation import Weights
from fedunlearn.observer.access import AccessRefused

UNKNOWN_STEPS = 32  # local steps that stand for an unknown number of equal ones


@dataclass(frozen=True)
class Observation:
    """The head of one client's update, as a mean gradient over T local steps (T = 1 for a gradient).

    Statistics of the model at step t are interpolated between those of the broadcast and those of the returned
    model, t/T of the way for t = 0..T-1 (Dimitrov et al., Data Leakage in Federated Averaging, TMLR 2022), and each
    step counts with its share in the update.

    Attributes:
        gradient: the head's tensors by name, float64.
        total: the number K of samples behind the update.
        shares: (T,) how much each step contributes to the update; sums to 1.
        heads: the head's tensors in the broadcast and in the returned model (twice the broadcast's for a gradient).
        outputs: what those two models make of the attacker's images; None for estimators that need no images.
    """

    gradient: Weights
    total: int
    shares: np.ndarray
    heads: tuple[Weights, Weights]
    outputs: tuple[Outputs, Outputs] | None = None

    @property
    def weight(self) -> np.ndarray:
        """(C, M) gradient of the head's weights."""
        return self.gradient["head.weight"]

    @property
    def bias(self) -> np.ndarray:
        """(C,) gradient of the head's bias.

        Raises:
            AccessRefused: when there is none.
        """
        if "head.bias" not in self.gradient:
            raise AccessRefused("the model's head has no bias, or the update lacks it; use weight-form")
        return self.gradient["head.bias"]

    @property
    def way(self) -> np.ndarray:
        """(T,) where between the broadcast and the returned model each step was."""
        return np.arange(len(self.shares)) / len(self.shares)

    def mean(self, statistic: Callable[[Outputs], np.ndarray]) -> np.ndarray:
        """Return a statistic of the head's outputs, averaged over the local steps."""
        start, end = self._outputs
        way = float(self.shares @ self.way)
        return statistic(start) if way == 0 else (1 - way) * statistic(start) + way * statistic(end)

    @cached_property
    def middle(self) -> Outputs:
        """Outputs where the steps were on average: features and probabilities are averaged one by one."""
        start, end = self._outputs
        way = float(self.shares @ self.way)
        if way == 0:
            return start
        features = (1 - way) * start.features + way * end.features
        return Outputs(features, (1 - way) * start.probabilities + way * end.probabilities, start.labels)

    def feature_sums(self) -> np.ndarray:
        """Return the mean feature sum at each step, (T,)."""
        start, end = self._outputs
        return (1 - self.way) * start.feature_sum + self.way * end.feature_sum

    @property
    def _outputs(self) -> tuple[Outputs, Outputs]:
        assert self.outputs is not None, "an estimator that asks for outputs declares which images it needs"
        return self.outputs
