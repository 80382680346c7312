"""An experiment, told in order: trunk, branches, comparison, attacks, verdict."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from fedunlearn.branching import arrive, left_out, plan
from fedunlearn.federation import Engine
from fedunlearn.learning import pin_arithmetic
from fedunlearn.manifest import manifest, write_manifest
from fedunlearn.observer.cache import ContentCache
from fedunlearn.reporting import write_results
from fedunlearn.reporting.tensorboard import Board
from fedunlearn.requests import Ledger
from fedunlearn.results import Carrier, assemble, time_spent
from fedunlearn.run import Run, Telling
from fedunlearn.scenario import Cell, to_toml
from fedunlearn.stage import Stage, set_stage
from fedunlearn.trial import Trial

MakeEngine = Callable[[Stage], Engine]


def run_cell(
    cell: Cell,
    folder: Path,
    trunk_folder: Path,
    auxiliary: Path,
    carrier: Carrier,
    make_engine: MakeEngine,
    tell: Telling,
) -> dict[str, Any]:
    """Run one scenario from data to results.json; return the results.

    Executing it again over the same folder resumes: rounds that were finished are read, not repeated.

    Args:
        cell: the scenario and its place in the matrix.
        folder: the cell's run folder.
        trunk_folder: where cells with the same trunk keep its checkpoint, journal and tape.
        auxiliary: where the attacks of all cells keep what they make by content; several processes may share it.
        carrier: the engine's name and number of workers.
        make_engine: gives the engine that carries this run's rounds.
        tell: hears of progress.

    Raises:
        FedUnlearnError: when the data or the trunk fail; a branch that fails is told in the results.
    """
    started = time.perf_counter()
    pin_arithmetic()  # the observer computes here, and must find the same on every engine
    scenario = cell.scenario
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("journal/trunk.0", "tape/trunk"):
        _share(trunk_folder / part, folder / part)
    tell.begin("preparing the data", 0)
    stage = set_stage(scenario, folder)
    write_manifest(folder, stage, carrier)
    (folder / "scenario.toml").write_text(to_toml(stage.resolved))
    with ExitStack() as stack:
        ledger = stack.enter_context(closing(Ledger(folder / "ledger.sqlite")))
        board = stack.enter_context(Board(folder / "tensorboard")) if scenario.output.tensorboard else None
        run = Run(stage, folder, make_engine(stage), board, tell)
        trunk, history = run.train_trunk(trunk_folder)
        probes = run.probe(trunk)
        branches = plan(stage)
        requests = arrive(stage, branches, ledger)
        run.enter_requests(requests, trunk.weights)
        missing = left_out(stage, branches, requests)
        for branch in branches if requests else []:
            if branch.id not in missing:
                run.serve(branch, trunk.weights, history, requests, ledger)
        tell.begin("comparing", 0)
        run.compare()
        tell.begin("attacking", 0)
        cache = ContentCache(auxiliary)
        trial = Trial(stage, probes, run.tape, run.answers, folder, board, lambda text: tell.begin(text, 0), cache)
        attacks = trial.attack_all(run.branch_ids, requests)
        timing = time_spent(run.spent, carrier, run.recording_seconds, time.perf_counter() - started)
        results = assemble(
            cell, stage, carrier, run.branches, run.rows, ledger.rows(), probes, attacks, run.failures, missing, timing
        )
        if board:
            _show(board, stage, carrier, results)
    write_results(folder, results)
    return results


def _show(board: Board, stage: Stage, carrier: Carrier, results: dict[str, Any]) -> None:
    """Put on TensorBoard what is known only when all is done."""
    board.scenario(to_toml(stage.resolved), manifest(stage, carrier))
    board.classes(results)
    board.models(results)
    board.hparams(results)


def _share(kept: Path, seen: Path) -> None:
    """Make `seen` a link to the folder `kept`, unless they are one."""
    kept.mkdir(parents=True, exist_ok=True)
    if not seen.exists():
        seen.parent.mkdir(parents=True, exist_ok=True)
        seen.symlink_to(os.path.relpath(kept, seen.parent), target_is_directory=True)  # so that runs can be moved
