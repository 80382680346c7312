"""What goes wrong while a federation forgets: one clear line each, and only that branch is lost."""

import sqlite3

import numpy as np
import pytest

from clients.app import app
from fedunlearn.catalogue import check
from fedunlearn.errors import BranchesFailed, HistoryLost, ScenarioError
from fedunlearn.federation import Update
from fedunlearn.journal import Journal
from fedunlearn.observer.tape import Tape
from fedunlearn.reporting import read_results
from fedunlearn.scenario import Cell, ObserverSettings, Scenario, trunk_key, validate
from fedunlearn.stage import set_stage
from fedunlearn.storage import read_arrays
from fedunlearn.unlearning import UNLEARNERS
from fedunlearn.unlearning.small_federation import SmallFederation
from server.engine import run_experiment

TRAINED = 2  # rounds before the request
TABLES = {
    "data": {"name": "digits", "train": 200},
    "model": {"name": "mlp", "width": 8},
    "federation": {"clients": 4, "rounds": TRAINED, "local-epochs": 8, "learning-rate": 0.3, "engine": "inline"},
    "requests": [{"scope": "class", "target": {"classes": [3]}}],
    "unlearning": {"methods": ["neggrad", "finetune"], "rounds": 2, "references": ["retrain"]},
    "output": {"tensorboard": False, "keep-journal": True},
}
LEAVING = [{"scope": "client", "target": {"clients": [2]}}]


def scenario(**tables):
    """Return a checked scenario; tables are laid over `TABLES`."""
    whole = TABLES | {
        name: TABLES.get(name, {}) | table if isinstance(table, dict) else table for name, table in tables.items()
    }
    checked = validate(Scenario, whole)
    check(checked)
    return checked


def run(folder, resume=False, **tables):
    """Run a scenario in this process; return its results."""
    run_experiment([Cell("faults", {}, scenario(**tables))], folder, app, resume=resume)
    return read_results(folder)


def run_and_fail(folder, line, resume=False, **tables):
    """Run a scenario whose branches partly fail with `line`; return its results."""
    with pytest.raises(BranchesFailed, match=line) as caught:
        run(folder, resume, **tables)
    assert caught.value.exit_code == 4
    assert "\n" not in str(caught.value)
    return read_results(folder)


def hashes(results):
    """Return SHA-256 by branch."""
    return {branch["id"]: branch["sha256"] for branch in results["branches"]}


def test_a_class_that_nobody_has_is_refused_with_the_reason(tmp_path):
    few = {"partition": {"kind": "by-size", "sizes": [3, 2, 2, 1]}}
    stage = set_stage(scenario(**few), tmp_path / "stage")
    [absent, *_] = sorted(set(range(10)) - set(stage.dataset.labels(np.concatenate(stage.held)).tolist()))
    told = run(tmp_path / "run", **few, requests=[{"scope": "class", "target": {"classes": [absent]}}])
    [row] = told["requests"]
    assert (row["state"], row["served"]) == ("refused", {})
    assert row["reason"] == f"nobody holds any data of class [{absent}]: the forget set is empty"
    assert set(hashes(told)) == {"trunk"}


def test_the_only_client_cannot_leave(tmp_path):
    alone = {"clients": 1}
    told = run(tmp_path, federation=alone, requests=[{"scope": "client", "target": {"clients": [0]}}])
    [row] = told["requests"]
    assert (row["state"], row["reason"]) == ("refused", "no data would be retained: there is nothing left to train on")
    assert set(hashes(told)) == {"trunk"}


@pytest.mark.parametrize("kind", ["raise", "crash"])
def test_a_holder_that_fails_while_it_unlearns_is_missing_and_the_round_goes_on(tmp_path, kind):
    faults = [{"kind": kind, "clients": [0], "rounds": [TRAINED + 1]}]
    told = run(tmp_path / "faulty", faults=faults)
    whole = run(tmp_path / "whole")
    assert [row["state"] for row in told["requests"]] == ["done"]
    [row] = [row for row in told["rounds"] if (row["branch"], row["round"]) == ("neggrad", TRAINED + 1)]
    assert [failure["client_id"] for failure in row["failures"]] == [0]
    assert row["clients"] == 3
    different = {name for name, sha in hashes(told).items() if sha != hashes(whole)[name]}
    assert different == {"neggrad", "finetune"}  # retraining is over after two rounds


