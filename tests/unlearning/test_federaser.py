"""FedEraser against numbers worked out by hand, and against the faults that public ports have."""

import numpy as np
import pytest

from fedunlearn.federation import Update
from fedunlearn.journal import Journal
from fedunlearn.requests import UnlearningRequest
from fedunlearn.unlearning import UNLEARNERS
from fedunlearn.unlearning.federaser import rescale
from tests.core.quadratics import federation, history_of, ordinary

CENTRES = [(-4.0, 2.0), (3.0, 4.0), (4.0, -3.0)]


def forget_client_0(tmp_path, **settings):
    """Train two rounds, forget client 0; return (original model, unlearned model, federation)."""
    journal = Journal(tmp_path)
    trunk, _ = federation(CENTRES, journal=journal)
    training, start = ordinary(), {"w": np.zeros(2)}
    original = training.run(trunk, start, 2)
    branch = trunk.fork("federaser")
    branch.open_request({0: np.arange(4)})
    history = history_of(journal, 2, start, training)
    request = UnlearningRequest("r", 2, "client", (0,), {0: np.arange(4)})
    unlearner = UNLEARNERS["federaser"](UNLEARNERS["federaser"].Settings(**settings), rounds=2)
    models = []
    branch.model_listeners.append(lambda _branch, _call, weights: models.append(weights["w"]))
    return original, unlearner.forget(original, request, branch, history), models


@pytest.mark.parametrize("norm", ["per-layer", "global"])
def test_conformance(tmp_path, norm):
    original, unlearned, models = forget_client_0(tmp_path, norm=norm)
    np.testing.assert_allclose(original["w"], (0.75, 0.75), atol=1e-12)
    np.testing.assert_allclose(models[0], (1.75, 0.25), atol=1e-12)
    np.testing.assert_allclose(unlearned["w"], (2.79440, 0.25270), atol=5e-6)


def test_stored_and_fresh_norms(tmp_path):
    forget_client_0(tmp_path)
    journal = Journal(tmp_path)
    broadcast, stored = journal.read("trunk.0", 2)
    norms = [np.linalg.norm(u.payload["w"] - broadcast["w"]) for u in stored if u.client_id]
    np.testing.assert_allclose(norms, (2.1506, 2.4749), atol=5e-5)
    broadcast, fresh = journal.read("federaser.0", 3)
    norms = [np.linalg.norm(u.payload["w"] - broadcast["w"]) for u in fresh if isinstance(u, Update)]
    np.testing.assert_allclose(norms, (1.9764, 1.9764), atol=5e-5)


def test_a_client_that_forgot_part_of_its_data_earlier_is_calibrated_from_the_first_round(tmp_path):
    journal, start, training = Journal(tmp_path), {"w": np.zeros(2)}, ordinary()
    trunk, _ = federation(CENTRES, journal=journal)
    model = training.run(trunk, start, 2)
    branch = trunk.fork("federaser")
    branch.open_request({1: np.array([4, 5])})  # client 1 forgets two of its samples
    branch.close_request()
    branch.open_request({0: np.arange(4)})
    history = history_of(journal, 2, start, training)
    asked = []
    branch.round_listeners.append(lambda _branch, order, _outcomes: asked.append(sorted(order.jobs)))
    unlearner = UNLEARNERS["federaser"](UNLEARNERS["federaser"].Settings(), rounds=2)
    unlearner.forget(model, UnlearningRequest("r", 2, "client", (0,), {0: np.arange(4)}), branch, history)
    assert asked == [[1], [1, 2]]


def test_rounds_in_which_only_forgotten_clients_took_part_are_skipped(tmp_path):
    journal, start, training = Journal(tmp_path), {"w": np.zeros(2)}, ordinary(clients=1)
    trunk, _ = federation(CENTRES, journal=journal)
    model = training.run(trunk, start, 6)
    asked = {call: journal.read("trunk.0", call)[1][0].client_id for call in range(1, 7)}
    gone = asked[3]
    branch = trunk.fork("federaser")
    branch.state = "momentum of forgotten data"
    branch.open_request({gone: np.arange(gone * 4, gone * 4 + 4)})
    history = history_of(journal, 6, start, training)
    unlearner = UNLEARNERS["federaser"](UNLEARNERS["federaser"].Settings(), rounds=2)
    unlearner.forget(model, UnlearningRequest("r", 6, "client", (gone,), {gone: np.arange(4)}), branch, history)
    served = [call for call in asked if asked[call] != gone]
    assert branch.spent.rounds == len(served) - (1 in served)
    assert branch.state is None


def test_rescale_keeps_direction_and_takes_length():
    rng = np.random.default_rng(0)
    direction = {"a": rng.normal(size=(3, 4)), "b": rng.normal(size=5), "count": np.array(7)}
    stored = {"a": rng.normal(size=(3, 4)), "b": rng.normal(size=5), "count": np.array(9)}
    scaled = rescale(direction, stored, frozenset("ab"), per_layer=True)
    for name in "ab":
        assert np.linalg.norm(scaled[name]) == pytest.approx(np.linalg.norm(stored[name]))
        np.testing.assert_allclose(np.cross(scaled[name].ravel()[:3], direction[name].ravel()[:3]), 0, atol=1e-12)
    assert scaled["count"] == 7
    still = rescale({"a": np.zeros(2)}, {"a": np.ones(2)}, frozenset("a"), per_layer=True)
    np.testing.assert_array_equal(still["a"], 0)
