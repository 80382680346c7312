"""What an attack sees: a view of the tape that refuses what the access level does not show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedunlearn.aggregation import weighted_mean
from fedunlearn.federation import Update, Weights
from fedunlearn.names import PROBE
from fedunlearn.observer.access import CAPABILITIES, Access, AccessRefused
from fedunlearn.observer.files import head_of
from fedunlearn.observer.recording import Recording

EVERYBODY = -1  # the client id of an update that stands for all clients of a round


def selects(rounds: Sequence[str | int], number: int, request_rounds: Sequence[int]) -> bool:
    """Return whether an observer's choice of `rounds` contains the round of this number.

    Args:
        rounds: "all", "first", "around-request" (the last round before a request and the first after it) or numbers.
        number: the round, from 1.
        request_rounds: for each request, how many rounds came before it.

    Example:
        >>> [selects(("first", "around-request", 7), number, [4]) for number in (1, 2, 4, 5, 7)]
        [True, False, True, True, True]
    """
    return (
        "all" in rounds
        or number in rounds
        or ("first" in rounds and number == 1)
        or ("around-request" in rounds and any(number in (before, before + 1) for before in request_rounds))
    )


class View:
    """What one observer sees of one branch.

    Rounds are numbered from 1: the trunk's up to the request, then the branch's own. Of every round the last layer
    (`head=True`) is on record, the whole tensors of those rounds that the observer chose. Every member raises
    `AccessRefused` where the access level, the flags or the choice of rounds do not give it. Do not write to the
    arrays.

    Attributes:
        access: the observer's level.
        flags: what it knows beside.
    """

    def __init__(
        self, recording: Recording, access: Access, flags: frozenset[str], rounds: tuple[str | int, ...] = ("all",)
    ) -> None:
        self.access = access
        self.flags = flags
        self._recording = recording
        self._rounds = rounds

    def _need(self, *capabilities: str) -> None:
        if missing := set(capabilities) - CAPABILITIES[self.access]:
            raise AccessRefused(f"access {self.access} does not show {' and '.join(sorted(missing))}")

    @property
    def num_rounds(self) -> int:
        """How many rounds were watched."""
        self._need("broadcasts")
        return len(self._recording.rounds)

    def broadcast(self, number: int, *, head: bool = False) -> Weights:
        """Return the model that a round sent to the clients, or its last layer alone."""
        self._need("broadcasts")
        return self._part(self._recording.broadcast(number), number, head)

    def result(self, number: int, *, head: bool = False) -> Weights:
        """Return the global model after a round, or its last layer alone."""
        self._need("broadcasts")
        return self._part(self._recording.result(number), number, head)

    def clients(self, number: int) -> tuple[int, ...]:
        """Return who sent an update in a round, ascending."""
        self._need("updates")
        return tuple(sorted(self._recording.round(number).updates))

    def update(self, number: int, client: int, *, head: bool = False) -> Update:
        """Return what a client (one of `clients(number)`) sent in a round, or the last layer of it alone."""
        self._need("updates")
        updates = self._updates(number, head)
        if client not in updates:
            raise AccessRefused(f"client {client} sent nothing in round {number}; {sorted(updates)} did")
        update = updates[client]
        return Update(client, update.kind, head_of(update.payload), update.num_examples) if head else update

    def total(self, number: int, *, head: bool = False) -> Update:
        """Return the mean of a round's updates, weighted by their examples: all that secure aggregation shows."""
        self._need("aggregate")
        updates = [update for _, update in sorted(self._updates(number, head).items())]
        if not updates:
            raise AccessRefused(f"nobody sent anything in round {number}")
        sizes = [update.num_examples for update in updates]
        payloads = [head_of(update.payload) if head else update.payload for update in updates]
        return Update(EVERYBODY, updates[0].kind, weighted_mean(payloads, sizes), sum(sizes))

    def _updates(self, number: int, head: bool) -> Mapping[int, Update]:
        taped = self._recording.round(number)
        self._need_record(taped.whole, number, head)
        return taped.updates

    def _part(self, recorded: tuple[Weights, bool], number: int, head: bool) -> Weights:
        weights, whole = recorded
        self._need_record(whole, number, head)
        return head_of(weights) if head else weights

    def _need_record(self, whole: bool, number: int, head: bool) -> None:
        marks = self._recording.marks
        probe = self._recording.branch.startswith(PROBE)  # watched for its own sake, whatever rounds were chosen
        chosen = probe or selects(self._rounds, number, marks["request-rounds"] if marks else [])
        if not head and not (whole and chosen):
            raise AccessRefused(f"of round {number} the observer recorded only the last layer")

    def before(self) -> Weights:
        """Return the global model when the request was served."""
        self._need("weights", "before")
        return self._recording.model("before")

    def after(self) -> Weights:
        """Return the global model when the request was done."""
        self._need("weights", "before")
        return self._recording.model("after")

    def final(self) -> Weights:
        """Return the last global model."""
        self._need("weights")
        return self._recording.model("final")

    @property
    def request_round(self) -> int:
        """How many rounds came before the (first) request."""
        return int(self._mark("request-round", "request-rounds")[0])

    @property
    def method(self) -> str:
        """The name of the unlearning method."""
        return str(self._mark("method", "method"))

    def _mark(self, flag: str, name: str) -> Any:
        if flag not in self.flags:
            raise AccessRefused(f'the observer lacks the flag "{flag}"')
        if self._recording.marks is None:
            raise AccessRefused("nothing was requested on this branch")
        return self._recording.marks[name]
