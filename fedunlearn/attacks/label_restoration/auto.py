"""The label counts that this project would bet on, whatever the attacker has."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np

from fedunlearn.attacks.base import ATTACKS
from fedunlearn.attacks.label_restoration.bias_form import BiasForm
from fedunlearn.attacks.label_restoration.bounds import fill_up, least_counts
from fedunlearn.attacks.label_restoration.class_conditional_nnls import ClassConditionalNNLS, MixSettings
from fedunlearn.attacks.label_restoration.margin_matched import MarginMatched, MatchedSettings
from fedunlearn.attacks.label_restoration.observation import Observation
from fedunlearn.attacks.label_restoration.restoring import LabelRestoration
from fedunlearn.attacks.label_restoration.weight_form import WeightForm
from fedunlearn.attacks.targets import UpdateSettings
from fedunlearn.observer.findings import LabelCounts
from fedunlearn.observer.knowledge import Knowledge
from fedunlearn.observer.view import View


@ATTACKS.register("auto")
class Auto(LabelRestoration):
    """The best label counts for what the attacker has; the estimator it used is in the notes, under "estimators".

    With labelled public images `margin-matched`, which itself decides between trained and untrained models and
    between even and skewed batches. Without labels `bias-form`, above what the bias gradient says for certain. For a
    head without bias `class-conditional-nnls` on the weights with labels, else `weight-form`. Source: this project,
    chosen on tables of CIFAR-10 batches.
    """

    Settings: ClassVar[type[UpdateSettings]] = MatchedSettings

    def __init__(self, settings: UpdateSettings) -> None:
        super().__init__(settings)
        self._matched, self._used = MarginMatched(settings), set[str]()

    def run(self, view: View, knowledge: Knowledge, rng: np.random.Generator) -> LabelCounts:
        """Return one count vector per chosen update."""
        self._used.clear()
        finding = super().run(view, knowledge, rng)
        return replace(finding, notes=finding.notes | {"estimators": sorted(self._used)})

    def estimate(self, seen: Observation) -> np.ndarray:
        """Return the chosen estimator's counts."""
        labelled, has_bias = seen.middle.labels is not None, "head.bias" in seen.gradient
        if labelled and has_bias:
            return self._use("margin-matched", self._matched, seen)
        if has_bias:
            counts = self._use("bias-form", BiasForm(BiasForm.Settings()), seen)
            return fill_up(least_counts(seen), counts, seen.total)
        if labelled:
            return self._use("class-conditional-nnls", ClassConditionalNNLS(MixSettings(on="weights")), seen)
        return self._use("weight-form", WeightForm(WeightForm.Settings()), seen)

    def _use(self, name: str, estimator: LabelRestoration, seen: Observation) -> np.ndarray:
        self._used.add(name)
        return estimator.estimate(seen)
