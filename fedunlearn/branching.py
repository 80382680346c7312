"""One branch of a run: serve every request in turn, train on in between, keep the ledger."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fedunlearn.errors import FedUnlearnError
from fedunlearn.federation import Federation, Spent, Weights, weights_sha256
from fedunlearn.guarding import make_guard
from fedunlearn.requests import Ledger, Population, Refused, UnlearningRequest, absence, placebo, resolve
from fedunlearn.scenario import RequestSettings, Scenario
from fedunlearn.stage import Stage
from fedunlearn.unlearning import UNLEARNERS, History, OwnTrunkUnlearner, Unlearner
from fedunlearn.unlearning.retrain import RetrainOtherInit

Requests = Sequence[tuple[UnlearningRequest, UnlearningRequest]]  # each with its placebo


@dataclass(frozen=True)
class Branch:
    """What a branch is called and how it forgets.

    Attributes:
        id: unique in the run.
        name: the unlearner's name in the registry.
        replica: which initialisation a retraining from elsewhere starts from.
    """

    id: str
    name: str
    replica: int = 0


@dataclass(frozen=True)
class Served:
    """A finished branch: the models when the first request came, after the last was served, and at the end.

    `spent` is what serving the requests cost, without the ordinary rounds between and after them, `prepared` what
    training the method's own trunk cost; 0 rounds for a method without one. `server_seconds` is the server's own time
    for the requests: aggregation, the method's work on models, and what it reads and keeps on disk; neither the wall
    time of rounds nor what those take who watch the run.
    """

    before: Weights
    after: Weights
    final: Weights
    spent: Spent = field(default_factory=Spent)
    prepared: Spent = field(default_factory=Spent)
    server_seconds: float = 0.0


class Watched:
    """Counts the seconds that a federation's listeners take."""

    def __init__(self, federation: Federation) -> None:
        self.seconds = 0.0
        federation.round_listeners = [self._timed(listener) for listener in federation.round_listeners]
        federation.model_listeners = [self._timed(listener) for listener in federation.model_listeners]

    def _timed(self, listener: Callable[..., None]) -> Callable[..., None]:
        def timed(*heard: Any) -> None:
            began = time.perf_counter()
            listener(*heard)
            self.seconds += time.perf_counter() - began

        return timed


def plan(stage: Stage) -> list[Branch]:
    """Return the branches of the scenario: its methods, then the references."""
    branches = []
    for name in (*stage.scenario.unlearning.methods, *stage.scenario.unlearning.references):
        copies = stage.scenario.unlearning.retrain_replicas if name == "retrain-other-init" else 1
        branches += [Branch(name if n == 1 else f"{name}-{n}", name, n) for n in range(1, copies + 1)]
    return branches


def arrive(
    stage: Stage, branches: Sequence[Branch], ledger: Ledger
) -> list[tuple[UnlearningRequest, UnlearningRequest]]:
    """Accept or refuse every request of the scenario, in order of arrival; `branches` will serve the accepted ones.

    Returns:
        (request, placebo of the same size) for each accepted one.
    """
    held, held_by_placebo = list(stage.held), list(stage.held)
    labels, classes = stage.dataset.all_labels, stage.dataset.num_classes
    arrivals: list[tuple[RequestSettings, tuple[UnlearningRequest, UnlearningRequest] | Refused]] = []
    numbered: list[tuple[int, RequestSettings]] = sorted(
        enumerate(stage.scenario.requests), key=lambda entry: (entry[1].round, entry[0])
    )
    for number, asked in numbered:
        population = Population(held, labels, classes, stage.seed)
        try:
            request = resolve(asked, number, population)
        except Refused as refusal:
            arrivals.append((asked, refusal))
            continue
        fake = placebo(request, number, Population(held_by_placebo, labels, classes, stage.seed))
        arrivals.append((asked, (request, fake)))
        _remove(request, held)
        _remove(fake, held_by_placebo)
    accepted = [arrived for _, arrived in arrivals if not isinstance(arrived, Refused)]
    missing = left_out(stage, branches, accepted)
    for asked, arrived in arrivals:  # in order: it is the ledger's
        if isinstance(arrived, Refused):
            ledger.refuse(asked.id, asked.round, asked.scope, str(arrived))
        else:
            ledger.accept(arrived[0], [branch.id for branch in branches if branch.id not in missing])
    return accepted


