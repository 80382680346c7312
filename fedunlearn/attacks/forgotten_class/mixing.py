"""What attacks share that follow the class shares of the training data from round to round."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np
from pydantic import Field

from fedunlearn.attacks.base import Attack, Finds
from fedunlearn.attacks.forgotten_class.class_mix import (
    Mix,
    known_scale,
    mix_of_gradients,
    outputs_at,
    public_sample,
)
from fedunlearn.attacks.forgotten_class.head_moves import global_move
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
    TINY,
    Evidence,
    drop_beyond_drift,
    paired_drop,
    unreferenced,
)
from fedunlearn.attacks.label_restoration.outputs import Outputs
from fedunlearn.federation import Weights
from fedunlearn.observer.access import Access, AccessRefused
from fedunlearn.observer.cache import digest
from fedunlearn.observer.findings import ForgottenClasses
from fedunlearn.observer.knowledge import Knowledge
from fedunlearn.observer.view import View

BIASED = 0.1  # of a share: how far public bases err at least, however steady the estimates, and the error drifts


class MixSettings(TestedSettings):
    """Settings of the attacks that follow class shares."""

    per_class: int = Field(default=50, ge=1, description="Public images of each class that bases are made of, at most.")


class MixingAttack(Attack):
    """Base: a class's share in the training data, estimated round by round, falls when it is forgotten."""

    Settings: ClassVar[type[MixSettings]] = MixSettings
    needs: ClassVar[Access] = "broadcasts"
    needs_flags: ClassVar[frozenset[str]] = frozenset({"public-labelled"})
    finds: ClassVar[Finds] = "forgotten-classes"

    @abstractmethod
    def refine(self, mix: Mix, move: Weights, models: list[Outputs], scale: float) -> Mix:
        """Return the attack's own mix, given the one that explains weights and bias.

        Args:
            mix: of the head's gradients.
            move: what the head moved by.
            models: the head's answers that explained the move best.
            scale: the product of rate and local steps, known or estimated.
        """

    def run(self, view: View, knowledge: Knowledge, rng: np.random.Generator) -> ForgottenClasses:
        """Follow the shares."""
        settings: MixSettings = self.settings
        rate = known_scale(knowledge.learning)
        answers = answering(knowledge, settings.per_class)

        def measured(number: int) -> np.ndarray:
            knowledge.progress(f"class shares of round {number}")
            move = global_move(view, number)
            if not move["head.weight"].any():
                raise AccessRefused(f"round {number} published no other model")
            models = [answers(view.broadcast(number))]
            mix = mix_of_gradients(move, models)
            if rate is None:
                both = [*models, answers(view.result(number))]
                tried = (mix, models), (mix_of_gradients(move, both), both)
                mix, models = min(tried, key=lambda entry: entry[0].residual)
            return self.refine(mix, move, models, rate or mix.scale).shares

        shares, same = Series(measured, needs_whole=True), twins(view)
        finding = follow(
            view,
            knowledge,
            settings,
            lambda split, last: self._compare(shares, same, split, last),
            by_test(settings, knowledge, rng),
            rng,
            {"scale": "estimated" if rate is None else "known"} | notes_of(settings, knowledge),
        )
        return self._with_distribution(finding, shares, same, view.num_rounds)

    def _compare(self, shares: Series, same: Mapping[int, int], split: int, last: int) -> Evidence | None:
        before, after, alike = self._rows(shares, same, split, last)
        if not after:
            return None
        if alike:
            return paired_drop(before, after)
        if len(before) < FEWEST_BEFORE:
            return unreferenced(-np.mean(after, axis=0))
        return drop_beyond_drift(before, after, BIASED * np.mean(before, axis=0) + TINY)

    def _rows(
        self, shares: Series, same: Mapping[int, int], split: int, last: int
    ) -> tuple[list[np.ndarray], list[np.ndarray], bool]:
        """Return the shares before and after, and whether they come in pairs of rounds that began alike."""
        before, after = paired(shares, same, split, last)
        if after:
            return before, after, True
        return shares.rows(later_half(split, self.settings.reference)), shares.rows(range(split + 1, last + 1)), False

    def _with_distribution(
        self, finding: ForgottenClasses, shares: Series, same: Mapping[int, int], rounds: int
    ) -> ForgottenClasses:
        split = int(finding.notes["request-round"])
        last = min(split + self.settings.window, rounds)
        before, after, alike = self._rows(shares, same, split, last)
        told = {"shares-after": np.mean(after, axis=0).tolist(), "rounds-read": len(before) + len(after)}
        if not before:
            return replace(finding, notes=finding.notes | told)
        old, new = np.mean(before, axis=0), np.mean(after, axis=0)
        told |= {"shares-before": old.tolist(), "paired": alike}
        return replace(finding, notes=finding.notes | told, distribution=forgotten_shares(old, new))


def answering(knowledge: Knowledge, per_class: int) -> Callable[[Weights], Outputs]:
    """Return what tells the answers of a model's head to the public sample.

    It remembers the latest, as a round mostly begins with the model that the one before ended with.
    """
    sample = public_sample(knowledge, per_class)
    latest: dict[str, Outputs] = {}

    def answers(weights: Weights) -> Outputs:
        key = digest(weights)
        if key not in latest:
            outputs = outputs_at(knowledge, weights, sample)
            latest.clear()
            latest[key] = outputs
        return latest[key]

    return answers


def forgotten_shares(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return the class shares (K,) of what left, from the class shares of the data before and after.

    What left is before - (1 - r) * after, with r the share of all data that left. That most classes lost nothing makes
    1 / (1 - r) the median ratio of after to before; negative amounts are taken for none. Equal shares where nothing
    seems to have left.

    Example:
        >>> forgotten_shares(np.array([0.2, 0.2, 0.2, 0.4]), np.array([0.25, 0.0, 0.25, 0.5]))
        array([0., 1., 0., 0.])
    """
    ratios = after[before > 0] / before[before > 0]
    growth = float(np.median(ratios))
    left = np.maximum(before - after / growth, 0) if growth > 0 else before.copy()  # more than half of them left
    left[left < 1e-12] = 0
    total = left.sum()
    return np.asarray(left / total) if total > 0 else np.full(len(left), 1 / len(left))
