"""The label counts that need no attack at all."""

from typing import ClassVar

import numpy as np

from fedunlearn.attacks.base import ATTACKS, Attack, Finds
from fedunlearn.attacks.label_restoration.restoring import round_counts
from fedunlearn.attacks.targets import UpdateSettings, choose_targets
from fedunlearn.observer.access import Access
from fedunlearn.observer.findings import LabelCounts
from fedunlearn.observer.knowledge import Knowledge
from fedunlearn.observer.view import View


@ATTACKS.register("uniform-guess")
class UniformGuess(Attack):
    """K/C of every class, whatever the update says: the floor of every table of label counts.

    With K samples drawn evenly it recovers about 1 - sqrt((C - 1) / (2 pi K)) of the labels, .79 at K 32 and .89 at
    K 128 with ten classes. Source: a constant.
    """

    Settings: ClassVar[type[UpdateSettings]] = UpdateSettings
    needs: ClassVar[Access] = "updates"
    finds: ClassVar[Finds] = "labels"

    def run(self, view: View, knowledge: Knowledge, rng: np.random.Generator) -> LabelCounts:
        """Return even counts."""
        targets = choose_targets(view, self.settings)
        even = np.ones(knowledge.num_classes)
        return LabelCounts(targets, tuple(round_counts(even, view.update(*target).num_examples) for target in targets))
