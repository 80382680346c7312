"""Every final model of a cell against the models that were retrained without the forgotten data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fedunlearn.judging.forgetting.distances import activation_distance, completeness, fingerprint_distance
from fedunlearn.judging.forgetting.divergence import js_divergence, zero_retrain_forgetting
from fedunlearn.judging.forgetting.gap import average_gap, noise_floor
from fedunlearn.judging.forgetting.relearning import anamnesis_index
from fedunlearn.judging.metric import NAN, finite_or_none, mean_or_nan, number

Metrics = dict[str, float | None]

PAIRED: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "activation_distance": activation_distance,
    "completeness": completeness,
    "js_to_retrain": js_divergence,
    "fingerprint_tv": fingerprint_distance,
}


@dataclass(frozen=True)
class FinalModel:
    """What is compared of one branch's final model.

    Attributes:
        forgotten: its probabilities on the forgotten samples, (n, num_classes).
        accuracies: on forgotten, retained and test samples, NaN where there are none.
        mia_efficacy: share of the forgotten samples that a membership classifier takes for never seen.
        relearn_steps: until the forgotten samples are known again; None where it was not tried.
        mia_auc: with which forgotten samples are told from unseen ones.
    """

    forgotten: np.ndarray
    accuracies: tuple[float, float, float]
    mia_efficacy: float
    relearn_steps: float | None = None
    mia_auc: float = NAN

    @property
    def figures(self) -> np.ndarray:
        """What the average gap is the average of: unlearning, retained and test accuracy, MIA-efficacy."""
        forget, retain, test = self.accuracies
        return np.array([1 - forget, retain, test, self.mia_efficacy])


def retained_test_accuracy(metrics: Mapping[str, float | None]) -> float:
    """Return the accuracy on test samples of classes that nobody forgot as a whole, NaN where it is unknown."""
    retained = metrics.get("test_retain_accuracy")
    return number(metrics["test_accuracy"] if retained is None else retained)


def compare(models: Mapping[str, FinalModel], retrained: Sequence[str], blind: np.ndarray) -> dict[str, Metrics]:
    """Return the metrics of forgetting of every model; None where undefined.

    A distance is the mean over the retrained models, and the gap is to their mean figures; a retrained model is
    compared with the others, so that its own row shows how much retraining differs from itself.

    Args:
        models: the final models by branch.
        retrained: which of the branches are retrained models.
        blind: probabilities of a randomly initialised model on the forgotten samples, (n, num_classes).
    """
    floor = noise_floor([models[name].figures for name in retrained])
    found = {}
    for name, own in models.items():
        others = [models[other] for other in retrained if other != name]
        metrics = {
            "mia_efficacy": own.mia_efficacy,
            "mia_auc": own.mia_auc,
            "average_gap": average_gap(own.figures, [other.figures for other in others]),
            "average_gap_floor": floor,
            "zrf": zero_retrain_forgetting(own.forgotten, blind),
        }
        metrics |= {
            metric: mean_or_nan([distance(own.forgotten, other.forgotten) for other in others])
            for metric, distance in PAIRED.items()
        }
        if own.relearn_steps is not None:
            metrics["relearn_steps"] = own.relearn_steps
            metrics["anamnesis_index"] = anamnesis_index(own.relearn_steps, _steps(others))
        found[name] = {metric: finite_or_none(value) for metric, value in metrics.items()}
    return found


def _steps(models: Sequence[FinalModel]) -> float:
    return mean_or_nan([NAN if model.relearn_steps is None else model.relearn_steps for model in models])
