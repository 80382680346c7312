"""What an attack sees: a view of the tape that refuses what the access level does not show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from fedunlearn.aggregation import weighted_mean
from fedunlearn.federation import Update, Weights
from fedunlearn.observer.access import CAPABILITIES, Access, AccessRefused
from fedunlearn.observer.recording import (
    TapedRound,
    head_of,
    marks_path,
    model_path,
    read_arrays,
    read_round,
    round_path,
)

EVERYBODY = -1  # the client id of an update that stands for all clients of a round
When = Literal["final", "before"]


def selects(rounds: Sequence[str | int], number: int, request_round: int | None) -> bool:
    """Return whether an observer's choice of `rounds` contains the round of this number.

    Example:
        >>> [selects(("first", "around-request", 7), number, 4) for number in (1, 2, 4, 5, 7)]
        [True, False, True, True, True]
    """
    around = () if request_round is None else (request_round, request_round + 1)
    return (
        "all" in rounds
        or number in rounds
        or ("first" in rounds and number == 1)
        or ("around-request" in rounds and number in around)
    )


class View:
    """What one observer sees of one branch.

    Rounds are numbered from 1: the trunk's up to the request, then the branch's own. Every member raises
    `AccessRefused` where the access level or the flags do not give it. Do not write to the arrays.

    Attributes:
        access: the observer's level.
        flags: what it knows beside.
    """

    def __init__(
        self, folder: Path, branch: str, access: Access, flags: frozenset[str], rounds: tuple[str | int, ...]
    ) -> None:
        self.access = access
        self.flags = flags
        self._folder, self._branch, self._rounds = folder, branch, rounds
        self._latest: tuple[int, TapedRound] | None = None  # attacks ask for one round many times over

    def _need(self, *capabilities: str) -> None:
        for capability in capabilities:
            if capability not in CAPABILITIES[self.access]:
                raise AccessRefused(f"access {self.access} does not show {capability}")

    def _need_flag(self, flag: str) -> None:
        if flag not in self.flags:
            raise AccessRefused(f"the observer lacks the flag {flag}")

    @cached_property
    def _marks(self) -> tuple[dict[str, Weights], dict[str, Any]]:
        path = marks_path(self._folder, self._branch)
        if not path.exists():
            raise AccessRefused(f'nothing was requested on branch "{self._branch}"')
        arrays, about = read_arrays(path)
        models: dict[str, Weights] = {"before": {}, "after": {}, "final": {}}
        for key, array in arrays.items():
            part, name = key.split("/", 1)
            models[part][name] = array
        return models, about

    @cached_property
    def _files(self) -> list[tuple[str, int]]:
        """(branch, number within it) of every round, in the observer's order."""
        own = [(self._branch, n) for n in range(1, _count(self._folder, self._branch) + 1)]
        if self._branch == "trunk":
            return own
        return [("trunk", n) for n in range(1, self._marks[1]["trunk-rounds"] + 1)] + own

    def _round(self, number: int) -> TapedRound:
        if not 1 <= number <= len(self._files):
            raise AccessRefused(f"there is no round {number}; the observer saw {len(self._files)}")
        if self._latest is None or self._latest[0] != number:
            branch, own = self._files[number - 1]
            self._latest = number, read_round(round_path(self._folder, branch, own))
        return self._latest[1]

    def _published(self, number: int) -> Weights:
        """Return the global model after a round; where none was published, the one before stays."""
        branch, own = self._files[number - 1]
        path = model_path(self._folder, branch, own)
        return read_arrays(path)[0] if path.exists() else self.broadcast(number)

    @property
    def num_rounds(self) -> int:
        """How many rounds were watched."""
        self._need("broadcasts")
        return len(self._files)

    def broadcast(self, number: int) -> Weights:
        """Return the model that a round sent to the clients."""
        self._need("broadcasts")
        sent = self._round(number).broadcast
        branch, own = self._files[number - 1]
        return read_arrays(model_path(self._folder, branch, own - 1))[0] if sent is None else sent

    def result(self, number: int) -> Weights:
        """Return the global model after a round."""
        self._need("broadcasts")
        self._round(number)
        return self._published(number)

    def clients(self, number: int) -> tuple[int, ...]:
        """Return who sent an update in a round, ascending."""
        self._need("updates")
        return tuple(sorted(self._round(number).updates))

    def update(self, number: int, client: int, *, head: bool = False) -> Update:
        """Return what a client sent in a round.

        Args:
            number: the round.
            client: who; one of `clients(number)`.
            head: the last layer alone, which is on record for every round; whole updates are for the rounds
                that the observer chose to record.
        """
        self._need("updates")
        updates = self._recorded(number, head)
        if client not in updates:
            raise AccessRefused(f"client {client} sent nothing in round {number}; {sorted(updates)} did")
        return _headed(updates[client]) if head else updates[client]

    def total(self, number: int, *, head: bool = False) -> Update:
        """Return the mean of a round's updates, weighted by their examples: all that secure aggregation shows."""
        self._need("aggregate")
        updates = [update for _, update in sorted(self._recorded(number, head).items())]
        if not updates:
            raise AccessRefused(f"nobody sent anything in round {number}")
        sizes = [update.num_examples for update in updates]
        payloads = [_headed(update).payload if head else update.payload for update in updates]
        return Update(EVERYBODY, updates[0].kind, weighted_mean(payloads, sizes), sum(sizes))

    def _recorded(self, number: int, head: bool) -> Mapping[int, Update]:
        taped = self._round(number)
        path = marks_path(self._folder, self._branch)
        request_round = self._marks[1]["request-round"] if path.exists() else None
        if not head and not (taped.whole and selects(self._rounds, number, request_round)):
            raise AccessRefused(f"the observer did not record the updates of round {number}")
        return taped.updates

    def before(self) -> Weights:
        """Return the global model when the request was served."""
        self._need("weights", "before")
        return self._marks[0]["before"]

    def after(self) -> Weights:
        """Return the global model when the request was done."""
        self._need("weights", "before")
        return self._marks[0]["after"]

    def final(self) -> Weights:
        """Return the last global model."""
        self._need("weights")
        return self.answering_model("final", self)

    def answering_model(self, when: When, asked_by: object) -> Weights:
        XXX

    @property
    def request_round(self) -> int:
        """How many rounds came before the request."""
        self._need_flag("request-round")
        return int(self._marks[1]["request-round"])

    @property
    def method(self) -> str:
        """The name of the unlearning method."""
        self._need_flag("method")
        return str(self._marks[1]["method"])


def _count(folder: Path, branch: str) -> int:
    return len(list((folder / branch).glob("round-*.safetensors")))


def _headed(update: Update) -> Update:
    return Update(update.client_id, update.kind, head_of(update.payload), update.num_examples)
