"""The controls of a run: what they did, and that nobody can tell them by what observers are told."""

from pathlib import Path

import numpy as np
import pytest

from fedunlearn.observer.access import AccessRefused
from fedunlearn.observer.tape import Tape
from fedunlearn.scenario import load
from tests.e2e.command import hashes, results, run

CONTROLS = Path(__file__).with_name("controls.toml")
BRANCHES = ("salun", "retrain", "retrain-other-init", "control", "placebo", "absent")


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("controls") / "run"
    return folder, run("run", CONTROLS, "--out", folder)[0]


@pytest.fixture(scope="module")
def views(done):
    folder = done[0]
    (observer,) = load(folder / "scenario.toml").observers
    return {branch: Tape(folder / "tape").view(observer, branch) for branch in BRANCHES}


def test_nobody_who_holds_the_class_takes_part_while_it_is_absent(done, views):
    told = results(done[0])
    (request,) = told["requests"]
    (label,) = request["classes"]
    holders = {c for c, counts in enumerate(told["federation"]["client_class_counts"]) if counts[label]}
    assert 0 < len(holders) < 6
    view = views["absent"]
    assert all(set(view.clients(number)) == set(range(6)) - holders for number in range(4, view.num_rounds + 1))
    assert view.num_rounds == views["control"].num_rounds == 6
    assert set(request["served"]) == set(BRANCHES)
    assert told["left_out"] == []


def test_the_absent_branch_changes_no_other(done, tmp_path):
    references = '["retrain", "retrain-other-init", "control", "placebo"]'
    run("run", CONTROLS, "--out", tmp_path / "without", "--set", f"unlearning.references={references}")
    with_it = hashes(done[0])
    with_it.pop("absent")
    assert hashes(tmp_path / "without") == with_it


def test_where_everybody_holds_the_class_the_reason_is_told_and_nothing_fails(tmp_path):
    folder = tmp_path / "iid"
    run("run", CONTROLS, "--out", folder, "--set", "partition.kind=iid", "--set", "unlearning.methods=[]")
    told = results(folder)
    ((left,), (request,)) = told["left_out"], told["requests"]
    assert left["branch"] == "absent"
    assert left["reason"].startswith(f"every client holds data of class {request['classes'][0]}")
    assert request["state"] == "done"
    assert "absent" not in {branch["id"] for branch in told["branches"]}
    assert "Left out, absent: every client holds" in (folder / "report.html").read_text()


def test_controls_tell_of_the_request_what_the_others_tell(done, views):
    (request,) = results(done[0])["requests"]
    for view in views.values():
        assert view.parties == tuple(request["clients"])
        assert (view.scope, view.target) == ("class", tuple(request["classes"]))
        assert view.own_client == min(set(range(6)) - set(request["clients"]))
        assert view.own_update(1).client_id == view.own_client
    methods = {branch: view.method for branch, view in views.items()}
    assert methods["salun"] == "salun"
    assert {methods[branch] for branch in ("control", "placebo", "absent")} == {"finetune"}


def test_statistics_of_the_methods_own_branch_are_on_the_tape(done, views):
    (request,) = results(done[0])["requests"]
    replies = views["salun"].auxiliary(4)
    assert list(replies) == request["clients"]
    assert all(np.abs(arrays["1/head.weight"]).sum() > 0 for arrays in replies.values())
    assert not views["control"].auxiliary(4)
    with pytest.raises(AccessRefused):
        views["salun"].auxiliary(8)


def test_a_run_ends_by_saying_what_it_shared(done):
    assert "trunks: 1 trained, 0 reused" in done[1]