@pytest.mark.parametrize(
    ("kind", "reason"), [("raise", "RuntimeError: injected fault"), ("crash", "client process died")]
)
def test_a_client_that_fails_while_it_unlearns_alone_costs_that_branch(tmp_path, kind, reason):
    faults = [{"kind": kind, "clients": [2], "rounds": [TRAINED + 1]}]
    line = f'neggrad: branch neggrad, call 3: no answer to "neggrad". client 2: {reason}'
    told = run_and_fail(tmp_path, line, faults=faults, requests=LEAVING)
    assert set(hashes(told)) == {"trunk", "finetune", "retrain"}
    [row] = told["requests"]
    assert row["state"] == "failed"
    assert {name: served["state"] for name, served in row["served"].items()} == {
        "neggrad": "failed",
        "finetune": "done",
        "retrain": "done",
    }
    assert reason in row["served"]["neggrad"]["reason"]


def test_an_ascent_that_explodes_is_a_clear_failure(tmp_path):
    wild = {"learning-rate": 1e30, "stop-accuracy": 0.0, "stop-loss": 1e30}
    unlearning = {"options": {"neggrad": wild}}
    told = run_and_fail(
        tmp_path, r"neggrad: .* has NaN or infinite values", unlearning=TABLES["unlearning"] | unlearning
    )
    assert set(hashes(told)) == {"trunk", "finetune", "retrain"}


def test_an_ascent_that_would_explode_is_stopped_by_its_rule_and_says_so(tmp_path):
    small = SmallFederation(tmp_path, rounds=2)
    weights, history = small.trained
    request, branch, reports = small.request("class"), small.federation(), []
    branch.open_request(request.samples)
    branch.round_listeners.append(lambda _branch, _order, outcomes: reports.extend(outcomes))
    settings = UNLEARNERS["neggrad"].Settings(learning_rate=100.0, epochs=50, recovery_rounds=0)
    unlearned = UNLEARNERS["neggrad"](settings, 1)(weights, request, branch, history)
    assert all(isinstance(report, Update) and report.metrics["stopped"] == 1 for report in reports)
    assert all(report.metrics["steps"] < 50 for report in reports)
    assert all(np.isfinite(array).all() for array in unlearned.values())


@pytest.mark.parametrize(("damage", "line"), [("gone", "is missing"), ("cut", "cannot be read")])
def test_a_stored_round_that_cannot_be_read_costs_the_branches_that_need_it(tmp_path, damage, line):
    tables = {"unlearning": TABLES["unlearning"] | {"methods": ["federaser", "finetune"]}}
    whole = run(tmp_path, **tables)
    (tmp_path / "results.json").unlink()
    stored = tmp_path / "journal/trunk.0/000002.safetensors"
    if damage == "gone":
        stored.unlink()
    else:
        stored.write_bytes(stored.read_bytes()[:100])
    told = run_and_fail(tmp_path, f"federaser: the stored round .*000002.safetensors {line}", resume=True, **tables)
    assert hashes(told) == {name: sha for name, sha in hashes(whole).items() if name != "federaser"}


def test_a_damaged_round_stops_a_resume_with_its_name(tmp_path):
    small = SmallFederation(tmp_path, rounds=2)
    assert small.trained
    (tmp_path / "trunk.0/000002.safetensors").write_bytes(b"")
    with pytest.raises(HistoryLost, match=r"000002\.safetensors cannot be read"):
        small.training.run(small.federation(), small.fresh(0), 2)


@pytest.mark.parametrize("method", ["federaser", "amnesiac"])
def test_methods_that_look_back_are_refused_where_nothing_is_kept(method):
    stores = UNLEARNERS[method].stores
    with pytest.raises(ScenarioError) as caught:
        scenario(federation={"keep-updates": False}, unlearning={"methods": ["finetune", method]})
    why = f"needs the {stores} of every round, and federation.keep-updates = false"
    assert str(caught.value) == f'unlearning.methods.1 = "{method}": {why}'


def test_without_kept_updates_the_models_are_the_same_and_the_journal_is_empty(tmp_path):
    tables = {"unlearning": TABLES["unlearning"] | {"methods": ["neggrad", "sharded", "fedau"]}}
    kept, told = (
        run(tmp_path / name, **tables, federation={"keep-updates": name == "kept"}) for name in ("kept", "not")
    )
    assert hashes(kept) == hashes(told)
    assert len(list((tmp_path / "kept/journal/trunk.0").iterdir())) == TRAINED
    assert list((tmp_path / "not/journal/trunk.0").iterdir()) == []
    (tmp_path / "not/results.json").unlink()
    again = run(tmp_path / "not", resume=True, **tables, federation={"keep-updates": False})
    assert hashes(again) == hashes(told)


