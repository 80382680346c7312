"""What is read out of stored rounds, against the formulas for one client, and vectors there and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedunlearn.unlearning.stored import StoredRound, read_round
from fedunlearn.unlearning.vectors import flatten, inner, moved, norm
from tests.unlearning.archives import trained

NAMES = frozenset({"a", "b"})


def model(draws):
    """Return two parameters of float32, a float buffer between them and a counter."""
    return {
        "a": draws.normal(size=(2, 3)).astype(np.float32),
        "mean": draws.normal(size=3).astype(np.float32),
        "b": draws.normal(size=4).astype(np.float32),
        "count": np.array(int(draws.integers(100))),
    }


def stored(seed, sizes):
    draws = np.random.default_rng(seed)
    deltas = {client: model(draws) for client in range(len(sizes))}
    return StoredRound(1, model(draws), deltas, dict(enumerate(sizes)))


@given(st.integers(0, 99), st.lists(st.integers(1, 50), min_size=2, max_size=6))
def test_the_residual_of_one_client_is_its_difference_to_the_mean_times_its_odds(seed, sizes):
    past = stored(seed, sizes)
    share = sizes[1] / sum(sizes)
    expected = share / (1 - share) * (flatten(past.deltas[1], NAMES) - past.mean(NAMES))
    np.testing.assert_allclose(past.residual(lambda client: client == 1, NAMES), expected, atol=1e-12)
    assert sum(past.shares.values()) == pytest.approx(1)


@given(st.integers(0, 99), st.lists(st.integers(1, 50), min_size=1, max_size=6), st.integers(0, 63))
def test_contributions_of_any_two_halves_are_the_mean(seed, sizes, chosen):
    past = stored(seed, sizes)
    halves = [past.contribution(lambda client, side=side: chosen >> client & 1 == side, NAMES) for side in (0, 1)]
    np.testing.assert_allclose(halves[0] + halves[1], past.mean(NAMES), atol=1e-12)
    rows = [flatten(delta, NAMES) for delta in past.deltas.values()]
    np.testing.assert_allclose(past.mean(NAMES), np.average(rows, axis=0, weights=sizes), atol=1e-12)


def test_without_anybody_the_model_stays_where_it_is():
    past = stored(0, [3, 5])
    np.testing.assert_array_equal(past.only(lambda client: False).mean(NAMES), np.zeros(10))
    np.testing.assert_array_equal(past.residual(lambda client: True, NAMES), past.mean(NAMES))


@pytest.mark.parametrize("algorithm", ["fedavg", "fedsgd"])
def test_a_stored_round_moves_its_broadcast_to_the_next_one(tmp_path, algorithm):
    past = trained(tmp_path, [(-4.0, 2.0), (3.0, 4.0), (4.0, -3.0)], 3, sizes=[1, 2, 5], algorithm=algorithm)
    rounds = [read_round(past.history, *entry) for entry in past.history.rounds]
    assert [entry.call for entry in rounds] == [1, 2, 3]
    assert rounds[0].sizes == {0: 1, 1: 2, 2: 5}
    for here, after in zip(rounds, [*(entry.broadcast for entry in rounds[1:]), past.model], strict=True):
        names = past.history.parameters
        np.testing.assert_allclose(moved(here.broadcast, here.mean(names), names)["w"], after["w"], atol=1e-12)


@given(st.integers(0, 99))
def test_a_step_there_and_back_moves_parameters_alone(seed):
    draws = np.random.default_rng(seed)
    start, step = model(draws), draws.normal(size=10)
    there = moved(start, step, NAMES)
    np.testing.assert_allclose(flatten(there, NAMES) - flatten(start, NAMES), step, atol=1e-6)
    assert there["mean"] is start["mean"]
    assert there["count"] is start["count"]
    for name, array in there.items():
        assert array.shape == start[name].shape
        assert array.dtype == start[name].dtype
    assert norm(step) == pytest.approx(np.linalg.norm(step))
    assert inner(step, flatten(start, NAMES)) == pytest.approx(step @ flatten(start, NAMES))
