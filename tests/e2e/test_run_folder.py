"""What a run leaves on disk can be trusted: models hash to what was published, and a resume notices changed data."""

import json
import sqlite3

import jsonschema
import numpy as np

from fedunlearn.federation import weights_sha256
from fedunlearn.reporting.results import schema
from fedunlearn.storage import read_arrays
from tests.e2e.command import SCENARIO, hashes, kill_when, results, run, start


def test_stored_models_hash_to_the_published_sums(finished):
    for branch, sha in hashes(finished).items():
        assert weights_sha256(read_arrays(finished / "checkpoints" / f"{branch}.safetensors")[0]) == sha


def test_the_results_follow_the_published_schema(finished):
    jsonschema.validate(results(finished), schema())


def test_the_ledger_knows_every_branch(finished):
    database = sqlite3.connect(finished / "ledger.sqlite")
    rows = database.execute("SELECT request, branch, state, before, after FROM served").fetchall()
    database.close()
    assert {(request, branch) for request, branch, *_ in rows} == {
        (f"request-{n}", branch) for n in (1, 2) for branch in set(hashes(finished)) - {"trunk"}
    }
    assert {state for _, _, state, *_ in rows} == {"done"}
    assert all(len(before) == len(after) == 64 for *_, before, after in rows)


def test_the_resolved_scenario_names_device_and_executor(finished):
    text = (finished / "scenario.toml").read_text()
    assert 'executor = "loop"' in text
    assert 'device = "cpu"' in text


def test_results_count_what_branches_cost(finished):
    branches = {branch["id"]: branch for branch in results(finished)["branches"]}
    assert branches["finetune"]["extra_rounds"] == branches["control"]["extra_rounds"] == 4
    assert branches["retrain"]["extra_rounds"] == 3 + 4
    assert branches["federaser"]["extra_rounds"] == 3 + 4
    assert all(branch["bytes"] > 0 and branch["client_seconds"] > 0 for branch in branches.values())


def test_a_resume_on_changed_data_is_refused(tmp_path):
    draws = np.random.default_rng(0)
    for name in ("one", "two"):
        images = draws.random((300, 1, 8, 8)).astype(np.float32)
        (tmp_path / name).mkdir()
        np.savez(tmp_path / name / "data.npz", images=images, labels=np.arange(300) % 10)
    data = tmp_path / "data"
    data.symlink_to(tmp_path / "one")
    changes = [f'--set=data={{path="{data}",format="npz"}}', "--set=federation.local-epochs=3"]
    folder = tmp_path / "run"
    kill_when(start("run", SCENARIO, "--out", folder, *changes), folder / "journal/trunk.0/000002.safetensors")
    data.unlink()
    data.symlink_to(tmp_path / "two")
    _, error = run("run", SCENARIO, "--out", folder, *changes, "--resume", expect=2)
    assert error.splitlines()[-1].startswith("error: ")
    assert "was begun with dataset" in error


def test_a_branch_that_cannot_be_finished_does_not_take_the_others_with_it(tmp_path):
    faults = '--set=faults=[{kind="raise",rounds=[5]}]'
    _, error = run("run", SCENARIO, "--out", tmp_path / "run", faults, "--set=requests.0.round=4", expect=4)
    assert "could not be finished" in error
    told = json.loads((tmp_path / "run" / "results.json").read_text())
    failed = {failure["branch"] for failure in told["failures"]}
    assert failed
    assert failed.isdisjoint(branch["id"] for branch in told["branches"])
    assert "trunk" in {branch["id"] for branch in told["branches"]}
    assert {row["state"] for row in told["requests"]} == {"failed"}


def test_a_run_that_never_finished_a_round_leaves_its_folder_free(tmp_path):
    folder = tmp_path / "run"
    run("run", SCENARIO, "--out", folder, "--set=data.train=999999", expect=2)
    run("run", SCENARIO, "--out", folder, "--set=attacks=[]")
    assert (folder / "report.html").exists()


def test_the_end_of_a_run_says_where_to_look(finished, tmp_path):
    out, _ = run("run", SCENARIO, "--out", tmp_path / "run", "--set=attacks=[]")
    assert out.splitlines()[-2:] == [
        f"report       {tmp_path / 'run' / 'report.html'}",
        f"TensorBoard  tensorboard --logdir {tmp_path / 'run'}",
    ]


