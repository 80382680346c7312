"""Label counts as the non-negative mix of class gradients that explains the observed one."""

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from fedunlearn.attacks.base import ATTACKS
from fedunlearn.attacks.label_restoration.fitting import nonnegative_fit
from fedunlearn.attacks.label_restoration.observation import Observation
from fedunlearn.attacks.label_restoration.restoring import LabelledRestoration, LabelledSettings

SUM_WEIGHT = 10  # of the equation sum = K, in mean entries of the system


class MixSettings(LabelledSettings):
    """Settings of `class-conditional-nnls`."""

    on: Literal["bias", "weights"] = Field(
        default="bias", description="Which of the head's gradients is explained: C numbers, or C times M."
    )


@ATTACKS.register("class-conditional-nnls")
class ClassConditionalNNLS(LabelledRestoration):
    """Label counts as the non-negative mix of the classes' public mean gradients that explains the observed one.

    Minimises |A count - K gradient|^2 over counts >= 0, column j of A the head's mean gradient over public images of
    class j (of the bias, or of the weights), with one more equation w * sum = w * K. Source: this project; it is
    `ilrg` with measured instead of guessed class answers. For FedAvg A is interpolated over the local steps.
    """

    Settings: ClassVar[type[LabelledSettings]] = MixSettings

    def estimate(self, seen: Observation) -> np.ndarray:
        """Return the mix."""
        if self.settings.on == "bias":
            predicted = seen.mean(lambda outputs: outputs.class_probabilities)
            return mix(predicted.T - np.eye(len(predicted)), seen.bias, seen.total)
        columns = seen.mean(lambda outputs: outputs.class_gradients)
        return mix(columns.reshape(len(columns), -1).T, seen.weight.ravel(), seen.total)


def mix(columns: np.ndarray, gradient: np.ndarray, total: int) -> np.ndarray:
    """Return the counts (C,) >= 0 with columns (d, C) @ counts near total * gradient (d,), and a sum near total."""
    weight = SUM_WEIGHT * np.abs(columns).mean()
    system = np.vstack([columns, np.full(columns.shape[1], weight)])
    return nonnegative_fit(system, np.append(total * gradient, weight * total))
