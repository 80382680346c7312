"""The forgotten class from what each client's update lacks, and the class proportions of single clients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from fedunlearn.attacks.base import ATTACKS, Attack, Finds
from fedunlearn.attacks.forgotten_class.class_mix import mix_of_gradients
from fedunlearn.attacks.forgotten_class.head_moves import client_move, fell
from fedunlearn.attacks.forgotten_class.mixing import MixSettings, answering
from fedunlearn.attacks.forgotten_class.streams import Series, by_test, follow, notes_of
from fedunlearn.attacks.forgotten_class.windows import FEWEST_BEFORE, Evidence, fewer_have, unreferenced
from fedunlearn.attacks.label_restoration.outputs import Outputs
from fedunlearn.federation import Weights
from fedunlearn.observer.access import Access, AccessRefused
from fedunlearn.observer.findings import ForgottenClasses
from fedunlearn.observer.knowledge import Knowledge
from fedunlearn.observer.view import View


@ATTACKS.register("decaf")
class Decaf(Attack):
    """Classes that became null classes of clients: none of their data moves such a row of the head up.

    Needs every client's update. First stage: class c is null in an update when row c of the head falls in every entry
    (see `row-sign`). How many updates have the class is counted in the window after the request and in the rounds
    before it: s_c = -log10 p, p the larger one of Fisher's exact and of Student's t test. Second stage, with labelled
    public images and broadcasts recorded whole: the class proportions of each client, non-negative least squares over
    the public class gradients at the broadcast with null classes held at 0. `distribution`: the fall of each client's
    amounts, proportion times samples, from the last round before the request to the first after it, summed over the
    clients. Without public images only the first stage runs, and the notes name that fallback.
    Decision: see the settings; the test's level is alpha over (classes * candidate rounds). Clients' rows fall
    more often as a model learns: without the flag request-round the level is not kept (5 of 25 controls at 5 %).

    Source: Dai, Zhou, Fu et al., Decaf: Data Distribution Decompose Attack against Federated Learning (arXiv
    2405.15316). Deviations: a test in place of the bare rule, as small batches lack classes by chance; the bases are
    public gradients of the head alone.
    """

    Settings: ClassVar[type[MixSettings]] = MixSettings
    needs: ClassVar[Access] = "updates"
    finds: ClassVar[Finds] = "forgotten-classes"

    def run(self, view: View, knowledge: Knowledge, rng: np.random.Generator) -> ForgottenClasses:
        """Follow the clients."""
        settings: MixSettings = self.settings
        series = Series(lambda number: presences(view, number))
        finding = follow(
            view,
            knowledge,
            settings,
            lambda split, last: self._compare(series, split, last),
            by_test(settings, knowledge, rng),
            rng,
            notes_of(settings, knowledge),
        )
        return self._with_proportions(finding, view, knowledge)

    def _compare(self, series: Series, split: int, last: int) -> Evidence | None:
        before = with_updates(series.rows(range(max(split - self.settings.reference, 0) + 1, split + 1)))
        after = with_updates(series.rows(range(split + 1, last + 1)))
        if not after:
            return None
        if len(before) < FEWEST_BEFORE:
            return unreferenced(-np.concatenate(after).mean(axis=0))
        return fewer_have(before, after)

    def _with_proportions(self, finding: ForgottenClasses, view: View, knowledge: Knowledge) -> ForgottenClasses:
        split = int(finding.notes["request-round"])
        try:
            answers = answering(knowledge, self.settings.per_class)
            old, new = (proportions(view, number, answers) for number in (split, split + 1))
        except AccessRefused as refusal:
            return replace(finding, notes=finding.notes | {"fallback": f"no proportions: {refusal}"})
        told: dict[str, Any] = {"proportions": {client: shares.tolist() for client, (shares, _) in new.items()}}
        return replace(finding, notes=finding.notes | told, distribution=lost(old, new))


Proportions = dict[int, tuple[np.ndarray, int]]  # by client: class shares (num_classes,) and number of samples


def presences(view: View, number: int) -> np.ndarray:
    """Return 1 for each class that an update has and 0 for its null classes, (updates, num_classes)."""
    broadcast = view.broadcast(number, head=True)
    updates = [view.update(number, client, head=True) for client in view.clients(number)]
    moves = [client_move(update, broadcast) for update in updates if update.kind in ("gradient", "weights")]
    return np.array([~fell(move) for move in moves], dtype=float).reshape(-1, len(broadcast["head.weight"]))


def with_updates(rounds: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the rounds in which somebody sent an update."""
    return [round for round in rounds if len(round)]


def proportions(view: View, number: int, answers: Callable[[Weights], Outputs]) -> Proportions:
    """Return the class proportions of every client of a round.

    Raises:
        AccessRefused: when the round's broadcast was not recorded whole, or there is no such round.
    """
    broadcast, head = view.broadcast(number), view.broadcast(number, head=True)
    outputs = answers(broadcast)
    found = {}
    for client in view.clients(number):
        update = view.update(number, client, head=True)
        if update.kind in ("gradient", "weights"):
            move = client_move(update, head)
            found[client] = mix_of_gradients(move, [outputs], fell(move)).shares, update.num_examples
    return found


def lost(before: Proportions, after: Proportions) -> np.ndarray:
    """Return the class shares (num_classes,) of what clients lost between two rounds; equal shares if nothing.

    A client that is gone lost everything, one that is new is passed over.
    """
    total = np.zeros(len(next(iter(before.values()))[0]))
    for client, (shares, count) in before.items():
        later, left = after.get(client, (shares, 0))
        total += np.maximum(count * shares - left * later, 0)
    return np.asarray(total / total.sum()) if total.sum() > 0 else np.full(len(total), 1 / len(total))
