"""SIFU on quadratic losses: the bound holds, and is met where the losses' modulus is known."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedunlearn.branching import train_on
from fedunlearn.randomness import rng
from fedunlearn.unlearning.sifu import psi_star, trace
from tests.core.quadratics import ordinary
from tests.unlearning.archives import trained

CENTRES = np.array([(-4.0, 2.0), (3.0, 4.0), (4.0, -3.0), (0.0, 5.0)])
ROUNDS = 6
NOISE = 0.01


def without(gone, rounds, centres=CENTRES):
    """Return the models before each of `rounds` rounds and after the last, trained without the clients `gone`."""
    model, models = np.zeros(2), [np.zeros(2)]
    kept = np.delete(centres, gone, 0)
    for _ in range(rounds):
        model = model + (kept - model).mean(0) / 2
        models.append(model)
    return np.array(models)


def test_the_threshold_of_the_papers_example():
    assert psi_star(0.05, 10.0, 1 / 100) == pytest.approx(0.1609, abs=5e-5)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(st.integers(0, 3), min_size=1, max_size=3))
def test_the_bound_holds_and_is_tight_for_the_losses_own_modulus(tmp_path, gone):
    past = trained(tmp_path, CENTRES, ROUNDS)
    distances = np.linalg.norm(without([], ROUNDS) - without(sorted(gone), ROUNDS), axis=1)
    convex, _ = trace(past.history, gone.__contains__, 0.0)
    assert (np.diff(convex) >= 0).all()
    assert (distances <= np.array(convex) + 1e-12).all()
    strongly, _ = trace(past.history, gone.__contains__, 1.0)
    np.testing.assert_allclose(strongly, distances, atol=1e-12)


def test_the_norm_of_the_clients_own_change_would_be_no_bound(tmp_path):
    """A client that never moves holds the mean back: without it the model goes elsewhere."""
    past = trained(tmp_path, [(0.0, 0.0), (3.0, 4.0)], 1)
    influence, _ = trace(past.history, {0}.__contains__, 0.0)
    assert influence[1] == pytest.approx(1.25)  # (3, 4) / 2 instead of (3, 4) / 4


def test_it_goes_back_to_the_last_model_within_the_threshold_and_adds_noise(tmp_path):
    past = trained(tmp_path, CENTRES, ROUNDS)
    influence, _ = trace(past.history, {1}.__contains__, 0.0)
    limit = (influence[2] + influence[3]) / 2
    epsilon = limit / psi_star(NOISE, 1.0, 1e-5)
    branch, orders = past.trunk.fork("sifu"), []
    branch.state = "momentum of forgotten data"
    branch.round_listeners.append(lambda _branch, order, _outcomes: orders.append(order))
    past.forget("sifu", [1], branch=branch, noise=NOISE, epsilon=epsilon, delta=1e-5)
    noise = rng(0, "unlearning", ROUNDS, len(CENTRES)).normal(0, NOISE, 2)
    np.testing.assert_array_equal(orders[0].weights["w"], without([], 2)[-1] + noise)
    assert branch.spent.rounds == ROUNDS - 2  # as many as it lost
    assert all(1 not in order.jobs for order in orders)
    assert branch.state is None


def test_whoever_never_took_part_costs_nothing(tmp_path):
    past = trained(tmp_path, CENTRES, 2, clients=1)
    _, sampled = trace(past.history, {0}.__contains__, 0.0)
    stranger = min(set(range(4)) - sampled)
    unlearned, branch = past.forget("sifu", [stranger])
    np.testing.assert_array_equal(unlearned["w"], past.model["w"])
    assert branch.spent.rounds == 0


def test_with_a_large_budget_nothing_is_lost_but_the_noise_is_added(tmp_path):
    past = trained(tmp_path, CENTRES, ROUNDS)
    unlearned, branch = past.forget("sifu", [1], noise=NOISE, epsilon=1e6)
    assert branch.spent.rounds == 0
    assert 0 < np.linalg.norm(unlearned["w"] - past.model["w"]) < 10 * NOISE


@pytest.mark.parametrize("second", [1, 2])
def test_a_later_request_goes_back_to_where_both_clients_are_bounded(tmp_path, second):
    past = trained(tmp_path, CENTRES, ROUNDS)
    branch, options = past.trunk.fork("sifu"), {"noise": NOISE, "delta": 1e-5}
    one, _ = trace(past.history, {0}.__contains__, 0.0)
    both, _ = trace(past.history, {0, second}.__contains__, 0.0)
    options["epsilon"] = max(one[3], both[2]) / psi_star(NOISE, 1.0, 1e-5)
    expected = max(t for t in range(ROUNDS) if both[t] <= max(one[3], both[2]))
    model, _ = past.forget("sifu", [0], branch=branch, **options)
    branch.close_request()
    model, history = train_on(model, 2, branch, past.history)
    orders = []
    branch.round_listeners.append(lambda _branch, order, _outcomes: orders.append(order))
    past.forget("sifu", [second], branch=branch, model=model, history=history, **options)
    assert len(orders) == ROUNDS + 2 - expected
    assert np.linalg.norm(orders[0].weights["w"] - without([], expected)[-1]) < 10 * NOISE


def test_who_took_part_only_after_an_earlier_rollback_is_taken_out_all_the_same(tmp_path):
    """What was trained after a rollback is not among the stored rounds, so the client is in none of them."""
    past = trained(tmp_path, CENTRES, 1, clients=2)
    _, sampled = trace(past.history, {0}.__contains__, 0.0)
    stranger = min(set(range(4)) - sampled)
    everybody = replace(past.history, training=replace(past.history.training, clients_per_round=10))
    branch, orders = past.trunk.fork("sifu"), []
    branch.round_listeners.append(lambda _branch, order, _outcomes: orders.append(order))
    model, _ = past.forget("sifu", [min(sampled)], branch=branch, history=everybody, noise=NOISE, epsilon=1e-9)
    branch.close_request()
    past.forget("sifu", [stranger], branch=branch, model=model, history=everybody, noise=NOISE, epsilon=1e-9)
    first, second = orders
    assert stranger in first.jobs
    assert stranger not in second.jobs
    assert np.linalg.norm(second.weights["w"]) < 10 * NOISE  # the initialisation again


def test_the_smallest_clients_steps_decide_how_fast_models_come_together(tmp_path):
    past = trained(tmp_path, CENTRES, 2, sizes=[8, 2, 4, 4])
    settings = {"batch-size": 2, "learning-rate": 0.5, "local-epochs": 3}
    training = replace(ordinary(), settings=settings)
    influence, _ = trace(replace(past.history, training=training), {0}.__contains__, 0.4)
    first, second = (
        trace(replace(past.history, rounds=(entry,)), {0}.__contains__, 0.0)[0][1] for entry in past.history.rounds
    )
    assert influence[2] == pytest.approx(0.8**3 * first + second)


def test_under_fedsgd_a_round_is_one_step(tmp_path):
    past = trained(tmp_path, CENTRES, ROUNDS, algorithm="fedsgd")
    strongly, _ = trace(past.history, {2}.__contains__, 1.0)
    distances = np.linalg.norm(without([], ROUNDS) - without([2], ROUNDS), axis=1)
    np.testing.assert_allclose(strongly, distances, atol=1e-12)
