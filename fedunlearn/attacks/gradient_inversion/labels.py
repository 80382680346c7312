"""The labels that a search takes for given: from a label attack, or from an oracle."""

from __future__ import annotations

import heapq
import itertools
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
) -> tuple[list[np.ndarray], dict[str, Any]]:
    """Return the labels (total,) of an update's images, ascending, and the notes of their source.

    The likeliest labels come first; as many others follow as the settings want to try. Known labels have none, nor
    do those of which only the proportions matter because fewer images are sought than the client has.
    """
    remarks: dict[str, Any] = {}
    estimate = None
    if settings.labels == "known":
        labels = with_wrong(knowledge.true_labels(*place), settings.wrong_labels, knowledge.num_classes, rng)
        counts = np.bincount(labels, minlength=knowledge.num_classes)
    else:
        attack = ATTACKS[settings.labels]
        restored = attack(attack.Settings(round=place[0], clients=(place[1],)))(view, knowledge, rng)  # type: ignore[call-arg]
        assert isinstance(restored, LabelCounts)
        counts, remarks = restored.counts[0], restored.notes
        estimate = restored.estimates[0] if restored.estimates else None
    if counts.sum() != total:
        counts, estimate = round_counts(counts.astype(float), total), None
    tried = [counts] if estimate is None else likeliest(counts, estimate, settings.label_tries)
    return [np.repeat(np.arange(len(counts)), each) for each in tried], remarks


def likeliest(counts: np.ndarray, estimate: np.ndarray, most: int) -> list[np.ndarray]:
    """Return at most `most` integer counts with the sum of `counts`, the nearest to a real-valued estimate first.

    `counts` come first, whatever their distance. The others are found by moving one label at a time from the nearest
    ones so far: the squared distance is convex, so no nearer ones are passed over.

    Example:
        >>> [each.tolist() for each in likeliest(np.array([2, 1, 0]), np.array([1.6, 1.0, 0.4]), 3)]
        [[2, 1, 0], [1, 1, 1], [2, 0, 1]]
    """
    start = tuple(int(count) for count in counts)
    found, waiting, seen = [counts], [(0.0, start)], {start}
    while waiting and len(found) < most:
        _, base = heapq.heappop(waiting)
        if base != start:
            found.append(np.array(base))
        order = np.argsort(base - estimate, kind="stable")  # whom a label more, or a label less, suits best
        givers = [int(label) for label in order[::-1] if base[label]][:most]
        for giver, taker in itertools.product(givers, order[:most].tolist()):
            moved = list(base)
            moved[giver], moved[taker] = moved[giver] - 1, moved[taker] + 1
            if giver != taker and tuple(moved) not in seen:
                seen.add(tuple(moved))
                heapq.heappush(waiting, (float(((moved - estimate) ** 2).sum()), tuple(moved)))
    return found


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
