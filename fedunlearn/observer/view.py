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

    What is told of a request is what was filed. Control branches tell the same as the others, though there it was not
    served, and say that the method was `finetune`: what they did is nothing else than train on. So no attack can tell
    a control by what it was told.

    Attributes:
        access: the observer's level.
        flags: what it knows beside.
    """

    def __init__(
        self,
        recording: Recording,
        access: Access,
        flags: frozenset[str],
        rounds: tuple[str | int, ...] = ("all",),
        *,
        own_client: int | None = None,
    ) -> None:
        self.access = access
        self.flags = flags
        self._own_client = own_client
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
        return _part_of(updates[client], head)

    @property
    def own_client(self) -> int:
        """The client that is the observer's own: given, or the lowest-numbered that holds none of the requested data.

        Under the flag own-updates; on a branch without requests the given one, or client 0.
        """
        self._need_flag("own-updates")
        marks = self._recording.marks or {"parties": (), "clients": 1}
        parties = marks["parties"]
        if self._own_client in parties:
            raise AccessRefused(f"the observer's own client {self._own_client} holds requested data")
        free = [client for client in range(marks["clients"]) if client not in parties]
        if self._own_client is None and not free:
            raise AccessRefused("every client holds requested data: none of them can be the observer's own")
        return free[0] if self._own_client is None else self._own_client

    def own_update(self, number: int, *, head: bool = False) -> Update:
        """Return what the observer's own client sent in a round, or the last layer of it alone."""
        client, updates = self.own_client, self._updates(number, head)
        if client not in updates:
            raise AccessRefused(f"the observer's own client {client} sent nothing in round {number}")
        return _part_of(updates[client], head)

    def auxiliary(self, number: int) -> Mapping[int, Weights]:
        """Return the statistics that clients sent right before a round, by client; those without any are absent.

        Under the flag auxiliary-replies. `num_rounds` + 1 stands for what came after the last round. Names are
        `<exchange>/<name>`: the exchanges before a round are numbered from 1, the names are the method's own.
        """
        self._need("updates")
        self._need_flag("auxiliary-replies")
        return self._recording.auxiliary(number)

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

    def pruned(self) -> Weights:
        """Return which weights the method removed, bool in the shape of each tensor that it pruned.

        Under the flag mask-known. A branch whose method prunes nothing, as on controls, has no mask to show.
        """
        self._need("weights")
        self._need_flag("mask-known")
        if not (masks := self._recording.pruned()):
            raise AccessRefused(f'on branch "{self._recording.branch}" nothing was pruned: there is no mask')
        return masks

    @property
    def request_round(self) -> int:
        """How many rounds came before the (first) request."""
        return int(self._mark("request-round", "request-rounds")[0])

    @property
    def method(self) -> str:
        """The name of the unlearning method."""
        return str(self._mark("method", "method"))

    @property
    def parties(self) -> tuple[int, ...]:
        """The clients that asked, ascending: those whose data are to be forgotten."""
        return tuple(self._mark("request-party", "parties"))

    @property
    def scope(self) -> str:
        """What the (first) request names: "class", "sample" or "client"."""
        return str(self._mark("request-target", "scope"))

    @property
    def target(self) -> tuple[int, ...]:
        """The classes, sample ids or clients that the requests of that scope name, ascending."""
        return tuple(self._mark("request-target", "target"))

    def _mark(self, flag: str, name: str) -> Any:
        self._need_flag(flag)
        if self._recording.marks is None:
            raise AccessRefused("nothing was requested on this branch")
        return self._recording.marks[name]

    def _need_flag(self, flag: str) -> None:
        if flag not in self.flags:
            raise AccessRefused(f'the observer lacks the flag "{flag}"')


def _part_of(update: Update, head: bool) -> Update:
    if not head:
        return update
    return Update(update.client_id, update.kind, head_of(update.payload), update.num_examples)
