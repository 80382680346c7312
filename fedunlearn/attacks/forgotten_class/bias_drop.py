"""The forgotten class from the head's bias, which falls when a class is absent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from fedunlearn.attacks.base import ATTACKS, Attack, Finds
from fedunlearn.attacks.forgotten_class.decisions import broken_ties, outliers
from fedunlearn.attacks.forgotten_class.streams import (
    Series,
    TestedSettings,
    by_test,
    follow,
    later_half,
    notes_of,
    paired,
    twins,
)
from fedunlearn.attacks.forgotten_class.windows import (
    FEWEST_BEFORE,
    Evidence,
    drop_beyond_drift,
    fewer_rises,
    paired_drop,
    unreferenced,
)
from fedunlearn.federation import Weights
from fedunlearn.observer.access import Access, allows
from fedunlearn.observer.findings import ForgottenClasses
from fedunlearn.observer.knowledge import Knowledge
from fedunlearn.observer.view import View

Form = Literal["rises", "sum", "two-models"]
FORMS: dict[Form, Access] = {"rises": "updates", "sum": "broadcasts", "two-models": "weights-before-after"}
TESTS: dict[Form, Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], Evidence]] = {
    "rises": fewer_rises,
    "sum": drop_beyond_drift,
}


class BiasDropSettings(TestedSettings):
    """Settings of `bias-drop`."""

    form: Literal["auto", "rises", "sum", "two-models"] = Field(
        default="auto",
        description="rises: whose updates raise the bias; sum: how far the global bias falls; two-models: before "
        'against after; "auto": the first that the access level allows.',
    )


@ATTACKS.register("bias-drop")
class BiasDrop(Attack):
    """Classes whose head bias stops rising, or falls faster, once a request has been served.

    Identity (softmax cross-entropy, plain SGD): the bias of an absent class changes by -rate * mean probability < 0
    in every step. Three forms, by what the observer sees:

    * `rises` (client updates): how many updates raise the bias of class c in the window after the request, against
      the rounds before it. Fisher's exact test per class; score -log10 p.
    * `sum` (broadcasts): s_c = -sum over the window of (change of the global bias - its mean before the request),
      standardised by the class's spread before; Student's t test, and the fall must go beyond the drift before as
      well. Weak for FedSGD with small batches. Where the federation began again from a model that it had broadcast
      before (retraining, FedEraser), each round is compared with its twin instead, and the falls of the classes with
      each other.
    * `two-models`: s_c = -(bias after - bias before); classes are named by a one-sided outlier test.

    The first two name the classes whose p-value is below alpha over the number of classes (Bonferroni), and none
    when fewer than three rounds before the request were seen. Without the flag request-round every round is tried
    as the request's, the strongest is reported, and alpha is divided by the number of tries as well. `sum` takes
    the later half of the rounds before, as early training drifts. They tell what they would have said after each
    round; other decisions than the test can be chosen.

    Source: identities of class absence in federated learning; drift removal by the rounds before. Deviation: tests
    instead of a threshold of three median absolute deviations. A head without bias is read by the row sums of its
    weights, which needs features that are not negative. Server momentum smears `sum`, not `rises`.
    """

    Settings: ClassVar[type[BiasDropSettings]] = BiasDropSettings
    needs: ClassVar[Access] = "weights-before-after"
    finds: ClassVar[Finds] = "forgotten-classes"

    def run(self, view: View, knowledge: Knowledge, rng: np.random.Generator) -> ForgottenClasses:
        """Rank the classes and name those that stand out."""
        settings: BiasDropSettings = self.settings
        form = next(form for form, level in FORMS.items() if allows(view.access, level))
        form = form if settings.form == "auto" else settings.form
        if form == "two-models":
            notes = {"form": form, "decision": "outliers", "nominal-false-alarm-rate": settings.alpha}
            scores = level(view.before()) - level(view.after())
            return ForgottenClasses(broken_ties(scores, rng), outliers(scores, settings.alpha), notes)
        series = Series(lambda number: changes(view, number, form))
        same = twins(view) if form == "sum" else {}
        return follow(
            view,
            knowledge,
            settings,
            lambda split, last: self._compare(series, same, split, last, form),
            by_test(settings, knowledge, rng),
            rng,
            {"form": form} | notes_of(settings, knowledge),
        )

    def _compare(self, series: Series, same: Mapping[int, int], split: int, last: int, form: Form) -> Evidence:
        """Return the evidence for a request after the first `split` rounds, seen up to round `last`."""
        earlier_twins, later_twins = paired(series, same, split, last)
        if later_twins:
            return paired_drop(earlier_twins, later_twins)
        most = self.settings.reference
        earlier = range(max(split - most, 0) + 1, split + 1) if form == "rises" else later_half(split, most)
        before, after = series.rows(earlier), series.rows(range(split + 1, last + 1))
        if len(before) >= FEWEST_BEFORE:
            return TESTS[form](before, after)
        seen = np.concatenate([change.reshape(-1, change.shape[-1]) for change in after])
        return unreferenced(-(seen > 0).mean(axis=0) if form == "rises" else -seen.sum(axis=0))


def changes(view: View, number: int, form: Form) -> np.ndarray:
    """Return the bias changes in a round: (updates, num_classes) for `rises`, (num_classes,) for `sum`."""
    start = level(view.broadcast(number, head=True))
    if form == "sum":
        return level(view.result(number, head=True)) - start
    updates = [view.update(number, client, head=True) for client in view.clients(number)]
    moves = [-level(u.payload) if u.kind == "gradient" else level(u.payload) - start for u in updates]
    return np.array(moves).reshape(-1, len(start))


def level(head: Weights) -> np.ndarray:
    """Return the head's bias (num_classes,) in float64, or its rows' sums where it has none."""
    if "head.bias" in head:
        return head["head.bias"].astype(np.float64)
    return head["head.weight"].astype(np.float64).sum(axis=1)
