"""The default server step: invariants, and agreement with numpy's own average."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fedunlearn.aggregation import gradient_step, weighted_mean

values = st.floats(-1e3, 1e3, width=32)


@given(st.integers(1, 6).flatmap(lambda n: st.tuples(
    st.lists(arrays(np.float32, (2, 3), elements=values), min_size=n, max_size=n),
    st.lists(st.integers(1, 100), min_size=n, max_size=n),
)))  # fmt: skip
def test_weighted_mean_is_numpys_average(case):
    payloads, sizes = case
    got = weighted_mean([{"w": p} for p in payloads], sizes)["w"]
    assert got.dtype == np.float32
    expected = np.average(np.stack(payloads).astype(np.float64), axis=0, weights=sizes)
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)


@given(arrays(np.float32, 5, elements=values), arrays(np.float32, 5, elements=values), st.integers(1, 9))
def test_a_client_without_weight_changes_nothing(first, second, size):
    alone = weighted_mean([{"w": first}], [size])["w"]
    np.testing.assert_array_equal(alone, weighted_mean([{"w": first}, {"w": second}], [size, 0])["w"])


def test_equal_models_stay_what_they_are():
    model = {"w": np.random.default_rng(0).normal(size=100).astype(np.float32), "steps": np.array(3)}
    mean = weighted_mean([model] * 7, [3, 1, 4, 1, 5, 9, 2])
    np.testing.assert_array_equal(mean["w"], model["w"])
    assert mean["steps"] == 3
    assert mean["steps"] is not model["steps"]


@pytest.mark.parametrize(("payloads", "sizes"), [([], []), ([{"w": np.ones(1)}], [0])])
def test_nothing_to_average(payloads, sizes):
    with pytest.raises(ValueError, match="nothing to average"):
        weighted_mean(payloads, sizes)


def test_gradient_step_leaves_buffers_to_the_clients():
    weights = {"w": np.ones(2, np.float32), "mean": np.zeros(2, np.float32)}
    got = gradient_step(weights, {"w": np.array([2, 4], np.float32), "mean": np.array([5, 6], np.float32)}, 0.5, {"w"})
    np.testing.assert_array_equal(got["w"], [0, -1])
    np.testing.assert_array_equal(got["mean"], [5, 6])
