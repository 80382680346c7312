"""The same scenario and seed give the same models: on every engine, with any number of workers, and after kill -9."""

import sqlite3

import pytest

from tests.e2e.command import SCENARIO, hashes, kill_when, results, run, start

BRANCHES = {"trunk", "federaser", "finetune", "retrain", "retrain-other-init", "control", "placebo"}


def findings(folder):
    """Return every attack's figures (not its seconds)."""
    return [(a["name"], a["branch"], a["status"], a["metrics"]) for a in results(folder)["attacks"]]


def test_every_branch_ends_in_a_model_of_its_own(finished):
    assert set(hashes(finished)) == BRANCHES
    assert len(set(hashes(finished).values())) == len(BRANCHES)
    assert {a["status"] for a in results(finished)["attacks"]} == {"done"}
    assert [row["state"] for row in results(finished)["requests"]] == ["done", "done"]


def test_a_second_run_is_the_same(finished, tmp_path):
    run("run", SCENARIO, "--out", tmp_path / "again")
    assert hashes(tmp_path / "again") == hashes(finished)
    assert findings(tmp_path / "again") == findings(finished)


def test_probes_leave_no_trace_in_the_run(finished, tmp_path):
    run("run", SCENARIO, "--out", tmp_path / "alone", "--set", "probes=[]", "--set", "attacks=[]")
    assert hashes(tmp_path / "alone") == hashes(finished)
    assert results(tmp_path / "alone")["probes"] == []


def test_another_seed_is_another_run(finished, tmp_path):
    run("run", SCENARIO, "--out", tmp_path / "other", "--set", "seed=6")
    assert not set(hashes(tmp_path / "other").values()) & set(hashes(finished).values())


@pytest.mark.ray
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_ray_gives_the_same_models(finished, tmp_path, workers):
    run("run", SCENARIO, "--out", tmp_path / "ray", "--engine", "ray", "--set", f"federation.workers={workers}")
    assert hashes(tmp_path / "ray") == hashes(finished)
    assert findings(tmp_path / "ray") == findings(finished)


@pytest.mark.parametrize(
    ("where", "state"),
    [
        ("journal/trunk.0/000002.safetensors", None),  # in the middle of training
        ("journal/federaser.0/000005.safetensors", "running"),  # in the middle of the first request
        ("journal/finetune.0/000006.safetensors", "done"),  # the second request
    ],
)
def test_resumed_after_kill_9(finished, tmp_path, where, state):
    folder = tmp_path / "killed"
    kill_when(start("run", SCENARIO, "--out", folder), folder / where)
    assert not (folder / "results.json").exists()
    if state:
        database = sqlite3.connect(folder / "ledger.sqlite")
        assert ("federaser", state) in database.execute(
            "SELECT branch, state FROM served WHERE request = 'request-1'"
        ).fetchall()
        database.close()
    run("run", SCENARIO, "--out", folder, "--resume")
    assert hashes(folder) == hashes(finished)
    assert findings(folder) == findings(finished)
    assert [row["state"] for row in results(folder)["requests"]] == ["done", "done"]


@pytest.mark.ray
def test_resumed_after_kill_9_on_ray(finished, tmp_path):
    folder = tmp_path / "killed"
    process = start("run", SCENARIO, "--out", folder, "--engine", "ray")
    kill_when(process, folder / "journal/federaser.0/000004.safetensors")
    run("run", SCENARIO, "--out", folder, "--engine", "ray", "--resume")
    assert hashes(folder) == hashes(finished)


def test_a_run_folder_is_not_overwritten(finished):
    _, error = run("run", SCENARIO, "--out", finished, expect=2)
    assert error.count("\n") == 1
    assert "--resume" in error
    _, error = run("run", SCENARIO, "--out", finished, "--resume", "--set", "seed=9", expect=2)
    assert "another scenario" in error
