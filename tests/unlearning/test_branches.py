"""The oracle and the controls: identities that hold bit for bit."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedunlearn.branching import Branch, arrive, left_out, to_serve
from fedunlearn.requests import Ledger, UnlearningRequest
from fedunlearn.scenario import Scenario, validate
from fedunlearn.unlearning import UNLEARNERS
from tests.core.quadratics import federation, history_of, ordinary

CENTRES = np.random.default_rng(3).normal(size=(6, 3))


def run(name, forget, rounds=3, trained=4, algorithm="fedavg", sampled=3):
    """Return (trunk model, the branch's model, branch federation) after forgetting `forget`."""
    kind = "gradient" if algorithm == "fedsgd" else "weights"
    trunk, _ = federation(CENTRES, kind=kind)
    training, start = ordinary(algorithm, clients=sampled), {"w": np.zeros(3)}
    model = training.run(trunk, start, trained)
    branch = trunk.fork(name)
    branch.open_request(forget)
    fresh = lambda replica: {"w": np.full(3, float(replica))}  # noqa: E731
    history = replace(history_of(None, trained, start, training), fresh=fresh)
    request = UnlearningRequest("r", trained, "sample", (), forget)
    unlearner = UNLEARNERS[name](UNLEARNERS[name].Settings(), rounds)
    return model, unlearner.forget(model, request, branch, history), branch


def test_retrain_without_anything_to_forget_is_the_original():
    model, retrained, _ = run("retrain", {})
    np.testing.assert_array_equal(model["w"], retrained["w"])


def test_retrain_from_another_initialisation_differs():
    model, retrained, _ = run("retrain-other-init", {})
    assert not np.array_equal(model["w"], retrained["w"])


@given(st.integers(0, 5), st.sampled_from(["fedsgd", "fedavg"]))
def test_retrain_is_never_having_had_the_client(client, algorithm):
    gone = np.arange(client * 4, client * 4 + 4)
    _, retrained, _ = run("retrain", {client: gone}, algorithm=algorithm)
    never, _ = federation(CENTRES, kind="gradient" if algorithm == "fedsgd" else "weights")
    never._sample_ids = [ids if c != client else ids[:0] for c, ids in enumerate(never._sample_ids)]
    expected = ordinary(algorithm, clients=3).run(never, {"w": np.zeros(3)}, 4)
    np.testing.assert_array_equal(retrained["w"], expected["w"])


def test_finetune_with_an_empty_forget_set_is_ordinary_training_and_so_is_control():
    trunk, _ = federation(CENTRES)
    expected = ordinary(clients=3).run(trunk, {"w": np.zeros(3)}, 7)
    for name in ("finetune", "control"):
        np.testing.assert_array_equal(run(name, {})[1]["w"], expected["w"])


def test_control_uses_all_data_whatever_is_open():
    everything = {c: np.arange(c * 4, c * 4 + 4) for c in range(5)}
    np.testing.assert_array_equal(run("control", everything)[1]["w"], run("control", {})[1]["w"])
    assert not np.array_equal(run("finetune", everything)[1]["w"], run("finetune", {})[1]["w"])


def test_absent_is_ordinary_training_by_those_who_are_not_away():
    away = {client: np.arange(client * 4, client * 4 + 4) for client in (0, 2)}
    model, absent, branch = run("absent", away)
    others, _ = federation(CENTRES)
    others._sample_ids = [ids if client not in away else ids[:0] for client, ids in enumerate(others._sample_ids)]
    others.calls = 4
    expected = ordinary(clients=3).run(others, model, 3)
    np.testing.assert_array_equal(absent["w"], expected["w"])
    branch.close_request()
    assert branch.holders("all") == [1, 3, 4, 5]  # also in the rounds after the branch's own


def stage_of(held, *requests):
    """Return as much of a stage as requests need: class k % 3 for sample k."""
    scenario = validate(Scenario, {"federation": {"rounds": 9, "clients": len(held)}, "requests": list(requests)})
    dataset = SimpleNamespace(all_labels=np.arange(30) % 3, num_classes=3)
    return SimpleNamespace(scenario=scenario, held=tuple(held), dataset=dataset, seed=0)


BRANCHES = [Branch("finetune", "finetune"), Branch("absent", "absent")]
CLASS_0 = {"round": 2, "scope": "class", "target": {"classes": [0]}}
CLASS_1 = CLASS_0 | {"round": 4, "target": {"classes": [1]}}
ONLY = [np.arange(label, 30, 3) for label in range(3)]  # each client holds one class


@pytest.mark.parametrize(
    ("held", "requests", "reason"),
    [
        (ONLY, [CLASS_0], None),
        (ONLY, [CLASS_0, CLASS_1], None),
        ([np.arange(15), np.arange(15, 30)], [CLASS_0], "every client holds data of class 0"),
        (
            [np.concatenate(ONLY[:2]), np.concatenate(ONLY[1:])],
            [CLASS_0, CLASS_1],
            "every client holds data of class 1",
        ),
        (ONLY, [CLASS_0 | {"scope": "client", "target": {"clients": [1]}}], "request-1 names no whole class"),
    ],
)
def test_absent_is_left_out_where_no_such_rounds_exist(tmp_path, held, requests, reason):
    stage, ledger = stage_of(held, *requests), Ledger(tmp_path / "ledger.sqlite")
    accepted = arrive(stage, BRANCHES, ledger)
    missing = left_out(stage, BRANCHES, accepted)
    assert len(accepted) == len(requests)
    for row in ledger.rows():
        assert set(row["served"]) == {branch.id for branch in BRANCHES if branch.id not in missing}
    if reason is None:
        assert missing == {}
        served = to_serve(stage, UNLEARNERS["absent"](UNLEARNERS["absent"].Settings(), 2), accepted)
        assert [request.target for request in served] == [(0,), (1,)][: len(requests)]
    else:
        assert list(missing) == ["absent"]
        assert reason in missing["absent"]
    ledger.close()


def test_the_ledger_keeps_requests_in_order_of_arrival(tmp_path):
    nobody = CLASS_0 | {"id": "refused", "holders": [1]}
    stage, ledger = (
        stage_of(ONLY, CLASS_0, nobody, CLASS_0 | {"target": {"classes": [2]}}),
        Ledger(tmp_path / "l.sqlite"),
    )
    arrive(stage, BRANCHES, ledger)
    assert [(row["id"], row["state"]) for row in ledger.rows()] == [
        ("request-1", "accepted"),
        ("refused", "refused"),
        ("request-3", "accepted"),
    ]
    ledger.close()
