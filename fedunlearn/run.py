"""The moving parts of one cell: the federation, those who listen to it, and what has come out so far."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedunlearn.branching import Branch, Requests, Served, make_unlearner, plan, serve
from fedunlearn.comparison import choose_samples, compare_branches
from fedunlearn.errors import HistoryLost, NonFiniteModel, QuorumLost
from fedunlearn.federation import Engine, Federation, Order, Outcome, Spent, Update, Weights
from fedunlearn.journal import Journal
from fedunlearn.judging import AnswerKey
from fedunlearn.judging.forgetting.cost import DURING_TRAINING, NO_CLIENT_WORK, server_bytes, speed_up
from fedunlearn.judging.metric import finite_or_none, mean_or_nan
from fedunlearn.monitor import Monitor, Row
from fedunlearn.names import PROBE, RETRAINED
from fedunlearn.observer.tape import Tape, keeps_for
from fedunlearn.probes import Probe, prepare_probes
from fedunlearn.reporting.tensorboard import Board
from fedunlearn.requests import Ledger
from fedunlearn.scenario import TRUNK, ObserverSettings
from fedunlearn.stage import Stage
from fedunlearn.trunk import Trunk, save_model, train_or_load
from fedunlearn.unlearning import UNLEARNERS, History

CONTROL_METHOD = "finetune"  # what controls are said to do: like it, they train on


@dataclass(frozen=True)
class Telling:
    """Who is told how far a run is.

    Attributes:
        begin: called with what comes next, and its number of rounds (0 where it has none).
        row: called with each finished round.
    """

    begin: Callable[[str, int], None]
    row: Callable[[Row], None]


class Run:
    """One cell on its way.

    Attributes:
        answers: where the truth is written down.
        tape: what the observers could see.
        branches: one summary per finished branch, the trunk's first.
        rows: one per round.
        spent: what each branch cost.
        failures: the branches that could not go on, and why.
        recording_seconds: what the tape and TensorBoard took while rounds went on.
    """

    def __init__(self, stage: Stage, folder: Path, engine: Engine, board: Board | None, tell: Telling) -> None:
        self._stage, self._folder, self._board, self._tell = stage, folder, board, tell
        self.answers = AnswerKey(folder / "answers")
        request_rounds = [stage.scenario.trunk_rounds] if stage.scenario.requests else []
        own_trunks = [branch.id for branch in plan(stage) if UNLEARNERS[branch.name].own_trunk]
        self._keeps = keeps_for(stage.scenario.observers, request_rounds, own_trunks)
        auxiliary = any("auxiliary-replies" in observer.flags for observer in stage.scenario.observers)
        self.tape = Tape(folder / "tape", self._keeps, auxiliary=auxiliary)
        self._monitor = Monitor(stage, self._on_row)
        self._federation = Federation(engine, stage.held, Journal(folder / "journal"), TRUNK)
        self._federation.round_listeners += [self._monitor.on_round, self._on_round]
        self._federation.model_listeners += [self._monitor.on_model, self._on_model]
        self._forgotten = np.empty(0, np.int64)
        self._forgotten_classes: tuple[int, ...] = ()
        self._rounds: Counter[str] = Counter()
        self._ascents: dict[str, Counter[str]] = defaultdict(Counter)  # answers that tell of a stop rule, by branch
        self.recording_seconds = 0.0
        self.branches: list[dict[str, Any]] = []
        self.rows: list[Row] = []
        self.spent: list[Spent] = []
        self.failures: list[dict[str, str]] = []

    @property
    def branch_ids(self) -> list[str]:
        """The finished branches, without the trunk."""
        return [branch["id"] for branch in self.branches[1:]]

    @contextmanager
    def _recording(self) -> Iterator[None]:
        """Count the seconds that the tape and TensorBoard take."""
        began = time.perf_counter()
        yield
        self.recording_seconds += time.perf_counter() - began

    def _on_row(self, row: Row) -> None:
        self._tell.row(row)
        if self._board:
            scalars = ("accuracy", "loss", "forget_accuracy", "retain_accuracy", "seconds")
            failures = len(row["failures"])
            with self._recording():
                self._board.round(row["branch"], row["round"], failures=failures, **{k: row[k] for k in scalars})

    def _on_model(self, branch: str, call: int, weights: Weights) -> None:
        with self._recording():
            self.tape.on_model(branch, call, weights)

    def _on_round(self, branch: str, order: Order, outcomes: Sequence[Outcome]) -> None:
        with self._recording():
            self._record(branch, order, outcomes)

    def _record(self, branch: str, order: Order, outcomes: Sequence[Outcome]) -> None:
        self.tape.on_round(branch, order, outcomes)
        self._rounds[branch] += 1
        for outcome in outcomes:
            if isinstance(outcome, Update) and "stopped" in outcome.metrics:
                self._ascents[branch] += Counter(of=1, answers=int(outcome.metrics["stopped"]))
        if branch.startswith(PROBE) or order.task.reply == "statistics":
            return
        if self._board and self._keeps(branch, self._rounds[branch]):
            updates = [outcome for outcome in outcomes if isinstance(outcome, Update)]
            groups = {u.client_id: "forget" if u.client_id in order.current else "retain" for u in updates}
            self._board.updates(branch, order.call, updates, order.weights, groups)

    def train_trunk(self, trunk_folder: Path) -> tuple[Trunk, History]:
        """Train up to the first request; return the model and what the server has stored by then."""
        stage = self._stage
        self._tell.begin("training", stage.scenario.trunk_rounds)
        journal = Journal(self._folder / "journal")
        trunk = train_or_load(stage, self._federation, trunk_folder, self._monitor)
        if not stage.scenario.federation.keep_updates:  # until here, they were what an interrupted run goes on from
            journal.empty(self._federation.journal_key)
        self.rows += self._monitor.take_rows()
        everything = self.tape.view(ObserverSettings(name="answers", access="updates", rounds=("all",)), TRUNK)
        for round in filter(lambda number: self._keeps(TRUNK, number), range(1, everything.num_rounds + 1)):
            for client in everything.clients(round):
                ids = stage.samples_behind(round, client)
                self.answers.write_update(TRUNK, round, client, ids, stage.dataset.labels(ids).tolist())
        return trunk, History(
            archive=journal,
            rounds=trunk.rounds,
            initial=stage.fresh(0),
            fresh=stage.fresh,
            training=stage.training,
            learning_rate=stage.scenario.federation.learning_rate,
            parameters=stage.parameters,
            model=stage.model,
            proxy=lambda: stage.dataset.images(stage.splits.public),
            device=stage.site.device,
            seed=stage.learning_seed,
        )

    def probe(self, trunk: Trunk) -> list[Probe]:
        """Watch what clients would send in one more round from the trunk's checkpoints; return the probes."""
        probes = prepare_probes(self._stage)
        for probe in probes:
            self._tell.begin(probe.branch, 0)
            federation = self._federation.fork(probe.branch)
            federation.round_listeners, federation.model_listeners = [self._on_round], []  # no model comes of it
            outcomes = probe.run(federation, trunk.model_after(probe.settings.after))
            for outcome in outcomes:
                if isinstance(outcome, Update):
                    ids = probe.samples[outcome.client_id]
                    labels = self._stage.dataset.labels(ids).tolist()
                    self.answers.write_update(probe.branch, 1, outcome.client_id, ids, labels)
                else:
                    probe.skipped[outcome.client_id] = outcome.reason
            self.spent.append(federation.spent)
        return probes

    def enter_requests(self, requests: Requests, trunk: Weights) -> None:
        """Write down what the accepted requests are about, and how the trunk's model does on it."""
        classes: set[int] = set()
        for request, _ in requests:
            self.answers.write_request(request.id, request.whole_classes, request.samples)
            self._forgotten = np.union1d(self._forgotten, np.concatenate(list(request.samples.values())))
            classes.update(request.whole_classes)
        self._forgotten_classes = tuple(sorted(classes))
        self._monitor.watch_classes(self._forgotten_classes)
        self._finish(Branch(TRUNK, TRUNK), self._federation, (), Served(trunk, trunk, trunk))

    def serve(self, branch: Branch, trunk: Weights, history: History, requests: Requests, ledger: Ledger) -> None:
        """Run one branch from the trunk's model to the end, and judge what it became."""
        federation = self._federation.fork(branch.id)
        self._tell.begin(branch.id, 0)
        around = any("around-request" in observer.rounds for observer in self._stage.scenario.observers)
        note = self.tape.request if around else lambda branch: None
        try:
            served = serve(self._stage, branch, trunk, federation, history, requests, ledger, note)
        except (QuorumLost, NonFiniteModel, HistoryLost) as error:  # the other branches can still tell something
            self.failures.append({"branch": branch.id, "reason": str(error)})
            self.rows += self._monitor.take_rows()
            return
        own = served.prepared.rounds  # of the method's own trunk, which observers saw instead of the common one
        trunk_rounds = 0 if own else self._stage.scenario.trunk_rounds
        self.spent.append(served.prepared)
        self.tape.mark(
            branch.id,
            request_round=own or trunk_rounds,
            trunk_rounds=trunk_rounds,
            before=served.before,
            after=served.after,
            final=served.final,
            method=branch.name if UNLEARNERS[branch.name].honours == "request" else CONTROL_METHOD,
            clients=len(self._stage.held),
            requests=[request for request, _ in requests],
            pruned=federation.pruned,
        )
        self.rows += self._monitor.take_rows()
        ids = tuple(request.id for request, _ in requests)
        self._finish(branch, federation, ids, served)

    def _finish(self, branch: Branch, federation: Federation, request_ids: tuple[str, ...], served: Served) -> None:
        """Keep a branch's final model, say how good it is and what it cost."""
        metrics, details = self._monitor.judge_branch(served.final, self._forgotten)
        if branch.id in self._ascents:
            ascents = self._ascents[branch.id]
            details["stopped"] = {"answers": ascents["answers"], "of": ascents["of"]}
        summary = {
            "id": branch.id,
            "name": branch.name,
            "replica": branch.replica,
            "request_ids": list(request_ids),
            "extra_rounds": served.spent.rounds,
            "sha256": save_model(self._folder / "checkpoints", branch.id, served.final),
            "metrics": metrics,
            "seconds": federation.spent.round_seconds,
            "client_seconds": federation.spent.client_seconds,
            "bytes": federation.spent.bytes,
            "cost": _counted(served.spent)
            | {
                "server_seconds": served.server_seconds,
                "server_bytes": self._stored(branch, served.final),
                "prepared": _counted(served.prepared),
            },
            "details": details,
        }
        self.branches.append(summary)
        self.spent.append(federation.spent)

    def _stored(self, branch: Branch, model: Weights) -> int:
        """Return the bytes of training that the server must have kept for a branch's method."""
        if branch.name == TRUNK:
            return 0
        unlearner = make_unlearner(self._stage.scenario, branch)
        updates = [row["clients"] for row in self.rows if row["branch"] == TRUNK]
        kept = [updates[number] for number in unlearner.stored_rounds(len(updates))]
        size = sum(array.nbytes for array in model.values())
        return server_bytes(unlearner.stores, size, kept, unlearner.own_models)

    def compare(self) -> None:
        """Compare the final model of every branch with the retrained ones, and its cost with theirs."""
        samples = choose_samples(self._stage, self._forgotten, self._forgotten_classes)
        metrics = compare_branches(self._stage, self._monitor.evaluate, self._folder, self.branches, samples)
        retraining = mean_or_nan([b["cost"]["client_seconds"] for b in self.branches if b["name"] in RETRAINED])
        for branch in self.branches:
            branch["metrics"] |= metrics[branch["id"]]
            branch["cost"] |= _against(retraining, branch["name"], branch["cost"]["client_seconds"])
            if self._board:
                self._board.branch(branch, self._stage.dataset.class_names)


def _counted(spent: Spent) -> dict[str, float]:
    return {"rounds": spent.rounds, "bytes": spent.bytes, "client_seconds": spent.client_seconds}


def _against(retraining: float, method: str, seconds: float) -> dict[str, Any]:
    """Return how much less client work a method was than retraining, or why that cannot be said."""
    if method != TRUNK and UNLEARNERS[method].foresees:
        return {"speed_up": None, "note": DURING_TRAINING}
    factor = finite_or_none(speed_up(retraining, seconds))
    return {"speed_up": factor, "note": "" if seconds else NO_CLIENT_WORK}
