"""Membership by comparison with the population."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from fedunlearn.attacks.base import ATTACKS, Attack, Finds
from fedunlearn.observer.access import Access, AccessRefused
from fedunlearn.observer.findings import Membership
from fedunlearn.observer.knowledge import Knowledge
from fedunlearn.observer.view import View
from fedunlearn.settings import Settings


class PopulationSettings(Settings):
    """Settings of `population`."""

    smallest: int = Field(
        default=10, ge=1, description="A class with fewer public samples is compared with all of the population."
    )


@ATTACKS.register("population")
class Population(Attack):
    """Membership of candidates from their loss, against the losses of a public population of the same class.

    Score: the share of the population that the final model is less sure of, where sureness is ln(p / (1 - p)) of
    the true class (equal ones count half). A fresh sample scores uniformly on [0, 1] whatever its class and however
    hard its class is; 1 - score is the false-positive rate at which the sample would be called a member.

    Source: attack P of Ye, Maddi, Murakonda, Bindschaedler, Shokri, Enhanced Membership Inference Attacks against
    Machine Learning Models, CCS 2022. Deviation: by class, as a forgotten class is hard for everybody; the margin
    replaces the loss, of which it is a decreasing function.
    """

    Settings: ClassVar[type[PopulationSettings]] = PopulationSettings
    needs: ClassVar[Access] = "probabilities"
    needs_flags: ClassVar[frozenset[str]] = frozenset({"public-labelled", "candidates"})
    finds: ClassVar[Finds] = "membership"

    def run(self, view: View, knowledge: Knowledge, rng: np.random.Generator) -> Membership:
        """Return one score per candidate, from 0 to just above 1."""
        images, labels, candidates = knowledge.public_images, knowledge.public_labels, knowledge.candidates
        if images is None or labels is None or not len(images) or candidates is None:
            raise AccessRefused("population needs a public split and candidates")
        known = sureness(knowledge.query(images), labels)
        asked = sureness(knowledge.query(candidates[0]), candidates[1])
        scores = np.empty(len(asked))
        for label in np.unique(candidates[1]):
            peers = known[labels == label]
            mine = candidates[1] == label
            scores[mine] = standing(asked[mine], peers if len(peers) >= self.settings.smallest else known)
        # Many candidates stand above the whole population; among equal shares the surer comes first.
        places = asked.argsort().argsort() / len(asked)
        return Membership(scores + places / (4 * len(known)))


def sureness(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return ln(p / (1 - p)) of the true class, float64 (n,), from probabilities (n, num_classes)."""
    exact = probabilities.astype(np.float64)
    rows = np.arange(len(labels))
    tiny = np.finfo(np.float64).tiny
    true = exact[rows, labels]
    exact[rows, labels] = 0.0  # summing the others keeps digits that 1 - p would lose
    return np.log(np.maximum(true, tiny)) - np.log(np.maximum(exact.sum(axis=1), tiny))


def standing(values: np.ndarray, population: np.ndarray) -> np.ndarray:
    """Return for each value the share of the population below it, equal ones counting half.

    Example:
        >>> standing(np.array([0.0, 2.0, 9.0]), np.array([1.0, 2.0, 3.0, 4.0])).tolist()
        [0.0, 0.375, 1.0]
    """
    ordered = np.sort(population)
    return (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / (2 * len(ordered))