def test_a_file_as_run_folder_is_one_line(tmp_path):
    (tmp_path / "file").write_text("mine")
    _, error = run("run", SCENARIO, "--out", tmp_path / "file", expect=2)
    assert error.count("\n") == 1
    assert (tmp_path / "file").read_text() == "mine"


def test_every_branch_is_compared_with_the_retrained_models(finished):
    branches = {branch["id"]: branch for branch in results(finished)["branches"]}
    for branch in branches.values():
        assert all(
            branch["metrics"][name] is not None
            for name in (
                "mia_efficacy", "mia_auc", "average_gap", "average_gap_floor", "zrf", "activation_distance",
                "completeness", "js_to_retrain", "fingerprint_tv",
            )
        )  # fmt: skip
    assert branches["retrain"]["metrics"]["average_gap"] == branches["retrain"]["metrics"]["average_gap_floor"]
    retraining = [branches[name]["cost"]["client_seconds"] for name in ("retrain", "retrain-other-init")]
    for name, seconds in zip(("retrain", "retrain-other-init"), retraining, strict=True):
        assert branches[name]["cost"]["speed_up"] == np.mean(retraining) / seconds


def test_serving_the_requests_has_a_price(finished):
    cost = {branch["id"]: branch["cost"] for branch in results(finished)["branches"]}
    whole = {branch["id"]: branch["bytes"] for branch in results(finished)["branches"]}
    assert (cost["trunk"]["rounds"], cost["trunk"]["speed_up"], cost["trunk"]["note"]) == (0, None, "no client work")
    assert {name: entry["rounds"] for name, entry in cost.items() if name != "trunk"} == {
        "federaser": 7, "finetune": 4, "retrain": 7, "retrain-other-init": 7, "control": 4, "placebo": 4,
    }  # fmt: skip
    assert all(0 < cost[name]["bytes"] < whole[name] for name in cost if name != "trunk")  # two ordinary rounds more
    assert {name for name, entry in cost.items() if entry["server_bytes"]} == {"federaser"}
    model = (finished / "checkpoints" / "trunk.safetensors").stat().st_size
    rounds, clients = 3, 5
    assert all(entry["prepared"] == {"rounds": 0, "bytes": 0, "client_seconds": 0} for entry in cost.values())
    assert cost["trunk"]["server_seconds"] == 0
    assert all(cost[name]["server_seconds"] > 0 for name in cost if name != "trunk")
    assert 0.9 * model < cost["federaser"]["server_bytes"] / (rounds * (clients + 1)) < model


def test_costs_tell_what_methods_do_before_the_request_and_when_they_stop(tmp_path):
    changes = ["attacks=[]", "probes=[]", "observers=[]", 'federation.engine="inline"', "output.tensorboard=false"]
    changes += ['unlearning.methods=["sharded", "fedau", "neggrad"]', 'unlearning.references=["retrain"]']
    changes += ['requests=[{round=3, scope="client", target={clients=[1]}}]', "unlearning.options={sharded={shards=3}}"]
    run("run", SCENARIO, "--out", tmp_path / "run", *(f"--set={change}" for change in changes))
    told = results(tmp_path / "run")
    jsonschema.validate(told, schema())
    branches = {branch["id"]: branch for branch in told["branches"]}
    cost = {name: branch["cost"] for name, branch in branches.items()}
    prepared = {name: entry["prepared"]["rounds"] for name, entry in cost.items()}
    assert prepared == {"trunk": 0, "sharded": 3 * 3, "fedau": 3, "neggrad": 0, "retrain": 0}
    assert (cost["fedau"]["speed_up"], cost["fedau"]["note"]) == (None, "its work is done during training")
    assert cost["sharded"]["server_bytes"] > 0 == cost["neggrad"]["server_bytes"]
    assert {name for name, branch in branches.items() if "stopped" in branch["details"]} == {"neggrad"}
    stopped = branches["neggrad"]["details"]["stopped"]
    assert 0 <= stopped["answers"] <= stopped["of"] <= cost["neggrad"]["rounds"]
