"""The port through which every algorithm of this project asks a federation to work.

A federated algorithm is an ordinary loop over `Federation.round`. Who carries the messages (Flower on Ray,
Flower SuperNodes, or this process) is the `Engine` behind it; the numbers are the same, bit for bit.
"""

from __future__ import annotations

import copy
import math
import operator
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any, Protocol, TypeVar

import numpy as np

from fedunlearn.errors import NonFiniteModel
from fedunlearn.orders import (
    DataView,
    Failure,
    Job,
    Kind,
    Order,
    Outcome,
    Task,
    Update,
    Weights,
    weights_sha256,
)

T = TypeVar("T")

__all__ = [
    "DataView",
    "Engine",
    "Failure",
    "Federation",
    "Job",
    "Kind",
    "Order",
    "Outcome",
    "RoundJournal",
    "Spent",
    "Task",
    "Update",
    "Weights",
    "select_samples",
    "validated",
    "weights_sha256",
]


class Engine(Protocol):
    """Carries one round to the clients and aggregates what came back."""

    def deliver(self, order: Order) -> list[Outcome]:
        """Return one outcome per job, in any order; unvalidated."""
        ...

    def aggregate(self, weights: Weights, updates: Sequence[Update], state: Any) -> tuple[Weights, Any]:
        """Return the next global model and the server optimiser's next state."""
        ...


class RoundJournal(Protocol):
    """Remembers finished rounds, so that a run can be resumed by executing it again."""

    def load(self, branch: str, order: Order) -> list[Outcome] | None:
        """Return the outcomes of this very order, or None when it has not been finished before."""
        ...

    def save(self, branch: str, order: Order, outcomes: Sequence[Outcome]) -> None:
        """Keep the outcomes; atomic."""
        ...


RoundListener = Callable[[str, Order, Sequence[Outcome]], None]  # (branch, order, outcomes)
ModelListener = Callable[[str, int, Weights], None]  # (branch, call, the global model after that call)
Release = Callable[[Weights], Weights]  # from the global model to what leaves the server in its place


@dataclass
class Spent:
    """What a branch has cost so far.

    Attributes:
        rounds: asked for; unlike `Federation.calls`, a restart does not reset it.
        bytes: sent to and by the clients, as if every client had its own message.
        client_seconds: what the clients computed.
        executed_client_seconds: of that, in rounds that were not read from the journal.
        round_seconds: wall time of the rounds that were not read from the journal.
    """

    rounds: int = 0
    bytes: int = 0
    client_seconds: float = 0.0
    executed_client_seconds: float = 0.0
    round_seconds: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(*map(operator.add, astuple(self), astuple(other)))

    def __sub__(self, other: Spent) -> Spent:
        return Spent(*map(operator.sub, astuple(self), astuple(other)))


