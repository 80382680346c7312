"""A run killed in the middle of unlearning ends in the same models, whatever the method stands on."""

import sqlite3

import numpy as np
import pytest

from fedunlearn.observer.access import AccessRefused
from fedunlearn.observer.tape import Tape
from tests.e2e.command import SCENARIO, hashes, kill_when, results, run, start
from tests.observer.recorded import Watcher

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


@pytest.mark.slow
def test_resumed_after_kill_9_the_tape_tells_what_was_pruned_and_defended(tmp_path):
    changes = [
        '--set=unlearning.methods=["concept-prune","finetune"]',
        "--set=unlearning.options={concept-prune={recovery-rounds=1}}",
        "--set=unlearning.references=[]",
        "--set=probes=[]",
        "--set=attacks=[]",
        '--set=requests=[{round=3,scope="class",target={random=1}}]',
        '--set=defences=[{name="gaussian-obfuscation"}]',
    ]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run("run", SCENARIO, "--out", whole, *changes)
    process = start("run", SCENARIO, "--out", killed, *changes)
    kill_when(process, killed / "journal" / "concept-prune.0" / "000005.safetensors")  # pruned, in the recovery
    run("run", SCENARIO, "--out", killed, *changes, "--resume")
    assert hashes(killed) == hashes(whole)
    watcher = Watcher("weights-before-after", ("mask-known",))
    told = [Tape(folder / "tape").view(watcher, "concept-prune") for folder in (whole, killed)]
    assert told[0].pruned().keys() == told[1].pruned().keys() == {"body.fc1.weight", "body.fc2.weight"}
    for name, mask in told[0].pruned().items():
        assert mask.any()
        np.testing.assert_array_equal(mask, told[1].pruned()[name])
        assert (told[0].after()[name][mask] != 0).all()
    with pytest.raises(AccessRefused, match="nothing was pruned"):
        Tape(whole / "tape").view(watcher, "finetune").pruned()
