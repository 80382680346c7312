"""The forgotten class from the signs of the head's change: the row of an absent class falls in every entry."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from fedunlearn.attacks.base import ATTACKS, Attack, Finds
from fedunlearn.attacks.forgotten_class.head_moves import falling_share, fell, mean_move, push_down
from fedunlearn.attacks.forgotten_class.streams import (
    Series,
    TestedSettings,
    by_test,
    follow,
    later_half,
    notes_of,
)
from fedunlearn.attacks.forgotten_class.windows import (
    FEWEST_BEFORE,
    Evidence,
    larger_drop,
    more_absences,
    unreferenced,
)
from fedunlearn.observer.access import Access
from fedunlearn.observer.findings import ForgottenClasses
from fedunlearn.observer.knowledge import Knowledge
from fedunlearn.observer.view import View

LEAST = 20  # rounds before that the rate of chance absences is estimated from, where there are as many


class RowSignSettings(TestedSettings):
    """Settings of `row-sign`."""

    rule: Literal["signs", "shares"] = Field(
        default="signs",
        description="signs: rounds in which the whole row falls are counted; shares: the share of falling entries is "
        "compared, for server momentum, weight decay, noise or features of both signs.",
    )


@ATTACKS.register("row-sign")
class RowSign(Attack):
    """Classes whose row of the head falls in every entry, which it does in every step without them.

    Needs two consecutive global models per round, no data; observers of the aggregate read that. Identity (softmax
    cross-entropy, plain SGD, features that are not negative): the row of an absent class changes by
    -rate * mean(p_c h) <= 0 in every entry, whatever the number of local steps and the averaging. A row fell when its
    rising entries have less than a millionth of the mass of the falling ones.

    * Rule `signs`: s_c = mean over the window of v_c = ln(mass of falling / mass of rising entries). A class is named
      when two tests agree, the larger p-value counting. It fell in more rounds than chance absences explain, whose
      rate is estimated from the later half of the rounds before the request (at least 20 where there are), over all
      classes together: partial participation and small batches leave classes out although nobody asked. And v_c is
      higher than before by Student's t: with features that are all alike, as a sigmoid's, rows fall often. One round
      can be enough where some 10 rounds (10 classes, alpha 0.05) came before without any absence; an observer that
      must find the request's round as well needs two.
    * Rule `shares`: s_c = Student's t of the share of falling entries against the rounds before.

    Classes are named at alpha over (classes * candidate rounds). Absent implies fallen exactly; fallen implies absent
    only in experience: a rare class that the model predicts too often can fall as well.

    Source: identities of class absence; the null-class rule of Dai, Zhou, Fu et al., Decaf (arXiv 2405.15316), who
    read the signs of single clients' updates. Deviation: a test against chance absences instead of the bare rule.
    """

    Settings: ClassVar[type[RowSignSettings]] = RowSignSettings
    needs: ClassVar[Access] = "broadcasts"
    finds: ClassVar[Finds] = "forgotten-classes"

    def run(self, view: View, knowledge: Knowledge, rng: np.random.Generator) -> ForgottenClasses:
        """Follow the rounds."""
        settings: RowSignSettings = self.settings
        compare = self._signs if settings.rule == "signs" else self._shares
        moves = Series(lambda number: statistics(view, number))
        return follow(
            view,
            knowledge,
            settings,
            lambda split, last: compare(moves, split, last),
            by_test(settings, knowledge, rng),
            rng,
            {"rule": settings.rule} | notes_of(settings, knowledge),
        )

    def _signs(self, moves: Series, split: int, last: int) -> Evidence:
        earlier = later_half(split, self.settings.reference, least=LEAST)
        before, after = moves.rows(earlier), moves.rows(range(split + 1, last + 1))
        old, new = ([row[0] for row in rows] for rows in (before, after))
        scores = np.mean(new, axis=0)
        if len(before) < FEWEST_BEFORE:
            return unreferenced(scores)
        absences = more_absences(np.stack([row[1] for row in before]), np.stack([row[1] for row in after]))
        higher = larger_drop([-pushed for pushed in old], [-pushed for pushed in new])
        return Evidence(scores, np.maximum(absences, higher.p_values))

    def _shares(self, moves: Series, split: int, last: int) -> Evidence:
        before, after = moves.rows(later_half(split, self.settings.reference)), moves.rows(range(split + 1, last + 1))
        if len(before) < FEWEST_BEFORE:
            return unreferenced(np.mean([row[2] for row in after], axis=0))
        return larger_drop([-row[2] for row in before], [-row[2] for row in after])


def statistics(view: View, number: int) -> np.ndarray:
    """Return (3, num_classes) of a round: how hard each row was pushed down, whether it fell, share of falling ones."""
    move = mean_move(view, number)
    return np.stack([push_down(move), fell(move), falling_share(move)])
