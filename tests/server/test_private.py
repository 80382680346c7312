"""What a client keeps for itself comes back to it, and to nobody else, also when the run is resumed."""

import numpy as np
import pytest

from clients.app import app
from fedunlearn.federation import Federation, Job, Task, Update
from fedunlearn.journal import Journal
from fedunlearn.learning import CLIENT_TASKS
from server.grid_engine import grid_engine
from server.local_grid import in_process
from tests.server.toy import scenario, set_stage


@pytest.fixture
def counting(monkeypatch):
    """A client half that counts its own rounds in what it keeps."""

    def count(client, settings):
        seen = 0 if client.private is None else int(client.private["rounds"])
        kept = {"rounds": np.array(seen + 1), "who": np.array(client.client_id)}
        if client.private is not None:
            assert int(client.private["who"]) == client.client_id
        return Update(client.client_id, "statistics", {"seen": np.array(float(seen))}, 0, {}, kept)

    monkeypatch.setitem(CLIENT_TASKS._entries, "count", count)


def rounds(stage, journal, times):
    def body(grid):
        federation = Federation(grid_engine(stage, grid, 1), stage.held, journal)
        for n in range(times):
            jobs = {client: Job() for client in ([0, 1, 2] if n % 2 else [0, 2])}
            outcomes = federation.round(Task("count", reply="statistics"), stage.fresh(0), jobs)
        return {outcome.client_id: float(outcome.payload["seen"]) for outcome in outcomes}

    return in_process(app, 1, body)


def test_private_parts_return_to_their_client(tmp_path, counting):
    stage = set_stage(scenario(), tmp_path)
    assert rounds(stage, None, 4) == {0: 3.0, 1: 1.0, 2: 3.0}


def test_private_parts_survive_a_resume(tmp_path, counting):
    stage, journal = set_stage(scenario(), tmp_path), Journal(tmp_path / "journal")
    rounds(stage, journal, 3)
    assert rounds(stage, journal, 4) == {0: 3.0, 1: 1.0, 2: 3.0}
