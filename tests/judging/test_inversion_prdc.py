"""Precision, recall, density and coverage against the published package and closed forms; the nearest sample."""

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedunlearn.errors import DataError
from fedunlearn.judging.inversion.knn_distance import knn_distance, nearest
from fedunlearn.judging.inversion.prdc import coverage, density, neighbourhoods, precision, recall

MEASURES = {"precision": precision, "recall": recall, "density": density, "coverage": coverage}


def measured(true, claimed, k):
    found = neighbourhoods(true, claimed, k)
    return {name: float(measure(found).mean()) for name, measure in MEASURES.items()}


def two_samples(rows, columns):
    draws = np.random.default_rng(0)
    return draws.standard_normal((rows, columns)), draws.standard_normal((rows, columns))


@pytest.mark.parametrize(
    ("shape", "k", "expected"),
    [
        ((1000, 64), 5, (0.7140, 0.7360, 0.9618, 0.9690)),
        ((1000, 64), 3, (0.6110, 0.6350, 0.9313, 0.8700)),
        ((500, 32), 5, (0.8200, 0.8420, 1.0384, 0.9700)),
        ((200, 16), 3, (0.7800, 0.7600, 0.9983, 0.8500)),
    ],
)
def test_reference_values(shape, k, expected):
    found = measured(*two_samples(*shape), k)
    assert tuple(found.values()) == pytest.approx(expected, abs=5e-5)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    sizes=st.tuples(st.integers(7, 60), st.integers(7, 60)),
    columns=st.integers(1, 20),
    k=st.integers(1, 5),
    apart=st.floats(0, 3),
)
def test_equal_to_the_published_package_on_the_same_arrays(seed, sizes, columns, k, apart):
    prdc = pytest.importorskip("prdc")
    draws = np.random.default_rng(seed)
    true, claimed = draws.standard_normal((sizes[0], columns)), apart + draws.standard_normal((sizes[1], columns))
    with contextlib.redirect_stdout(io.StringIO()):
        expected = prdc.compute_prdc(true, claimed, k)
    found = measured(true, claimed, k)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-9)


def test_the_same_samples_a_collapse_and_far_junk():
    true, _ = two_samples(500, 32)
    assert measured(true, true, 5)["recall"] == measured(true, true, 5)["coverage"] == 1
    assert tuple(measured(true, np.repeat(true[:1], 500, axis=0), 5).values()) == pytest.approx((1, 0, 3.2, 0.032))
    assert set(measured(true, true + 100, 5).values()) == {0}


@pytest.mark.parametrize(("k", "expected"), [(3, 0.8754), (5, 0.9690)])
def test_coverage_of_equal_distributions_is_the_closed_form(k, expected):
    n, m = 1000, np.arange(1, k + 1)
    assert 1 - np.prod((n - m) / (2 * n - m)) == pytest.approx(expected, abs=1e-4)
    assert measured(*two_samples(n, 64), k)["coverage"] == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(("true", "claimed"), [(3, 9), (9, 3)])
def test_too_few_samples_are_refused_with_the_numbers(true, claimed):
    with pytest.raises(DataError, match=rf"k = 3 need at least 4 .* there are {true} true and {claimed} claimed"):
        neighbourhoods(np.zeros((true, 2)), np.zeros((claimed, 2)), 3)
    neighbourhoods(np.zeros((4, 2)), np.zeros((4, 2)), 3)


def test_the_distance_to_the_nearest_sample_is_squared():
    true, claimed = np.array([[0.0, 0.0], [10.0, 0.0]]), np.array([[3.0, 4.0], [10.0, 2.0]])
    assert knn_distance(true, claimed).tolist() == [25, 4]
    assert nearest(true, claimed).tolist() == [0, 1]