class Federation:
    """A branch of a run: its call counter, what it has forgotten so far, and the engine that does the work.

    Args:
        engine: the adapter that carries rounds.
        sample_ids: for each client, the sorted ids of the training samples it holds.
        journal: where finished rounds are kept, or None to keep none.
        branch: the name under which rounds are journalled and recorded.
    """

    def __init__(
        self,
        engine: Engine,
        sample_ids: Sequence[np.ndarray],
        journal: RoundJournal | None = None,
        branch: str = "trunk",
    ) -> None:
        self._engine = engine
        self._sample_ids = sample_ids
        self._journal = journal
        self.branch = branch
        self.calls = 0
        self._restarts = 0
        self.state: Any = None  # the server optimiser's, carried from round to round by whoever trains
        self.past: dict[int, np.ndarray] = {}
        self.current: dict[int, np.ndarray] = {}
        self.withheld: dict[int, np.ndarray] = {}  # what a defence leaves out of training for now
        self.release: Release | None = None  # what is done to a global model before it leaves the server
        self.private: dict[int, Weights] = {}  # what each client kept for itself
        self.pruned: Weights = {}  # bool, by tensor: what unlearning has removed from the model
        self.spent = Spent()
        self.round_listeners: list[RoundListener] = []
        self.model_listeners: list[ModelListener] = []

    @property
    def num_clients(self) -> int:
        """The number of clients in the partition."""
        return len(self._sample_ids)

    @property
    def journal_key(self) -> str:
        """The name under which the journal files this branch's rounds; a restart begins a new one."""
        return f"{self.branch}.{self._restarts}"

    def fork(self, branch: str) -> Federation:
        """Return a federation that goes on from here under another name."""
        other = copy.copy(self)
        other.branch, other._restarts = branch, 0
        other.past, other.current, other.private = dict(self.past), dict(self.current), dict(self.private)
        other.pruned = dict(self.pruned)
        other.spent = Spent()
        other.round_listeners, other.model_listeners = list(self.round_listeners), list(self.model_listeners)
        return other

    def restart(self) -> None:
        """Begin again at call 0 with a new server optimiser: the rounds to come draw what the first ones drew."""
        self.calls, self.state, self.private, self.pruned = 0, None, {}, {}
        self._restarts += 1

    def open_request(self, forget: Mapping[int, np.ndarray]) -> None:
        """Make `forget` (sample ids by client) what the views `forget` and `retain` are about."""
        self.current = {client: np.sort(ids) for client, ids in forget.items() if len(ids)}

    def close_request(self) -> None:
        """Exclude what the open request forgot from every later round of this branch."""
        for client, ids in self.current.items():
            self.past[client] = np.union1d(self.past.get(client, ids[:0]), ids)
        self.current = {}

    def has_forgotten(self, client: int) -> bool:
        """Return whether any request, the open one included, concerns data of `client`."""
        return client in self.past or client in self.current

    def samples(self, client: int, view: DataView) -> np.ndarray:
        """Return the sorted ids of the samples that `client` uses under `view`."""
        return select_samples(self._sample_ids[client], view, self._excluded(client), self.current.get(client))

    def _excluded(self, client: int) -> np.ndarray | None:
        """Return the ids of what no task of `client` may use: what was forgotten, and what is withheld."""
        past, withheld = self.past.get(client), self.withheld.get(client)
        if past is None or withheld is None:
            return withheld if past is None else past
        return np.union1d(past, withheld)

    def num_examples(self, client: int, view: DataView) -> int:
        """Return how many samples `client` has under `view`, without listing them when nothing was forgotten."""
        if not self.has_forgotten(client) and client not in self.withheld:
            return 0 if view == "forget" else len(self._sample_ids[client])
        return len(self.samples(client, view))

    def holders(self, view: DataView) -> list[int]:
        """Return the clients that have at least one sample under `view`."""
        if not self.past and not self.current and not self.withheld:
            return [] if view == "forget" else [client for client, ids in enumerate(self._sample_ids) if len(ids)]
        return [client for client in range(self.num_clients) if self.num_examples(client, view)]

    def round(self, task: Task, weights: Weights, jobs: Mapping[int, Job]) -> list[Outcome]:
        """Ask the clients in `jobs` to do `task` from `weights`; return their outcomes ordered by client id.

        Every reply is checked against the model (names, shapes, dtypes, finite); a bad one becomes a `Failure`.
        A round that the journal holds already is not executed again.
        """
        self.calls += 1
        self.spent.rounds += 1
        past = {client: ids for client in jobs if (ids := self._excluded(client)) is not None}
        current, private = _of(jobs, self.current), _of(jobs, self.private)
        order = Order(self.calls, task, weights, jobs, past, current, private)
        outcomes = self._journal.load(self.journal_key, order) if self._journal else None
        if outcomes is None:
            started = time.perf_counter()
            outcomes = self._execute(order)
            self.spent.round_seconds += time.perf_counter() - started
            self.spent.executed_client_seconds += _client_seconds(outcomes)
            if self._journal:
                self._journal.save(self.journal_key, order, outcomes)
        self.spent.client_seconds += _client_seconds(outcomes)
        self.spent.bytes += _bytes(order, outcomes)
        for outcome in outcomes:
            if isinstance(outcome, Update) and outcome.private is not None:
                self.private[outcome.client_id] = outcome.private
        for listener in self.round_listeners:
            listener(self.branch, order, outcomes)
        return outcomes

    def _execute(self, order: Order) -> list[Outcome]:
        checked: list[Outcome] = []
        for outcome in sorted(self._engine.deliver(order), key=lambda outcome: outcome.client_id):
            if isinstance(outcome, Update):
                job = order.jobs[outcome.client_id]
                size = self.num_examples(outcome.client_id, job.view) if job.samples is None else len(job.samples)
                if outcome.kind == "gradient":
                    size = min(size, int(order.task.settings["batch-size"]))
                client, kind, payload = outcome.client_id, outcome.kind, outcome.payload
                outcome = validated(Update(client, kind, payload, size, outcome.metrics, outcome.private), order)
            checked.append(outcome)
        return checked

    def aggregate(self, weights: Weights, updates: Sequence[Update], state: Any) -> tuple[Weights, Any]:
        """Return the next global model, as it was published, and the server optimiser's next state."""
        new, state = self.next_model(weights, updates, state)
        return self.publish(new), state

    def next_model(self, weights: Weights, updates: Sequence[Update], state: Any) -> tuple[Weights, Any]:
        """Return what `aggregate` does of a model that is not the global one, and that nobody hears of."""
        return self._engine.aggregate(weights, updates, state)

    def publish(self, weights: Weights) -> Weights:
        """Say that `weights` is the global model after the latest round; whoever computed it calls this.

        Returns:
            What left the server, to go on from: `weights` itself unless a defence changes models on their way out.

        Raises:
            NonFiniteModel: when a weight is NaN or infinite.
        """
        for name, array in weights.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise NonFiniteModel(f"branch {self.branch}, call {self.calls}: {name} became NaN or infinite")
        if self.release is not None:
            weights = self.release(weights)
        for listener in self.model_listeners:
            listener(self.branch, self.calls, weights)
        return weights


