"""Runs the cells of a scenario on the engines they name, one started engine for all cells that can share it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from flwr.clientapp import ClientApp
from flwr.serverapp import Grid

from fedunlearn.errors import BadInput, BranchesFailed
from fedunlearn.experiment import run_cell
from fedunlearn.reporting import publish, read_results
from fedunlearn.reporting.progress import Listener, Progress
from fedunlearn.results import Carrier
from fedunlearn.run import Telling
from fedunlearn.scenario import Cell, to_toml, trunk_key
from fedunlearn.stage import device_of
from server.aggregation import check_strategies
from server.cell_pool import check_jobs, run_groups
from server.grid_engine import grid_engine
from server.local_grid import in_process

AUXILIARY = "auxiliary"  # where attacks keep what they make by content, for all cells
Seat = tuple[str, int, int]  # engine, workers, SuperNodes: what cells must agree on to share a started engine


def run_experiment(
    cells: Sequence[Cell], out: Path, client_app: ClientApp, *, resume: bool = False, jobs: int = 1
) -> Path:
    """Run every cell and publish the report; return the report's path.

    Args:
        cells: the scenario's cells, checked.
        out: the run folder.
        client_app: the Flower app that does the clients' work.
        resume: whether `out` may hold an interrupted run of the same cells, to be finished.
        jobs: how many processes share the cells; more than one only where all engines are inline.

    Raises:
        BadInput: when `out` holds a run already, or another scenario's, or `jobs` does not fit the engines.
        BranchesFailed: when everything is reported, but branches could not be finished.
    """
    check_strategies(cells)
    check_jobs(cells, jobs)
    claim(out, cells, resume=resume)
    work = partial(run_seated, cells=cells, out=out, client_app=client_app)
    groups = by_trunk(cells, out)
    with Progress(lines=min(jobs, len(groups))) as progress:
        if len(progress.lines) > 1:
            run_groups(groups, work, progress.lines)
        else:
            for seat in dict.fromkeys(seat_of(cell) for cell in cells):
                work([cell for cell in cells if seat_of(cell) == seat], progress.lines[0])
    report = publish(out)
    print(reuse(cells, out))
    complain(cells, out)
    return report


def by_trunk(cells: Sequence[Cell], out: Path) -> list[list[Cell]]:
    """Return the cells in groups that share a trunk, in the order of their first ones."""
    groups: dict[Path, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(trunk_folder_of(cell, cells, out), []).append(cell)
    return list(groups.values())


def run_seated(
    mine: Sequence[Cell], listener: Listener, *, cells: Sequence[Cell], out: Path, client_app: ClientApp
) -> None:
    """Run cells that can share a started engine."""
    seat = seat_of(mine[0])
    run_on(seat, client_app, mine[0], partial(run_cells, mine, cells, out, listener, seat))


def seat_of(cell: Cell) -> Seat:
    """Return the engine that a cell needs: (name, workers, SuperNodes)."""
    federation = cell.scenario.federation
    if federation.engine == "inline":
        return ("inline", 1, 1)
    if federation.clients_per_node == "auto":
        return ("ray", federation.workers, federation.workers)
    return ("ray", federation.workers, -(-federation.round_size // federation.clients_per_node))


def run_on(seat: Seat, client_app: ClientApp, cell: Cell, body: Callable[[Grid], None]) -> None:
    """Start the engine of `seat` and run `body` on its grid."""
    name, workers, nodes = seat
    if name == "inline":
        in_process(client_app, nodes, body)
        return
    from server.ray_engine import on_ray  # Ray takes seconds to import: only when it is used

    gpus = 1.0 / workers if device_of(cell.scenario) == "cuda" else 0.0
    on_ray(client_app, workers, nodes, gpus, body)


def run_cells(
    mine: Sequence[Cell],
    cells: Sequence[Cell],
    out: Path,
    listener: Listener,
    seat: Seat,
    grid: Grid,
) -> None:
    """Run the cells `mine` on the grid of `seat`; one that has its results already is left alone."""
    carrier, telling = Carrier(*seat[:2]), Telling(listener.begin, listener.row)
    for cell in mine:
        folder, trunk = folder_of(cell, cells, out), trunk_folder_of(cell, cells, out)
        if not (folder / "results.json").exists():
            listener.cell(cell.name, cells.index(cell) + 1, len(cells))
            make_engine = partial(grid_engine, grid=grid, num_nodes=seat[2])
            run_cell(cell, folder, trunk, out / AUXILIARY, carrier, make_engine, telling)
        if not cell.scenario.output.tape:
            shutil.rmtree(folder / "tape", ignore_errors=True)
        if not cell.scenario.output.keep_journal:  # finished rounds have served their purpose
            shutil.rmtree(folder / "journal", ignore_errors=True)
            unfinished = [other for other in cells if not (folder_of(other, cells, out) / "results.json").exists()]
            if trunk not in {trunk_folder_of(other, cells, out) for other in unfinished}:
                shutil.rmtree(trunk / "journal", ignore_errors=True)


def reuse(cells: Sequence[Cell], out: Path) -> str:
    """Say how much work the cells of a finished run shared."""
    attacks = [row for cell in cells for row in read_results(folder_of(cell, cells, out))["attacks"]]
    made, reused = (sum(row["auxiliary"][what] for row in attacks) for what in ("made", "reused"))
    trunks = len({trunk_folder_of(cell, cells, out) for cell in cells})
    shared = f"trunks: {trunks:,} trained, {len(cells) - trunks:,} reused"
    return f"auxiliary models: {made:,} made, {reused:,} reused; {shared}" if made or reused else shared


def complain(cells: Sequence[Cell], out: Path) -> None:
    """Raise what the branches of a finished run could not be finished for.

    Raises:
        BranchesFailed: when there are any, naming the first.
    """
    failed = [
        f"{cell.name}: {failure['branch']}: {failure['reason']}"
        for cell in cells
        for failure in read_results(folder_of(cell, cells, out))["failures"]
    ]
    if failed:
        others = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        raise BranchesFailed(f"branches that could not be finished: {failed[0]}{others}")


def folder_of(cell: Cell, cells: Sequence[Cell], out: Path) -> Path:
    """Return the run folder of a cell: `out` itself when it is the only one."""
    return out if len(cells) == 1 else out / "cells" / f"{cells.index(cell):03d}-{cell.name}"


def trunk_folder_of(cell: Cell, cells: Sequence[Cell], out: Path) -> Path:
    """Return where a cell's trunk is kept; cells that train and record the same trunk share it."""
    if len(cells) == 1:
        return out / "trunk"
    rounds = [list(observer.rounds) for observer in cell.scenario.observers]
    scenario = cell.scenario
    kept = [rounds, list(scenario.checkpoints), scenario.federation.evaluate_every]
    recorded = json.dumps([trunk_key(scenario), *kept])
    return out / "trunks" / hashlib.sha256(recorded.encode()).hexdigest()[:12]


def claim(out: Path, cells: Sequence[Cell], *, resume: bool) -> None:
    """Make `out` this run's folder, or make sure that it is.

    A folder whose run ended before its first round was finished (because of the data, say) is taken over.

    Raises:
        BadInput: when it holds something else.
    """
    text = "\n".join(f"# {cell.name}\n{to_toml(cell.scenario)}" for cell in cells)
    mark = out / "cells.toml"
    if out.exists() and not out.is_dir():
        raise BadInput(f"--out {out}: is a file; name a folder")
    if mark.exists() and not any(out.rglob("*.safetensors")):
        shutil.rmtree(out)
    elif mark.exists():
        if not resume:
            raise BadInput(f"--out {out}: holds a run already; give another --out, or --resume to finish it")
        if mark.read_text() != text:
            raise BadInput(
                f"--out {out}: holds a run of another scenario; --resume needs the same scenario and settings"
            )
    elif out.exists() and any(out.iterdir()):
        raise BadInput(f"--out {out}: is not empty and not a run of fedunlearn; give another --out")
    out.mkdir(parents=True, exist_ok=True)
    mark.write_text(text)
