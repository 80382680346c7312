"""The labels that a search takes for given: from a label attack, or from an oracle."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedunlearn.attacks.base import ATTACKS
from fedunlearn.attacks.gradient_inversion.settings import ImageSettings
from fedunlearn.attacks.label_restoration.restoring import round_counts
from fedunlearn.attacks.targets import Target as Place
from fedunlearn.observer.findings import LabelCounts
from fedunlearn.observer.knowledge import Knowledge
from fedunlearn.observer.view import View


def sought_labels(
    view: View, knowledge: Knowledge, place: Place, settings: ImageSettings, total: int, rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the labels (total,) of an update's images, ascending, and the notes of their source.

    Where fewer images are sought than the client has, they keep the proportions of its labels.
    """
    remarks: dict[str, Any] = {}
    if settings.labels == "known":
        labels = with_wrong(knowledge.true_labels(*place), settings.wrong_labels, knowledge.num_classes, rng)
        counts = np.bincount(labels, minlength=knowledge.num_classes)
    else:
        attack = ATTACKS[settings.labels]
        restored = attack(attack.Settings(round=place[0], clients=(place[1],)))(view, knowledge, rng)  # type: ignore[call-arg]
        assert isinstance(restored, LabelCounts)
        counts, remarks = restored.counts[0], restored.notes
    if counts.sum() != total:
        counts = round_counts(counts.astype(float), total)
    return np.repeat(np.arange(len(counts)), counts), remarks


def with_wrong(labels: np.ndarray, wrong: int, num_classes: int, rng: np.random.Generator) -> np.ndarray:
    """Return labels (n,) of which `wrong`, drawn at random, are replaced by a class that the batch does not have.

    Where the batch has every class, by any class but their own.
    """
    labels = labels.copy()
    absent = np.setdiff1d(np.arange(num_classes), labels)
    for place in rng.permutation(len(labels))[:wrong]:
        others = absent if len(absent) else np.delete(np.arange(num_classes), labels[place])
        labels[place] = rng.choice(others)
    return labels
