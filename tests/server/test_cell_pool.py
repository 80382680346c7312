"""Cells in several processes: groups in order, each once; the same models; a lost process leaves nothing running."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from fedunlearn.errors import BadInput, BranchesFailed, EngineFailure, QuorumLost
from fedunlearn.scenario import Cell, Scenario, load_cells, validate
from server.cell_pool import check_jobs, run_groups
from tests.e2e.command import hashes, run, start

SMALL = """
[data]
name = "digits"
train = 200
[model]
name = "mlp"
width = 8
[federation]
clients = 4
rounds = 2
engine = "inline"
[[requests]]
scope = "class"
target = { random = 1 }
[unlearning]
rounds = 3
methods = []
references = ["retrain", "control"]
[[observers]]
name = "user"
access = "weights-before-after"
[[attacks]]
name = "bias-drop"
observer = "user"
[output]
tensorboard = false
[matrix]
faults = [[], [{ kind = "nan", rounds = [3] }]]  # of a branch: the trunk has two
"requests.0.target.random" = [1, 2]
seed = { range = [0, 2] }
"""


def cell(name, engine="inline"):
    return Cell(name, {}, validate(Scenario, {"federation": {"engine": engine}}))


GROUPS = [[cell("a0"), cell("a1"), cell("a2")], [cell("b0")], [cell("c0"), cell("c1")]]


class Heard:
    """Remembers what it is told."""

    def __init__(self):
        self.told = []

    def cell(self, name, number, count):
        self.told.append(name)

    def begin(self, what, rounds):
        self.told.append((what, rounds))

    def row(self, row):
        self.told.append(row)


class Noting:
    """Leaves a file for each cell, with the process that ran it and when."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __call__(self, group, listener):
        for each in group:
            listener.cell(each.name, 1, 6)
            listener.begin("working", 0)
            listener.row({"round": 1})
            with open(self.folder / each.name, "x") as file:  # "x": twice would be an error
                json.dump([os.getpid(), time.monotonic()], file)


def lose_the_quorum(group, listener):
    raise QuorumLost("client 3: no")


def vanish(group, listener):
    """End like a process that the system kills."""
    os.kill(os.getpid(), signal.SIGKILL)


def test_each_group_is_run_once_in_order_by_one_process(tmp_path):
    listeners = [Heard(), Heard()]
    run_groups(GROUPS, Noting(tmp_path), listeners)
    noted = {file.name: json.loads(file.read_text()) for file in tmp_path.iterdir()}
    assert sorted(noted) == ["a0", "a1", "a2", "b0", "c0", "c1"]
    for group in GROUPS:
        processes, moments = zip(*(noted[each.name] for each in group), strict=True)
        assert len(set(processes)) == 1
        assert list(moments) == sorted(moments)
    assert os.getpid() not in {process for process, _ in noted.values()}
    told = [what for listener in listeners for what in listener.told]
    assert sorted(what for what in told if isinstance(what, str)) == sorted(noted)
    assert told.count(("working", 0)) == told.count({"round": 1}) == 6


def test_the_first_error_ends_all():
    with pytest.raises(QuorumLost, match="client 3: no"):
        run_groups(GROUPS, lose_the_quorum, [Heard()])


def test_a_lost_process_is_an_error():
    with pytest.raises(EngineFailure, match="the process that ran a0 to a2 was lost"):
        run_groups(GROUPS, vanish, [Heard()])


def test_cells_on_ray_have_one_process():
    check_jobs([cell("x", "ray")], 1)
    with pytest.raises(BadInput, match=r"--jobs 2: only cells with federation.engine .* x runs on Ray"):
        check_jobs([cell("y"), cell("x", "ray")], 2)


def outcomes(folder):
    """Return every cell's models and figures."""
    cells = sorted((folder / "cells").iterdir())
    found = [json.loads((each / "results.json").read_text()) for each in cells]
    return {
        each.name: (hashes(each), results["failures"], [(row["branch"], row["metrics"]) for row in results["attacks"]])
        for each, results in zip(cells, found, strict=True)
    }


def test_two_processes_find_the_same_and_failures_are_told_once_at_the_end(tmp_path, capsys):
    from clients.app import app
    from server.engine import run_experiment

    (tmp_path / "small.toml").write_text(SMALL)
    cells = load_cells(tmp_path / "small.toml")
    with pytest.raises(BadInput, match="--jobs 2"):
        run_experiment(load_cells(tmp_path / "small.toml", ["federation.engine=ray"]), tmp_path / "ray", app, jobs=2)
    assert not (tmp_path / "ray").exists()
    for jobs in (1, 2):
        with pytest.raises(BranchesFailed, match=r"finished: \S+-random1-seed0: control: .* \(and 3 more\)"):
            run_experiment(cells, tmp_path / str(jobs), app, jobs=jobs)
        assert (tmp_path / str(jobs) / "report.html").exists()
    assert outcomes(tmp_path / "2") == outcomes(tmp_path / "1")
    assert len(outcomes(tmp_path / "1")) == 8
    assert len(list((tmp_path / "2" / "trunks").iterdir())) == 4
    assert capsys.readouterr().err.count("·  training") == 16


@pytest.mark.slow
def test_killed_and_resumed(tmp_path):
    (tmp_path / "small.toml").write_text(SMALL)
    run("run", tmp_path / "small.toml", "--out", tmp_path / "whole", "--set", "faults=[]")
    folder = tmp_path / "run"
    arguments = ["run", tmp_path / "small.toml", "--out", folder, "--jobs", 2, "--set", "faults=[]"]
    process = start(*arguments)
    deadline = time.monotonic() + 120
    while not list(folder.glob("cells/*/results.json")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    time.sleep(0.5)
    written = {file: file.lstat().st_mtime_ns for file in folder.rglob("*")}
    time.sleep(2.0)
    assert written == {file: file.lstat().st_mtime_ns for file in folder.rglob("*")}  # nobody goes on
    assert len(list(folder.glob("cells/*/results.json"))) < 4
    run(*arguments, "--resume")
    assert outcomes(folder) == outcomes(tmp_path / "whole")
