"""Everything about claimed pictures that is measured sample by sample in the features of the judge's classifier."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from fedunlearn.errors import DataError
from fedunlearn.judging.inversion import prdc
from fedunlearn.judging.inversion.ddcs_surrogate import ddcs_surrogate, vulnerable_share
from fedunlearn.judging.inversion.frechet import NAME as FRECHET
from fedunlearn.judging.inversion.frechet import frechet_distance
from fedunlearn.judging.inversion.knn_distance import knn_distance, nearest
from fedunlearn.judging.metric import METRICS, NAN

CLASSWISE = ("attack-accuracy", "attack-accuracy-5", "knn-distance", "ddcs-surrogate", "vulnerable-share")
NEIGHBOURHOOD = ("precision", "recall", "density", "coverage")
OF_CLAIMED = frozenset({"attack-accuracy", "attack-accuracy-5", "knn-distance", "precision", "density"})


@dataclass(frozen=True)
class Seen:
    """Pictures as the judge's classifier sees them.

    Attributes:
        features: (n, d).
        logits: (n, num_classes).
        labels: (n,), the true classes, or the claimed ones.
    """

    features: np.ndarray
    logits: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Comparison:
    """Claimed pictures beside the private samples of the same classes.

    Attributes:
        values: by metric, (m,) for those in `OF_CLAIMED` and (n,) for others: the mean is the metric.
        frechet: of all pictures at once.
        nearest: (m,), the place of the nearest private sample of the claimed class; -1 where it has none.
        skipped: why a metric is missing, or missing for some class.
    """

    values: dict[str, np.ndarray]
    frechet: float
    nearest: np.ndarray
    skipped: dict[str, str] = field(default_factory=dict)


@METRICS.register("attack-accuracy")
def attack_accuracy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Share of claimed pictures that the judge's own classifier takes for the class.

    Returns:
        (m,), whose mean it is.
    """
    return (logits.argmax(axis=1) == labels).astype(float)


@METRICS.register("attack-accuracy-5")
def attack_accuracy_5(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Share of claimed pictures whose class is among the five that the judge's own classifier finds likeliest."""
    likeliest = np.argsort(-logits, axis=1, kind="stable")[:, :5]
    return (likeliest == labels[:, None]).any(axis=1).astype(float)


def compare(private: Seen, claimed: Seen) -> Comparison:
    """Compare claimed pictures with private samples.

    Neighbourhoods are those of all classes together, as a class may have a handful of samples: a picture can cover a
    sample of another class. Everything else is compared inside one class. Of a class the ddcs-surrogate takes as many
    pictures as it has private samples, the first ones, as it grows with their number.
    """
    skipped: dict[str, str] = {}
    values = {
        "attack-accuracy": attack_accuracy(claimed.logits, claimed.labels),
        "attack-accuracy-5": attack_accuracy_5(claimed.logits, claimed.labels),
        "knn-distance": np.full(len(claimed.labels), NAN),
        "ddcs-surrogate": np.full(len(private.labels), NAN),
    }
    closest = np.full(len(claimed.labels), -1)
    for label in np.unique(claimed.labels):
        own, made = np.flatnonzero(private.labels == label), np.flatnonzero(claimed.labels == label)
        true, pictures = private.features[own], claimed.features[made]
        if len(own):
            values["knn-distance"][made] = knn_distance(true, pictures)
            closest[made] = own[nearest(true, pictures)]
        try:
            values["ddcs-surrogate"][own] = ddcs_surrogate(true, pictures[: len(own)])
        except DataError as error:
            skipped["ddcs-surrogate"] = f"class {label}: {error}"
    try:
        found = prdc.neighbourhoods(private.features, claimed.features)
        values |= {name: METRICS[name](found) for name in NEIGHBOURHOOD}
    except DataError as error:
        sides = {name: claimed if name in OF_CLAIMED else private for name in NEIGHBOURHOOD}
        values |= {name: np.full(len(side.labels), NAN) for name, side in sides.items()}
        skipped |= dict.fromkeys(NEIGHBOURHOOD, str(error))
    frechet = NAN
    try:
        frechet = frechet_distance(private.features, claimed.features)
    except DataError as error:
        skipped[FRECHET] = str(error)
    values["vulnerable-share"] = vulnerable_share(values["ddcs-surrogate"])
    return Comparison(values, frechet, closest, skipped)