def left_out(stage: Stage, branches: Sequence[Branch], requests: Requests) -> dict[str, str]:
    """Return the branches that cannot exist for the accepted requests, and why; that is no error."""
    try:
        absences(stage, requests)
    except Refused as refusal:
        return {branch.id: str(refusal) for branch in branches if UNLEARNERS[branch.name].honours == "absence"}
    return {}


def absences(stage: Stage, requests: Requests) -> list[UnlearningRequest]:
    """Return for each request whose data are left aside where no round is to hold its classes.

    Raises:
        Refused: when nobody would be left, or no whole class is named.
    """
    held, labels, classes = list(stage.held), stage.dataset.all_labels, stage.dataset.num_classes
    found = []
    for request, _ in requests:
        found.append(absence(request, Population(held, labels, classes, stage.seed)))
        _remove(found[-1], held)
    return found


def to_serve(stage: Stage, unlearner: Unlearner, requests: Requests) -> list[UnlearningRequest]:
    """Return what an unlearner serves in place of each request."""
    if unlearner.honours == "absence":
        return absences(stage, requests)
    return [fake if unlearner.honours == "placebo" else request for request, fake in requests]


def _remove(request: UnlearningRequest, held: list[np.ndarray]) -> None:
    for client, ids in request.samples.items():
        held[client] = np.setdiff1d(held[client], ids, assume_unique=True)


def serve(
    stage: Stage,
    branch: Branch,
    weights: Weights,
    federation: Federation,
    history: History,
    requests: Requests,
    ledger: Ledger,
    note: Callable[[str], None],
) -> Served:
    """Run a branch from the trunk's model to the scenario's last round.

    Each request is open on the federation while the unlearner works; what it forgot stays excluded afterwards.
    The rounds between and after the requests are ordinary ones. `note` hears the branch's id whenever a request
    begins to be served.

    Raises:
        QuorumLost, NonFiniteModel, HistoryLost: when the branch cannot go on; the ledger says so.
    """
    unlearner = make_unlearner(stage.scenario, branch)
    trained, spent, waiting = stage.scenario.trunk_rounds, Spent(), [request.id for request, _ in requests]
    prepared, watched, server_seconds = Spent(), Watched(federation), 0.0
    guard = make_guard(stage, history)
    try:
        if isinstance(unlearner, OwnTrunkUnlearner):
            federation.restart()
            weights, history = unlearner.prepare(requests[0][0], federation, history)
            # Training is no cost of unlearning, here as elsewhere.
            prepared, federation.spent = federation.spent, Spent()
        first = after = weights
        for (request, _), served in zip(requests, to_serve(stage, unlearner, requests), strict=True):
            weights, history = train_on(weights, request.round - trained, federation, history)
            trained = max(trained, request.round)
            before = weights_sha256(weights)
            ledger.serve(request.id, branch.id, "running", before=before)
            federation.open_request({} if unlearner.honours == "nothing" else served.samples)
            guard.request(federation, () if unlearner.honours == "nothing" else served.whole_classes)
            spent_before = replace(federation.spent)
            note(branch.id)
            began, watched.seconds = time.perf_counter(), 0.0
            weights = unlearner(weights, served, federation, history)
            passed = time.perf_counter() - began
            federation.close_request()
            cost = federation.spent - spent_before
            spent += cost
            server_seconds += max(passed - cost.round_seconds - watched.seconds, 0.0)
            ledger.serve(request.id, branch.id, "done", before=before, after=weights_sha256(weights))
            waiting.remove(request.id)
            after = weights
        weights, _ = train_on(weights, stage.scenario.federation.rounds - trained, federation, history)
    except FedUnlearnError as error:
        for request_id in waiting:
            ledger.serve(request_id, branch.id, "failed", reason=str(error))
        raise
    return Served(first, after, weights, spent, prepared, server_seconds)


def make_unlearner(scenario: Scenario, branch: Branch) -> Unlearner:
    """Return the branch's unlearner with the scenario's settings for it."""
    method, settings = UNLEARNERS[branch.name], scenario.unlearning
    options = method.Settings.model_validate(settings.options.get(branch.name, {}), by_alias=True, by_name=False)
    unlearner = method(options, settings.rounds)
    if isinstance(unlearner, RetrainOtherInit):
        unlearner.replica = branch.replica
    return unlearner


def train_on(weights: Weights, rounds: int, federation: Federation, history: History) -> tuple[Weights, History]:
    """Return the model after ordinary rounds, and the history with them."""
    first = federation.calls + 1
    weights = history.training.run(federation, weights, max(rounds, 0))
    done = tuple((federation.journal_key, call) for call in range(first, federation.calls + 1))
    return weights, replace(history, rounds=history.rounds + done)