def test_a_run_without_kept_updates_can_be_taken_up_in_the_middle_of_training(tmp_path, monkeypatch):
    expected = run(tmp_path / "whole", federation={"keep-updates": False})
    saved = Journal.save

    def stop_after_one(journal, branch, order, outcomes):
        saved(journal, branch, order, outcomes)
        raise KeyboardInterrupt

    monkeypatch.setattr(Journal, "save", stop_after_one)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", federation={"keep-updates": False})
    monkeypatch.setattr(Journal, "save", saved)
    told = run(tmp_path / "cut", resume=True, federation={"keep-updates": False})
    assert hashes(told) == hashes(expected)


def test_cells_that_keep_updates_share_no_trunk_with_those_that_do_not():
    keys = {
        trunk_key(scenario(federation={"keep-updates": kept}, unlearning={"methods": ["finetune"]}))
        for kept in (True, False)
    }
    assert len(keys) == 2


def test_requests_in_sequence_on_a_sharded_trunk(tmp_path):
    requests = [{"round": 1, "scope": "client", "target": {"clients": [2]}}, *TABLES["requests"]]
    tables = {"requests": requests, "unlearning": TABLES["unlearning"] | {"methods": ["sharded"]}}
    told = run(tmp_path, **tables)
    assert [row["state"] for row in told["requests"]] == ["done", "done"]
    [branch] = [branch for branch in told["branches"] if branch["id"] == "sharded"]
    assert branch["extra_rounds"] == 1 * 1 + 2 * 2  # one shard of one round, then two shards of two


def test_a_request_that_must_be_foreseen_comes_alone():
    with pytest.raises(ScenarioError, match=r'unlearning.methods.0 = "fedau": serves one request, .*; there are 2'):
        scenario(requests=[*TABLES["requests"], *LEAVING], unlearning={"methods": ["fedau"]})


def test_an_own_trunk_that_cannot_be_trained_is_told_in_the_ledger(tmp_path):
    tables = {
        "faults": [{"kind": "raise", "clients": [1]}],
        "unlearning": TABLES["unlearning"] | {"methods": ["sharded"], "options": {"sharded": {"shards": 4}}},
    }
    told = run_and_fail(tmp_path, "sharded: branch sharded, call .*: 0 of 1 clients answered", **tables)
    assert set(hashes(told)) == {"trunk", "retrain"}
    database = sqlite3.connect(tmp_path / "ledger.sqlite")
    assert ("sharded", "failed") in database.execute("SELECT branch, state FROM served").fetchall()
    database.close()


@pytest.mark.parametrize(("method", "own"), [("sharded", 2 * TRAINED), ("fedau", TRAINED)])
def test_an_own_trunk_is_what_observers_see_and_no_cost_of_unlearning(tmp_path, method, own):
    server = {"name": "server", "access": "updates", "rounds": ["first"], "flags": ["request-round"]}
    tables = {"observers": [server], "unlearning": TABLES["unlearning"] | {"methods": [method]}}
    told = run(tmp_path, **tables)
    watcher = ObserverSettings(name="server", access="updates", rounds=("first",), flags=("request-round",))
    view, ordinary = (Tape(tmp_path / "tape").view(watcher, branch) for branch in (method, "trunk"))
    assert view.request_round == own
    for name, array in view.broadcast(1).items():
        np.testing.assert_array_equal(array, ordinary.broadcast(1)[name])
    final = read_arrays(tmp_path / "checkpoints" / f"{method}.safetensors")[0]
    np.testing.assert_array_equal(view.final()["head.bias"], final["head.bias"])
    [branch] = [branch for branch in told["branches"] if branch["id"] == method]
    sent = sum(array.nbytes for array in final.values())
    if method == "sharded":  # all four clients, down and up, in every round of the retraining
        assert (branch["extra_rounds"], branch["cost"]["bytes"]) == (2 * TRAINED, 2 * sent * 4 * TRAINED)
    else:  # the model down to all, their second heads up
        head = final["head.weight"].nbytes + final["head.bias"].nbytes
        assert (branch["extra_rounds"], branch["cost"]["bytes"]) == (1, (sent + head) * 4)