def select_samples(held: np.ndarray, view: DataView, past: np.ndarray | None, current: np.ndarray | None) -> np.ndarray:
    """Return the sorted sample ids of a client's `view`, given what was and what is to be forgotten."""
    empty = held[:0]
    available = held if past is None else np.setdiff1d(held, past, assume_unique=True)
    if view == "all":
        return available
    asked = empty if current is None else np.intersect1d(available, current, assume_unique=True)
    return asked if view == "forget" else np.setdiff1d(available, asked, assume_unique=True)


def _of(jobs: Mapping[int, Job], by_client: Mapping[int, T]) -> dict[int, T]:
    return {client: value for client, value in by_client.items() if client in jobs}


def _client_seconds(outcomes: Sequence[Outcome]) -> float:
    return sum(outcome.metrics.get("seconds", 0.0) for outcome in outcomes if isinstance(outcome, Update))


def _bytes(order: Order, outcomes: Sequence[Outcome]) -> int:
    """Return the size of all broadcasts and replies of a round, as if every client had its own message."""
    sent = (*order.weights.values(), *order.task.attachments.values())
    broadcast = sum(array.nbytes for array in sent)
    replies = sum(a.nbytes for o in outcomes if isinstance(o, Update) for a in o.payload.values())
    return broadcast * len(order.jobs) + replies


def validated(update: Update, order: Order) -> Outcome:
    """Return `update`, or a `Failure` that names what is wrong with it."""

    def reject(why: str) -> Failure:
        return Failure(update.client_id, why)

    if update.kind != order.task.reply:
        return reject(f"sent {update.kind}, the task asks for {order.task.reply}")
    if update.kind != "statistics":
        if update.payload.keys() != order.weights.keys():
            missing = [name for name in order.weights if name not in update.payload]
            extra = [name for name in update.payload if name not in order.weights]
            return reject(f"update lacks {missing} and has unknown {extra}")
        for name, sent in order.weights.items():
            got = update.payload[name]
            if got.shape != sent.shape or got.dtype != sent.dtype:
                return reject(f"{name} is {got.dtype}{list(got.shape)}, expected {sent.dtype}{list(sent.shape)}")
    for name, array in update.payload.items():
        # With NaN or infinity the sum of squares is not finite; only then is the full scan worth its time.
        if array.dtype.kind == "f" and not math.isfinite(np.vdot(array, array)) and not np.isfinite(array).all():
            return reject(f"{name} has NaN or infinite values")
    return update
