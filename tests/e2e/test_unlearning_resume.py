"""A run killed in the middle of unlearning ends in the same models, whatever the method stands on."""

import sqlite3

import pytest

from tests.e2e.command import SCENARIO, hashes, kill_when, results, run, start

METHODS = ("neggrad", "federaser", "sharded")  # by the holders, from stored rounds, on a trunk of its own
CHANGES = [
    f"--set=unlearning.methods={list(METHODS)}".replace("'", '"'),
    "--set=unlearning.references=[]",
    "--set=probes=[]",
    "--set=attacks=[]",
]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted") / "run"
    run("run", SCENARIO, "--out", folder, *CHANGES)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "states"),
    [
        ("neggrad.0/000004", ("running", "accepted", "accepted")),  # holders have climbed, nobody has recovered
        ("federaser.0/000005", ("done", "running", "accepted")),  # in the middle of the replay
        ("sharded.1/000003", ("done", "done", "accepted")),  # its own trunk
        ("sharded.2/000003", ("done", "done", "running")),  # the shards' retraining
        ("sharded.3/000002", ("done", "done", "done")),  # and that of the second request, after a round in between
    ],
)
def test_resumed_after_kill_9_in_the_middle_of_unlearning(uninterrupted, tmp_path, where, states):
    folder = tmp_path / "killed"
    process = start("run", SCENARIO, "--out", folder, *CHANGES)
    kill_when(process, folder / "journal" / f"{where}.safetensors")
    assert not (folder / "results.json").exists()
    database = sqlite3.connect(folder / "ledger.sqlite")
    rows = dict(database.execute("SELECT branch, state FROM served WHERE request = 'request-1'").fetchall())
    database.close()
    assert tuple(rows[method] for method in METHODS) == states
    run("run", SCENARIO, "--out", folder, *CHANGES, "--resume")
    assert hashes(folder) == hashes(uninterrupted)
    assert set(hashes(folder)) == {"trunk", *METHODS}
    assert [row["state"] for row in results(folder)["requests"]] == ["done", "done"]
