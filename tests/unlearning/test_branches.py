"""The oracle and the controls: identities that hold bit for bit."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fedunlearn.requests import UnlearningRequest
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
