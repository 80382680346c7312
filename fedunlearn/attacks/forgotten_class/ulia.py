"""The forgotten class for a client that compares the global change with its own."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field
from scipy import stats

from fedunlearn.attacks.base import ATTACKS, Attack, Finds
from fedunlearn.attacks.forgotten_class.head_moves import client_move, global_move
from fedunlearn.attacks.forgotten_class.streams import (
    Series,
    StreamDecision,
    StreamSettings,
    TestedSettings,
    by_test,
    follow,
    later_half,
    notes_of,
)
from fedunlearn.attacks.forgotten_class.windows import FEWEST_BEFORE, Evidence, drop_beyond_drift, unreferenced
from fedunlearn.federation import Weights
from fedunlearn.observer.access import Access
from fedunlearn.observer.findings import ForgottenClasses
from fedunlearn.observer.knowledge import Knowledge
from fedunlearn.observer.view import View


class UliaSettings(StreamSettings):
    """Settings of `ulia`."""

    decision: Literal["z-score", StreamDecision] = Field(
        default="z-score",
        description="z-score: classes above `threshold`; test: against the rounds before, level alpha; top-k (flag "
        "class-count-known), outliers, kmeans, none.",
    )
    threshold: float = Field(default=2.0, gt=0, description="z-score above which a class is named.")


@ATTACKS.register("ulia")
class Ulia(Attack):
    """Classes in whose row the global change exceeds what a client's own data explains.

    For an honest-but-curious client: broadcasts and its own update. Formula, per round: d_g the global change of the
    head, d_l the client's own, n = |d_l| / |d_g|, g = (d_g - d_l) / ((1 - w) n) with w the client's share of the data;
    s_c = mean over j of |g_cj| + |g_c| of the bias, divided by the sum over the classes, averaged over the window. The
    divisor (1 - w) n cancels by that: the client's share need not be known.
    Decision: z-score above 2, or top-k where k is known. Of k equal winners among K classes each has at most
    z = sqrt((K - k) / k): 3 for one of ten, exactly 2 for two. So two or more equal classes of ten can never be named,
    with fewer than 6 classes not even one, and nothing bounds false alarms; `decision = "test"` compares the scores
    with those of the rounds before instead.

    Source: Wang, Tang et al., Label Inference Attacks against Federated Unlearning (arXiv 2508.06789). Deviations: a
    client that sends gradients takes its own, times the length of the global change, for d_l; scores of several rounds
    are averaged. Rounds in which the client did not take part are passed over.
    """

    Settings: ClassVar[type[UliaSettings]] = UliaSettings
    needs: ClassVar[Access] = "broadcasts"
    needs_flags: ClassVar[frozenset[str]] = frozenset({"own-updates"})
    finds: ClassVar[Finds] = "forgotten-classes"

    def run(self, view: View, knowledge: Knowledge, rng: np.random.Generator) -> ForgottenClasses:
        """Follow the rounds."""
        settings: UliaSettings = self.settings
        client = view.own_client
        series = Series(lambda number: scores_of(view, number), needs_whole=True)
        rule: StreamDecision = "none" if settings.decision == "z-score" else settings.decision
        chosen = TestedSettings(alpha=settings.alpha, decision=rule)
        return follow(
            view,
            knowledge,
            settings,
            lambda split, last: self._compare(series, split, last),
            self._by_z_score if settings.decision == "z-score" else by_test(chosen, knowledge, rng),
            rng,
            notes_of(chosen, knowledge) | {"decision": settings.decision, "own-client": client},
        )

    def _compare(self, series: Series, split: int, last: int) -> Evidence | None:
        before = series.rows(later_half(split, self.settings.reference))
        after = series.rows(range(split + 1, last + 1))
        if not after:
            return None
        mean = np.mean(after, axis=0)
        if self.settings.decision == "z-score":
            return Evidence(mean, np.asarray(stats.norm.sf(z_scores(mean))))
        if len(before) < FEWEST_BEFORE:
            return unreferenced(mean)
        return drop_beyond_drift([-row for row in before], [-row for row in after])

    def _by_z_score(self, evidence: Evidence, tries: int) -> tuple[int, ...]:
        return tuple(np.flatnonzero(z_scores(evidence.scores) > self.settings.threshold).tolist())


def scores_of(view: View, number: int) -> np.ndarray:
    """Return the scores (num_classes,) of a round, summing to 1."""
    move, update = global_move(view, number), view.own_update(number, head=True)
    own = client_move(update, view.broadcast(number, head=True))
    if update.kind == "gradient":
        factor = length(move) / max(length(own), np.finfo(float).tiny)
        own = {name: factor * part for name, part in own.items()}
    return excess(move, own)


def excess(move: Weights, own: Weights) -> np.ndarray:
    """Return each class's share (num_classes,) of what a client's own change leaves of the global one.

    Zeros where nothing is left.
    """
    rest = {name: np.abs(part - own[name]) for name, part in move.items()}
    amounts = rest["head.weight"].mean(axis=1) + rest.get("head.bias", 0.0)
    total = amounts.sum()
    return np.asarray(amounts / total) if total > 0 else amounts


def length(move: Weights) -> float:
    """Return the Euclidean length of a change."""
    return float(np.sqrt(sum((part**2).sum() for part in move.values())))


def z_scores(scores: np.ndarray) -> np.ndarray:
    """Return (scores - mean) / standard deviation over the classes; zeros for equal scores."""
    spread = scores.std()
    return np.asarray((scores - scores.mean()) / spread) if spread > 0 else np.zeros(len(scores))
