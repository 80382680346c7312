"""The forgotten class by how far its row of the head moved, before against after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from fedunlearn.attacks.base import ATTACKS, Attack, Finds
from fedunlearn.attacks.forgotten_class.decisions import ClassEvidence, DecidedSettings, conclude
from fedunlearn.attacks.forgotten_class.head_moves import difference
from fedunlearn.federation import Weights
from fedunlearn.observer.access import Access
from fedunlearn.observer.files import head_of
from fedunlearn.observer.findings import ForgottenClasses
from fedunlearn.observer.knowledge import Knowledge
from fedunlearn.observer.view import View

SMALLEST = 1e-9  # of a share, as a logarithm needs one


class FuiaSettings(DecidedSettings):
    """Settings of `fuia`."""

    beta: float = Field(default=0.5, ge=0, le=1, description="Weight of the head's weights; the bias has the rest.")


@ATTACKS.register("fuia")
class Fuia(Attack):
    """Classes whose row of the head moved most between the models before and after the request.

    Formula: a_c = beta * |change of row c|_1 / sum over rows + (1 - beta) * |change of bias c| / sum over biases; these
    sum to 1, and s_c = ln a_c. A head without bias has beta = 1, which the notes name. The change is unsigned: it
    cannot tell a row that was pushed away from one that moved otherwise, and with two classes and plain SGD both rows
    change alike and tie. It needs models of one lineage: rows of a model retrained from elsewhere all moved.
    Decision: see the settings; top-k, with k given, is the published one.

    Source: Zhou, Zhu, Liu, Model Inversion Attack Against Federated Unlearning (IEEE TIFS 2026, arXiv 2502.14558),
    algorithm 3, the class level. Deviations: k need not be known, classes are named by an outlier test; on
    logarithms, which rank alike, as with sums of absolute values a quarter of control runs raised an alarm at 5 %.
    """

    Settings: ClassVar[type[FuiaSettings]] = FuiaSettings
    needs: ClassVar[Access] = "weights-before-after"
    finds: ClassVar[Finds] = "forgotten-classes"

    def run(self, view: View, knowledge: Knowledge, rng: np.random.Generator) -> ForgottenClasses:
        """Compare the two models."""
        settings: FuiaSettings = self.settings

        def measure(before: Weights, after: Weights) -> ClassEvidence:
            return in_logarithms(row_changes(head_of(before), head_of(after), settings.beta))

        before = view.before()
        notes: Mapping[str, Any] = {} if "head.bias" in before else {"fallback": "no bias: beta = 1"}
        evidence = measure(before, view.after())
        return conclude(self, evidence, knowledge, lambda shadow: measure(shadow.before, shadow.after), rng, notes)


def row_changes(before: Weights, after: Weights, beta: float) -> ClassEvidence:
    """Return each class's share of the head's change; features are the shares of weights and of biases.

    A part that did not change at all gives nobody anything.

    Raises:
        AccessRefused: when the two heads have different forms.
    """
    move = difference(after, before)
    weights = _shares(np.abs(move["head.weight"]).sum(axis=1))
    if "head.bias" not in move:
        return ClassEvidence.of(weights)
    biases = _shares(np.abs(move["head.bias"]))
    return ClassEvidence(beta * weights + (1 - beta) * biases, np.column_stack([weights, biases]))


def in_logarithms(evidence: ClassEvidence) -> ClassEvidence:
    """Return the logarithms of scores that are not negative; a row that did not move at all has a low one, not -inf."""
    return replace(evidence, scores=np.log(np.maximum(evidence.scores, SMALLEST)))


def _shares(amounts: np.ndarray) -> np.ndarray:
    total = amounts.sum()
    return np.asarray(amounts / total) if total > 0 else amounts
