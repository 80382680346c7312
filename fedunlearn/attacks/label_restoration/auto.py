"""The label counts that this project would bet on, whatever the attacker has."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np

from fedunlearn.attacks.base import ATTACKS
from fedunlearn.attacks.label_restoration.averaging import average, trust
from fedunlearn.attacks.label_restoration.bias_form import BiasForm
from fedunlearn.attacks.label_restoration.bounds import fill_up, least_counts
from fedunlearn.attacks.label_restoration.class_conditional_nnls import ClassConditionalNNLS, MixSettings
from fedunlearn.attacks.label_restoration.margin_matched import MarginMatched, MatchedSettings
from fedunlearn.attacks.label_restoration.observation import Observation
from fedunlearn.attacks.label_restoration.restoring import MOST_CLASSES, LabelRestoration
from fedunlearn.attacks.label_restoration.weight_form import WeightForm
from fedunlearn.attacks.targets import UpdateSettings
from fedunlearn.observer.findings import LabelCounts
from fedunlearn.observer.knowledge import Knowledge
from fedunlearn.observer.view import View


@ATTACKS.register("auto")
class Auto(LabelRestoration):
    """The best label counts for what the attacker has; the estimators it used are in the notes, under "estimators".

    With labelled public images it is `margin-matched` on models that have learnt little, where that is exact or nearly
    so. On trained models no estimator is best everywhere: `margin-matched` leads on images that the model has not
    seen, direction-only ones on its own training images, `bias-form` on even batches. There it is an average of
    `margin-matched`, `class-conditional-nnls` on the weights and the certain counts, see `average`. Without labels,
    or with more than a hundred classes, `bias-form`, above what the bias gradient says for certain. For a head without
    bias `class-conditional-nnls` on the weights with labels, else `weight-form`.

    Source: this project. The average's numbers were chosen on CIFAR-10 batches of 8, 32 and 128 images, even and
    Dirichlet(0.3), of training and held-out images, with 500 public ones: gradients and FedAvg updates (1, 5 and 10
    local epochs of 40 or 128 images) of convnets and LeNets after 0, 1, 4 and 12 epochs; choosing them without any one
    network leaves them about as they are. On new batches it is within 0.02 of the best single estimator's overlap with
    the true counts in 204 of 210 settings, and up to 0.04 below it in the others: even batches of 32, and five local
    epochs on training images of an overfitted model. Outside of what it was chosen on, up to 0.05 below for
    Dirichlet(1) batches of 128, and up to 0.06 (0.07) for even batches with 200 (100) public images.
    """

    Settings: ClassVar[type[UpdateSettings]] = MatchedSettings

    def __init__(self, settings: UpdateSettings) -> None:
        super().__init__(settings)
        self._matched, self._explain = MarginMatched(settings), ClassConditionalNNLS(MixSettings(on="weights"))
        self._used = set[str]()

    def run(self, view: View, knowledge: Knowledge, rng: np.random.Generator) -> LabelCounts:
        """Return one count vector per chosen update."""
        self._used.clear()
        finding = super().run(view, knowledge, rng)
        return replace(finding, notes=finding.notes | {"estimators": sorted(self._used)})

    def estimate(self, seen: Observation) -> np.ndarray:
        """Return the chosen estimator's counts."""
        has_bias = "head.bias" in seen.gradient
        labelled = seen.middle.labels is not None and len(seen.weight) <= MOST_CLASSES
        if labelled and has_bias:
            return self._average(seen)
        if has_bias:
            counts = self._use("bias-form", BiasForm(BiasForm.Settings()), seen)
            return fill_up(least_counts(seen), counts, seen.total)
        if labelled:
            return self._use("class-conditional-nnls", self._explain, seen)
        return self._use("weight-form", WeightForm(WeightForm.Settings()), seen)

    def _average(self, seen: Observation) -> np.ndarray:
        """Return `margin-matched`'s counts, or what they are averaged with so far as the model is trained."""
        self._used.add("margin-matched")
        found = self._matched.read(seen)
        weight = trust(found.learnt)
        if not weight:
            return found.mixed
        explained = self._use("class-conditional-nnls", self._explain, seen)
        return weight * average(found, explained, seen.total) + (1 - weight) * found.mixed

    def _use(self, name: str, estimator: LabelRestoration, seen: Observation) -> np.ndarray:
        self._used.add(name)
        return estimator.estimate(seen)
