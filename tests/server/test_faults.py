"""What goes wrong with one client stays with that client: the same on every engine, and later rounds are whole."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from clients.app import app
from fedunlearn.errors import EngineFailure, QuorumLost
from server.local_grid import in_process
from server.ray_engine import on_ray
from tests.server.toy import drive, fault, scenario, set_stage

KINDS = {
    "raise": "injected fault",
    "nan": "NaN or infinite",
    "inf": "NaN or infinite",
    "wrong-shape": "expected float32",
    "missing-key": "update lacks",
    "return-none": "returned nothing",
    "hang": "took longer than",
}


def stages(folder):
    """Return a stage per fault, and one without."""
    limit = {"client-timeout": 1.5, "executor": "loop"}
    made = {kind: set_stage(scenario(federation=limit, faults=[fault(kind)]), folder / kind) for kind in KINDS}
    made["crash"] = set_stage(scenario(federation=limit, faults=[fault("crash")]), folder / "crash")
    made["none"] = set_stage(scenario(federation=limit), folder / "none")
    return made


@pytest.fixture(scope="module")
def on_both(tmp_path_factory):
    """Every fault on both engines; Ray is started once."""
    made = stages(tmp_path_factory.mktemp("faults"))
    inline = {kind: in_process(app, 1, lambda grid, s=stage: drive(s, grid, 1)) for kind, stage in made.items()}
    ray = on_ray(app, 2, 2, 0.0, lambda grid: {kind: drive(stage, grid, 2) for kind, stage in made.items()})
    return {"inline": inline, "ray": ray}


@pytest.mark.ray
@pytest.mark.parametrize("engine", ["inline", "ray"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_costs_that_one_update(on_both, engine, kind):
    sha, rounds = on_both[engine][kind]
    assert KINDS[kind] in rounds[1][2]
    assert [set(r.values()) for r in (rounds[0], rounds[2])] == [{"ok"}, {"ok"}]
    assert {client: state for client, state in rounds[1].items() if client != 2} == dict.fromkeys([0, 1, 3, 4, 5], "ok")
    assert sha == on_both["inline"][kind][0]
    assert sha != on_both["inline"]["none"][0]


@pytest.mark.ray
def test_a_client_that_kills_its_process_costs_that_one_update(on_both):
    sha, rounds = on_both["ray"]["crash"]
    assert rounds[1][2] != "ok"
    assert [client for client, state in rounds[1].items() if state != "ok"] == [2]
    assert set(rounds[2].values()) == {"ok"}
    assert sha == on_both["inline"]["crash"][0]


@pytest.mark.ray
def test_engines_agree_without_faults(on_both):
    assert on_both["ray"]["none"] == on_both["inline"]["none"]


class Assassin:
    """Stands between engine and grid, and kills one working actor of this process in the second round.

    Attributes:
        killed: process id and time of the deed; None until then.
        exchanges: begin and end of every exchange of messages.
    """

    def __init__(self, grid):
        self.killed, self.exchanges = None, []
        self._deliver = grid.send_and_receive
        grid.send_and_receive = self._exchange

    def _exchange(self, messages, timeout):
        began = time.monotonic()
        if len(self.exchanges) == 1:
            threading.Thread(target=self._kill).start()
        replies = list(self._deliver(messages, timeout=timeout))
        self.exchanges.append((began, time.monotonic()))
        return replies

    def _kill(self):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if busy := own_processes(b"ray::ClientAppActor.run"):
                os.kill(busy[0], signal.SIGKILL)
                self.killed = busy[0], time.monotonic()
                return
            time.sleep(0.005)


@pytest.mark.ray
def test_a_worker_killed_from_outside_loses_at_most_one_update(tmp_path):
    stage = set_stage(scenario(federation={"local-epochs": 40, "executor": "loop"}), tmp_path)
    expected = in_process(app, 1, lambda grid: drive(stage, grid, 1, rounds=4))

    def body(grid):
        assassin = Assassin(grid)
        return *drive(stage, grid, 2, rounds=4), assassin, own_processes(b"ray::ClientAppActor")

    sha, rounds, assassin, left = on_ray(app, 2, 2, 0.0, body)
    assert assassin.killed
    victim, moment = assassin.killed
    assert victim not in left
    began, ended = assassin.exchanges[1]
    assert began < moment < ended
    assert len(assassin.exchanges) > 4  # what was lost was sent again
    lost = [client for client, state in rounds[1].items() if state != "ok"]
    assert len(lost) <= 1
    assert [set(states.values()) for states in (rounds[0], *rounds[2:])] == [{"ok"}] * 3
    assert (sha == expected[0]) == (not lost)


def own_processes(title):
    """Return the ids of the processes that descend from this one and whose command line has `title`, sorted."""
    parents, titles = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # The name, second and in brackets, may contain anything: the parent is the second field behind it.
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            titles[int(folder.name)] = (folder / "cmdline").read_bytes()
        except OSError:  # it has ended meanwhile
            continue
    own = {os.getpid()}
    while more := {process for process, parent in parents.items() if parent in own} - own:
        own |= more
    return sorted(process for process in own if title in titles.get(process, b""))


def test_zero_clients_answer_ends_the_run(tmp_path):
    stage = set_stage(scenario(faults=[fault("raise", clients="all")]), tmp_path)
    with pytest.raises(QuorumLost, match="0 of 6 clients answered, quorum 1"):
        in_process(app, 1, lambda grid: drive(stage, grid, 1))


@pytest.mark.ray
def test_a_server_error_comes_out_of_ray_as_it_was():
    def body(grid):
        raise QuorumLost("3 of 6")

    with pytest.raises(QuorumLost, match="3 of 6"):
        on_ray(app, 1, 1, 0.0, body)


def test_missing_nodes_are_an_engine_failure(tmp_path, monkeypatch):
    monkeypatch.setattr("server.grid_engine.NODE_WAIT", 0.1)
    stage = set_stage(scenario(), tmp_path)
    with pytest.raises(EngineFailure, match="1 of 5 SuperNodes"):
        in_process(app, 1, lambda grid: drive(stage, grid, 5))
