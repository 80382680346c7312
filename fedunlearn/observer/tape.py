"""Records what an adversary could see while a federation works, as safetensors files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from fedunlearn.federation import Order, Outcome, Update, Weights
from fedunlearn.observer.access import Access
from fedunlearn.observer.files import marks_path, model_path, round_path, write_arrays, write_model, write_round
from fedunlearn.observer.recording import Recording
from fedunlearn.observer.view import View, selects

Keeps = Callable[[str, int], bool]  # (branch, the round's number within the branch, from 1)


class Observer(Protocol):
    """Who watches: the observers of a scenario, or anything with these attributes."""

    @property
    def access(self) -> Access:
        """The access level."""

    @property
    def rounds(self) -> Sequence[str | int]:
        """The rounds that it records whole: "first", "around-request", "all" or numbers."""

    @property
    def flags(self) -> Sequence[str]:
        """What it knows beside."""


@dataclass
class _Reel:
    """What the tape remembers of a branch that is being recorded."""

    rounds: int = 0
    published: Weights | None = None


def keeps_for(observers: Sequence[Observer], request_rounds: Sequence[int]) -> Keeps:
    """Return which rounds some observer records whole.

    Args:
        observers: all of a scenario's.
        request_rounds: the requests' rounds, ascending; a branch's first round follows the first of them.
    """

    def keeps(branch: str, number: int) -> bool:
        before = 0 if branch == "trunk" or not request_rounds else request_rounds[0]
        around: Sequence[int | None] = request_rounds or [None]
        return any(selects(observer.rounds, before + number, at) for observer in observers for at in around)

    return keeps


class Tape:
    """What happened on the wire, one folder per branch; its `on_round` and `on_model` are the federation's listeners.

    A tape holds the last layer of every round's broadcast, updates and published model, and all of their tensors for
    the rounds that `keeps` names. It never holds metrics, private parts, task settings or replies that are
    neither gradients nor weights. Recording a branch anew replaces what was recorded of it.

    Args:
        folder: where the files go.
        keeps: whether a round is kept whole; default every one.
    """

    def __init__(self, folder: Path, keeps: Keeps = lambda branch, number: True) -> None:
        self.folder = folder
        self._keeps = keeps
        self._reels: dict[str, _Reel] = {}

    def _reel(self, branch: str) -> _Reel:
        if branch not in self._reels:
            for file in (self.folder / branch).glob("*.safetensors"):
                file.unlink()
            self._reels[branch] = _Reel()
        return self._reels[branch]

    def on_round(self, branch: str, order: Order, outcomes: Sequence[Outcome]) -> None:
        """Record a finished round."""
        if order.task.reply == "statistics":
            return
        reel = self._reel(branch)
        reel.rounds += 1
        # Mostly a round broadcasts what the last one published: it is on the tape already.
        broadcast = None if _same(order.weights, reel.published) else order.weights
        updates = [outcome for outcome in outcomes if isinstance(outcome, Update)]
        path = round_path(self.folder, branch, reel.rounds)
        write_round(path, broadcast, updates, whole=self._keeps(branch, reel.rounds))

    def on_model(self, branch: str, call: int, weights: Weights) -> None:
        """Record the global model after a round."""
        reel = self._reel(branch)
        whole = self._keeps(branch, reel.rounds) or self._keeps(branch, reel.rounds + 1)  # the next one broadcasts it
        write_model(model_path(self.folder, branch, reel.rounds), weights, whole)
        reel.published = weights

    def mark(
        self,
        branch: str,
        *,
        request_round: int,
        before: Weights,
        after: Weights,
        final: Weights,
        trunk_rounds: int | None = None,
        method: str = "",
    ) -> None:
        """Say what a branch was about, when it is done.

        Args:
            branch: the branch that served (or, for a control, passed over) the request.
            request_round: how many rounds came before the request, in the observer's numbering.
            before: the global model when the request was served.
            after: the global model when the request was done.
            final: the branch's last global model.
            trunk_rounds: how many of the trunk's rounds come before the branch's own; default `request_round`.
            method: the unlearning method's name.
        """
        models = {"before": before, "after": after, "final": final}
        arrays = {f"{part}/{name}": array for part, model in models.items() for name, array in model.items()}
        trunk = request_round if trunk_rounds is None else trunk_rounds
        about = {"request-round": request_round, "trunk-rounds": trunk, "method": method}
        write_arrays(marks_path(self.folder, branch), arrays, about)

    def recording(self, branch: str = "trunk") -> Recording:
        """Return everything that was recorded of a branch: for the query interface, never for an attack."""
        return Recording(self.folder, branch)

    def view(self, observer: Observer, branch: str = "trunk") -> View:
        """Return what `observer` sees of a branch: the trunk's rounds up to the request, then the branch's own."""
        return View(self.recording(branch), observer.access, frozenset(observer.flags), tuple(observer.rounds))


def _same(one: Weights, other: Weights | None) -> bool:
    if other is None or one is other:
        return one is other
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)
