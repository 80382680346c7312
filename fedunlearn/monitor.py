"""Watches the global model after every round: accuracy, loss and failures per branch, for results and charts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fedunlearn.data import triggered
from fedunlearn.federation import Failure, Order, Outcome, Weights
from fedunlearn.learning import Evaluation, evaluate_samples
from fedunlearn.models import load_weights
from fedunlearn.randomness import rng
from fedunlearn.stage import Stage

Row = dict[str, Any]
TRAINED = 7  # what the stream "forgetting" is for, after those of the comparison of final models


class Monitor:
    """Evaluates on what nobody trained on every `evaluate_every` rounds and keeps one row per round.

    Args:
        stage: the run's data and model.
        tell: called with each finished row.
    """

    def __init__(self, stage: Stage, tell: Callable[[Row], None]) -> None:
        self._stage = stage
        self._tell = tell
        self._every = stage.scenario.federation.evaluate_every
        self._model = stage.model().to(stage.site.device)
        self._labels = stage.dataset.labels(stage.unseen)
        poison, test = stage.poison, stage.unseen
        self._triggered = None if poison is None else triggered(stage.dataset, test, poison)
        self._forgotten: tuple[int, ...] = ()
        self._outcomes: Sequence[Outcome] | None = None  # of a round whose model has not been published yet
        self._started = time.perf_counter()
        self.rows: list[Row] = []

    def watch_classes(self, classes: tuple[int, ...]) -> None:
        """From now on, report accuracy on these classes apart from the others."""
        self._forgotten = classes

    def on_round(self, branch: str, order: Order, outcomes: Sequence[Outcome]) -> None:
        """Remember who answered."""
        self._outcomes = outcomes

    def on_model(self, branch: str, call: int, weights: Weights) -> None:
        """Evaluate the new global model and report the round; a model without a round of its own has no row."""
        if self._outcomes is None:
            return
        failures = [o for o in self._outcomes if isinstance(o, Failure)]
        row: Row = {"branch": branch, "round": call, "accuracy": None, "loss": None}
        row |= {"forget_accuracy": None, "retain_accuracy": None}
        if call % self._every == 0:
            result = self.evaluate(weights)
            row |= {"accuracy": result.accuracy, "loss": result.loss} | self._split(result.predictions)
        now = time.perf_counter()
        row |= {
            "clients": len(self._outcomes) - len(failures),
            "failures": [{"client_id": f.client_id, "reason": f.reason} for f in failures],
            "seconds": now - self._started,
        }
        self._started, self._outcomes = now, None
        self.rows.append(row)
        self._tell(row)

    def replay(self, rows: Sequence[Row]) -> None:
        """Report rounds that were watched in an earlier run."""
        for row in rows:
            self.rows.append(row)
            self._tell(row)

    def take_rows(self) -> list[Row]:
        """Return the rows since the last call."""
        rows, self.rows = self.rows, []
        return rows

    def _split(self, predictions: np.ndarray) -> dict[str, float | None]:
        """Return accuracy on the test samples of forgotten classes and of the others."""
        if not self._forgotten:
            return {}
        chosen, right = np.isin(self._labels, self._forgotten), predictions == self._labels
        share = lambda mask: float(right[mask].mean()) if mask.any() else None  # noqa: E731
        return {"forget_accuracy": share(chosen), "retain_accuracy": share(~chosen)}

    def evaluate(self, weights: Weights, ids: np.ndarray | None = None) -> Evaluation:
        """Return the evaluation of a model on samples `ids` (all of the test split by default)."""
        load_weights(self._model, weights)
        ids = self._stage.unseen if ids is None else ids
        return evaluate_samples(self._model, self._stage.dataset, ids, self._stage.site.device)

    def _some(self, ids: np.ndarray) -> np.ndarray:
        """Return as many of the training samples as are looked at, the same for equal ids."""
        most = self._stage.scenario.judge.trained_on
        if most is None or len(ids) <= most:
            return ids
        return np.sort(rng(self._stage.seed, "forgetting", TRAINED).permutation(ids)[:most])

    def _backdoor_success(self, weights: Weights) -> float | None:
        if self._triggered is None:
            return None
        samples, ids = self._triggered
        load_weights(self._model, weights)
        return evaluate_samples(self._model, samples, ids, self._stage.site.device).accuracy if len(ids) else None

    def judge_branch(self, weights: Weights, forgotten: np.ndarray) -> tuple[dict[str, float | None], dict[str, Any]]:
        """Return (metrics, details) of a branch's final model; `forgotten` are the ids of all forgotten samples.

        `forget_accuracy` and `retain_accuracy` are over training samples (a draw of so many as `judge.trained-on`
        says), the `test_` ones over held-out ones
        (of the forgotten classes, of the others, of all); `backdoor_success` is the share of test samples of other
        classes that the poison's trigger turns into its target. A share of nothing is None.
        """
        held = np.unique(np.concatenate(self._stage.held))
        test = self.evaluate(weights)
        on_test = self._split(test.predictions)
        metrics: dict[str, float | None] = {
            "forget_accuracy": self.evaluate(weights, self._some(forgotten)).accuracy if len(forgotten) else None,
            "retain_accuracy": self.evaluate(weights, self._some(np.setdiff1d(held, forgotten))).accuracy,
            "test_accuracy": test.accuracy,
            "test_forget_accuracy": on_test.get("forget_accuracy"),
            "test_retain_accuracy": on_test.get("retain_accuracy"),
            "test_loss": test.loss,
            "backdoor_success": self._backdoor_success(weights),
        }
        classes = self._stage.dataset.num_classes
        confusion = np.zeros((classes, classes), int)
        np.add.at(confusion, (self._labels, test.predictions), 1)
        per_class = np.diag(confusion) / np.maximum(confusion.sum(1), 1)
        details: dict[str, Any] = {"per_class_accuracy": per_class.tolist()}
        if classes <= 100:
            details["confusion"] = confusion.tolist()
        return metrics, details
