"""What claimed pictures are held against: private samples, fresh ones, and the judge's own classifier."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedunlearn.errors import DataError
from fedunlearn.judging.case import Case
from fedunlearn.judging.forgetting.confidence import margins
from fedunlearn.judging.inversion.comparison import Seen
from fedunlearn.judging.inversion.evaluator import refuse_target
from fedunlearn.judging.inversion.private import MOST, choose_private, spread, stand_ins
from fedunlearn.learning import evaluate

TESTED = 1000  # unseen samples, at most, on which the judge's own classifier is tested


class Bench:
    """The truth beside claimed pictures of some classes.

    Args:
        case: the branch that was attacked.
        claimed: the classes of the claimed pictures, (m,).

    Attributes:
        ids: of the private samples: of the claimed classes, the forgotten ones included.
        private: those samples as the judge's classifier sees them.
        forgotten: bool, which of them were asked to be forgotten.

    Raises:
        DataError: when the case lacks what is needed, the judge's classifier is the attacked model, or the federation
            has no sample of a claimed class.
    """

    def __init__(self, case: Case, claimed: np.ndarray) -> None:
        if case.evaluator is None or case.labels is None or case.pool is None or case.unseen is None:
            raise DataError("claimed pictures of classes are judged beside private samples; this case has none")
        self._case, self._evaluator, self._labels, self._unseen = case, case.evaluator(), case.labels, case.unseen
        attacked = {when: case.models(when) for when in ("before", "after", "final")} if case.models else {}
        refuse_target(self._evaluator, {when: weights for when, weights in attacked.items() if weights is not None})
        forgotten = case.forgotten_samples() if case.request_ids else np.empty(0, np.int64)
        members = np.union1d(case.pool(), forgotten)
        members = members[np.isin(case.labels(members), claimed)]
        if not len(members):
            raise DataError(f"the federation has no sample of the claimed classes {np.unique(claimed).tolist()}")
        self.ids = choose_private(members, case.labels(members), forgotten)
        self.forgotten = np.isin(self.ids, forgotten)
        self.private = self._seen(self.ids)

    def look(self, images: np.ndarray, labels: np.ndarray) -> Seen:
        """Return pictures (m, C, H, W) as the judge's classifier sees them."""
        return Seen(self._evaluator.features(images), self._evaluator.logits(images), labels)

    def fresh(self, claimed: np.ndarray) -> Seen | None:
        """Return samples that the federation never had, of each class as many as were claimed; None where none are.

        First samples that the judge's classifier was not trained on either, then those that it was.
        """
        ids = np.concatenate([self._unseen(), np.setdiff1d(self._evaluator.sample_ids, self._unseen())])
        chosen = stand_ins(ids, self._labels(ids), claimed)
        return self._seen(chosen) if len(chosen) else None

    def public(self, claimed: np.ndarray) -> Seen | None:
        """Return public pictures at random as if they were claimed, an answer that asks no model; None without any."""
        ids = self._case.public() if self._case.public else np.empty(0, np.int64)
        if not len(ids):
            return None
        return self.look(self._case.images(np.resize(self._case.rng.permutation(ids), len(claimed))), claimed)

    def margins(self) -> np.ndarray | None:
        """Return the attacked model's margins on the private samples, (n,); None where it is not at hand."""
        case = self._case
        weights = case.models("final") if case.models else None
        if weights is None or case.classifier is None:
            return None
        answers = evaluate(case.classifier(weights), case.images(self.ids), self.private.labels)
        return margins(answers.logits, self.private.labels)

    def describe(self) -> dict[str, Any]:
        """Return how good the judge's classifier is on samples that it was not trained on, and what it stands beside.

        Its accuracy on the private samples bounds what any honest reconstruction of them can reach.
        """
        tested = self._seen(spread(self._unseen(), TESTED))
        return {
            "evaluator": {
                "trained-on": len(self._evaluator.sample_ids),
                "tested-on": len(tested.labels),
                "accuracy": _accuracy(tested),
                "accuracy-private": _accuracy(self.private),
            },
            "private": {
                "samples": len(self.ids),
                "most-per-class": MOST,
                "forgotten": int(self.forgotten.sum()),
            },
        }

    def _seen(self, ids: np.ndarray) -> Seen:
        return self.look(self._case.images(ids), self._labels(ids))


def _accuracy(seen: Seen) -> float:
    return float((seen.logits.argmax(axis=1) == seen.labels).mean())
