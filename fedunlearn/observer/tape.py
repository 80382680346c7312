"""Records what an adversary could see while a federation works, as safetensors files."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from fedunlearn.federation import Order, Outcome, Update, Weights
from fedunlearn.names import PROBE
from fedunlearn.observer.access import Access
from fedunlearn.observer.files import marks_path, model_path, round_path, write_auxiliary, write_model, write_round
from fedunlearn.observer.recording import Recording
from fedunlearn.observer.view import View, selects
from fedunlearn.requests import UnlearningRequest
from fedunlearn.storage import write_arrays

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

    @property
    def client(self) -> int | None:
        """The client that is the observer's own, under the flag own-updates; None to take the first that may be."""


@dataclass
class _Reel:
    """What the tape remembers of a branch that is being recorded."""

    rounds: int = 0
    published: Weights | None = None  # what the file of the last model holds, if the next round broadcasts it
    whole: bool = False  # whether that file holds all of it
    requests: list[int] = field(default_factory=list)  # how many own rounds came before each request


def keeps_for(observers: Sequence[Observer], request_rounds: Sequence[int], own_trunks: Collection[str] = ()) -> Keeps:
    """Return which rounds some observer records whole.

    Args:
        observers: all of a scenario's.
        request_rounds: the rounds of the requests that are known beforehand, ascending; a branch's first round
            follows the first of them.
        own_trunks: the branches that do not leave the trunk but train from the initialisation.
    """

    def keeps(branch: str, number: int) -> bool:
        if branch.startswith(PROBE):
            return True
        leaves = branch != "trunk" and branch not in own_trunks
        before = request_rounds[0] if leaves and request_rounds else 0
        return any(selects(observer.rounds, before + number, request_rounds) for observer in observers)

    return keeps


class Tape:
    """What happened on the wire, one folder per branch; its `on_round` and `on_model` are the federation's listeners.

    A tape holds the last layer of every round's broadcast, updates and published model, and all of their tensors for
    the rounds that `keeps` names. It never holds metrics, private parts or task settings. Replies that are neither
    gradients nor weights go to files of their own, where somebody may see them. Recording a branch anew replaces what
    was recorded of it.

    Args:
        folder: where the files go.
        keeps: whether a round is kept whole; default every one.
        auxiliary: whether to keep statistics replies, for observers with the flag auxiliary-replies.
    """

    def __init__(self, folder: Path, keeps: Keeps = lambda branch, number: True, *, auxiliary: bool = False) -> None:
        self.folder = folder
        self._keeps, self._auxiliary = keeps, auxiliary
        self._reels: dict[str, _Reel] = {}

    def _reel(self, branch: str) -> _Reel:
        if branch not in self._reels:
            for file in (self.folder / branch).glob("*.safetensors"):
                file.unlink()
            self._reels[branch] = _Reel()
        return self._reels[branch]

    def on_round(self, branch: str, order: Order, outcomes: Sequence[Outcome]) -> None:
        """Record a finished round; statistics replies belong to the round that follows them."""
        reel = self._reel(branch)
        updates = [outcome for outcome in outcomes if isinstance(outcome, Update)]
        if order.task.reply == "statistics":
            if self._auxiliary:
                write_auxiliary(self.folder, branch, reel.rounds, updates)
            return
        reel.rounds += 1
        whole = self._keeps(branch, reel.rounds) or reel.rounds - 1 in reel.requests
        # Mostly a round broadcasts what the last one published: it is on the tape already.
        on_tape = _same(order.weights, reel.published) and (reel.whole or not whole)
        path = round_path(self.folder, branch, reel.rounds)
        write_round(path, None if on_tape else order.weights, updates, whole)
        reel.published = None

    def on_model(self, branch: str, call: int, weights: Weights) -> None:
        """Record the global model after a round.

        A model that is published without a round of its own (before the first, or after another model of the same
        round) is seen when the next round broadcasts it.
        """
        reel = self._reel(branch)
        path = model_path(self.folder, branch, reel.rounds)
        if reel.rounds == 0 or path.exists():
            reel.published = None
            return
        keeps, later = self._keeps(branch, reel.rounds), self._keeps(branch, reel.rounds + 1)
        reel.whole = keeps or later or reel.rounds - 1 in reel.requests
        write_model(path, weights, reel.whole)
        reel.published = weights

    def request(self, branch: str) -> None:
        """Say that a request is served from here on: the branch's next round is recorded whole."""
        reel = self._reel(branch)
        reel.requests.append(reel.rounds)

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
        clients: int = 0,
        requests: Sequence[UnlearningRequest] = (),
        pruned: Weights | None = None,
    ) -> None:
        """Say what a branch was about, when it is done.

        Args:
            branch: the branch that served (or, for a control, passed over) the request.
            request_round: how many rounds came before the first request, in the observer's numbering.
            before: the global model when the first request was served.
            after: the global model when the last request was done.
            final: the branch's last global model.
            trunk_rounds: how many of the trunk's rounds come before the branch's own; default `request_round`.
            method: the unlearning method's name.
            clients: how many there are.
            requests: what was asked, in order of arrival; on a control, what was asked on the other branches.
            pruned: bool, by tensor: which weights the method removed; none where it does not prune.
        """
        parts = {"before": before, "after": after, "final": final, "pruned": pruned or {}}
        arrays = {f"{part}/{name}": array for part, named in parts.items() for name, array in named.items()}
        trunk = request_round if trunk_rounds is None else trunk_rounds
        rounds = sorted({request_round, *(trunk + own for own in self._reel(branch).requests)})
        scope = requests[0].scope if requests else ""
        about = {
            "request-rounds": rounds,
            "trunk-rounds": trunk,
            "method": method,
            "clients": clients,
            "parties": sorted({client for request in requests for client in request.samples}),
            "scope": scope,
            "target": sorted({one for request in requests if request.scope == scope for one in request.target}),
        }
        write_arrays(marks_path(self.folder, branch), arrays, about)

    def recording(self, branch: str = "trunk") -> Recording:
        """Return everything that was recorded of a branch: for the query interface, never for an attack."""
        return Recording(self.folder, branch)

    def view(self, observer: Observer, branch: str = "trunk") -> View:
        """Return what `observer` sees of a branch: the trunk's rounds up to the request, then the branch's own."""
        return View(
            self.recording(branch),
            observer.access,
            frozenset(observer.flags),
            tuple(observer.rounds),
            own_client=observer.client,
        )


def _same(one: Weights, other: Weights | None) -> bool:
    if other is None or one is other:
        return one is other
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)
