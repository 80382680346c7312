"""An experiment, told in order: trunk, branches, attacks, verdict."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedunlearn.branching import Branch, arrive, plan, serve
from fedunlearn.federation import Engine, Federation, Order, Outcome, Update, Weights
from fedunlearn.journal import Journal
from fedunlearn.judging import AnswerKey
from fedunlearn.manifest import manifest, write_manifest
from fedunlearn.monitor import Monitor, Row
from fedunlearn.observer.tape import Tape, keeps_for
from fedunlearn.reporting import write_results
from fedunlearn.reporting.tensorboard import Board
from fedunlearn.requests import Ledger, UnlearningRequest
from fedunlearn.results import assemble, time_spent
from fedunlearn.scenario import TRUNK, Cell, ObserverSettings, to_toml
from fedunlearn.stage import Stage, set_stage
from fedunlearn.trial import Trial
from fedunlearn.trunk import save_model, train_or_load
from fedunlearn.unlearning import History

MakeEngine = Callable[[Stage], Engine]
Requests = Sequence[tuple[UnlearningRequest, UnlearningRequest]]  # each with its placebo


@dataclass(frozen=True)
class Telling:
    """Who is told how far a run is.

    Attributes:
        begin: called with what comes next, and its number of rounds (0 where it has none).
        row: called with each finished round.
    """

    begin: Callable[[str, int], None]
    row: Callable[[Row], None]


def run_cell(cell: Cell, folder: Path, trunk_folder: Path, make_engine: MakeEngine, tell: Telling) -> dict[str, Any]:
    """Run one scenario from data to results.json; return the results.

    Executing it again over the same folder resumes: rounds that were finished are read, not repeated.

    Args:
        cell: the scenario and its place in the matrix.
        folder: the cell's run folder.
        trunk_folder: where cells with the same trunk keep its checkpoint, journal and tape.
        make_engine: gives the engine that carries this run's rounds.
        tell: hears of progress.
    """
    started = time.perf_counter()
    scenario = cell.scenario
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("journal/trunk.0", "tape/trunk"):
        _share(trunk_folder / part, folder / part)
    (folder / "scenario.toml").write_text(to_toml(scenario))
    tell.begin("preparing the data", 0)
    stage = set_stage(scenario, folder)
    write_manifest(folder, stage)
    with ExitStack() as stack:
        ledger = stack.enter_context(closing(Ledger(folder / "ledger.sqlite")))
        board = stack.enter_context(Board(folder / "tensorboard")) if scenario.output.tensorboard else None
        run = Run(stage, folder, make_engine(stage), board, tell)
        weights, history = run.train_trunk(trunk_folder)
        requests = arrive(stage, ledger)
        run.enter_requests(requests, weights)
        for branch in plan(stage) if requests else []:
            run.serve(branch, weights, history, requests, ledger)
        tell.begin("attacking", 0)
        attacks = Trial(stage, run.tape, run.answers, folder, board).attack_all(run.branch_ids, requests)
        timing = time_spent(run.worked, scenario.federation, run.recording_seconds, time.perf_counter() - started)
        results = assemble(cell, stage, run.branches, run.rows, ledger.rows(), attacks, timing)
        if board:
            board.scenario(to_toml(scenario), manifest(stage))
            board.hparams(results)
    write_results(folder, results)
    return results


class Run:
    """The moving parts of one cell: the federation, those who listen to it, and what has come out so far."""

    def __init__(self, stage: Stage, folder: Path, engine: Engine, board: Board | None, tell: Telling) -> None:
        self._stage, self._folder, self._board, self._tell = stage, folder, board, tell
        self.answers = AnswerKey(folder / "answers")
        self._keeps = keeps_for(stage.scenario.observers, sorted({r.round for r in stage.scenario.requests}))
        self.tape = Tape(folder / "tape", self._keeps)
        self._monitor = Monitor(stage, self._on_row)
        self._federation = Federation(engine, stage.held, Journal(folder / "journal"), TRUNK)
        self._federation.round_listeners += [self._monitor.on_round, self._on_round]
        self._federation.model_listeners += [self._monitor.on_model, self._on_model]
        self._forgotten = np.empty(0, np.int64)
        self._rounds: Counter[str] = Counter()
        self.recording_seconds = 0.0
        self.branches: list[dict[str, Any]] = []
        self.rows: list[Row] = []
        self.worked: list[Federation] = []

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
        if self._board and order.task.reply != "statistics" and self._keeps(branch, self._rounds[branch]):
            updates = [outcome for outcome in outcomes if isinstance(outcome, Update)]
            groups = {u.client_id: "forget" if u.client_id in order.current else "retain" for u in updates}
            self._board.updates(branch, order.call, updates, order.weights, groups)

    def train_trunk(self, trunk_folder: Path) -> tuple[Weights, History]:
        """Train up to the first request; return the model and what the server has stored by then."""
        stage = self._stage
        self._tell.begin("training", stage.scenario.trunk_rounds)
        trunk = train_or_load(stage, self._federation, trunk_folder, self._monitor.rows)
        self._monitor.rows.clear()
        self.rows += trunk.rows
        everything = self.tape.view(ObserverSettings(name="answers", access="updates", rounds=("all",)), TRUNK)
        for round in filter(lambda number: self._keeps(TRUNK, number), range(1, everything.num_rounds + 1)):
            for client in everything.clients(round):
                ids = stage.samples_behind(round, client)
                self.answers.write_update(TRUNK, round, client, ids, stage.dataset.labels(ids).tolist())
        return trunk.weights, History(
            archive=Journal(self._folder / "journal"),
            rounds=trunk.rounds,
            initial=stage.fresh(0),
            fresh=stage.fresh,
            training=stage.training,
            learning_rate=stage.scenario.federation.learning_rate,
            parameters=stage.parameters,
        )

    def enter_requests(self, requests: Requests, trunk: Weights) -> None:
        """Write down what the accepted requests are about, and how the trunk's model does on it."""
        classes: set[int] = set()
        for request, _ in requests:
            self.answers.write_request(request.id, request.whole_classes, request.samples)
            self._forgotten = np.union1d(self._forgotten, np.concatenate(list(request.samples.values())))
            classes.update(request.whole_classes)
        self._monitor.watch_classes(tuple(sorted(classes)))
        self._finish(Branch(TRUNK, TRUNK), self._federation, trunk, (), 0)

    def serve(self, branch: Branch, trunk: Weights, history: History, requests: Requests, ledger: Ledger) -> None:
        """Run one branch from the trunk's model to the end, and judge what it became."""
        federation = self._federation.fork(branch.id)
        self._tell.begin(branch.id, 0)
        served = serve(self._stage, branch, trunk, federation, history, requests, ledger)
        self.tape.mark(
            branch.id,
            request_round=self._stage.scenario.trunk_rounds,
            before=trunk,
            after=served.after,
            final=served.final,
            method=branch.name,
        )
        self.rows += self._monitor.rows
        self._monitor.rows.clear()
        ids = tuple(request.id for request, _ in requests)
        self._finish(branch, federation, served.final, ids, served.extra_rounds)

    def _finish(
        self, branch: Branch, federation: Federation, final: Weights, request_ids: tuple[str, ...], extra_rounds: int
    ) -> None:
        """Keep a branch's final model and say how good it is."""
        metrics, details = self._monitor.judge_branch(final, self._forgotten)
        summary = {
            "id": branch.id,
            "name": branch.name,
            "replica": branch.replica,
            "request_ids": list(request_ids),
            "extra_rounds": extra_rounds,
            "sha256": save_model(self._folder / "checkpoints", branch.id, final),
            "metrics": metrics,
            "seconds": federation.round_seconds,
            "client_seconds": federation.client_seconds,
            "bytes": federation.bytes,
            "details": details,
        }
        self.branches.append(summary)
        self.worked.append(federation)
        if self._board:
            self._board.branch(summary, self._stage.dataset.class_names)


def _share(kept: Path, seen: Path) -> None:
    """Make `seen` a link to the folder `kept`, unless they are one."""
    kept.mkdir(parents=True, exist_ok=True)
    if not seen.exists():
        seen.parent.mkdir(parents=True, exist_ok=True)
        seen.symlink_to(os.path.relpath(kept, seen.parent), target_is_directory=True)  # so that runs can be moved
