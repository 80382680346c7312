"""Intervals and corrections against published values and closed forms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fedunlearn.judging.intervals import auc_interval, bootstrap_mean, holm, interval_of_share, wilson
from fedunlearn.judging.significance import p_value


@pytest.mark.parametrize(
    ("x", "n", "low", "high"),
    [
        (0, 20, 0, 0.161),
        (2, 20, 0.028, 0.301),
        (19, 20, 0.764, 0.991),
        (20, 20, 0.839, 1),
        (4, 40, 0.040, 0.231),
        (15, 40, 0.242, 0.530),
        (38, 40, 0.835, 0.986),
        (40, 40, 0.912, 1),
        (95, 100, 0.888, 0.978),
    ],
)
def test_wilson_values(x, n, low, high):
    assert wilson(x, n) == pytest.approx((low, high), abs=5e-4)


@given(st.integers(1, 300), st.data())
def test_wilson_formula(n, data):
    x, z = data.draw(st.integers(0, n)), 1.959963984540054
    centre = (x / n + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(x / n * (1 - x / n) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    assert wilson(x, n) == pytest.approx((centre - half, centre + half), abs=1e-9)


def test_no_trials_no_interval():
    assert np.isnan(wilson(0, 0)).all()


def test_bootstrap_has_the_width_of_the_normal_interval():
    values = np.random.default_rng(0).normal(3, 2, 400)
    low, high = bootstrap_mean(values, np.random.default_rng(1))
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * 2 / 20, rel=0.1)


def test_bootstrap_of_too_little_or_failed_values_is_unknown():
    draws = np.random.default_rng(0)
    assert np.isnan(bootstrap_mean([1.0], draws)).all()
    assert np.isnan(bootstrap_mean([1.0, np.nan], draws)).all()
    assert bootstrap_mean([2.0, 2.0], draws) == (2.0, 2.0)


def test_hits_and_misses_get_wilson_shared_credit_bootstrap():
    draws = np.random.default_rng(0)
    assert interval_of_share([1.0] * 19 + [0.0], draws) == wilson(19, 20)
    low, high = interval_of_share([0.5, 1.0, 0.0, 1.0], draws)
    assert 0 <= low < high <= 1
    assert np.isnan(interval_of_share([], draws)).all()


def test_holm_against_r():
    # p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm") and p.adjust(c(0.0001, 0.6, 0.7, 0.02), "holm")
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.0001, 0.6, 0.7, 0.02]) == pytest.approx([0.0004, 1, 1, 0.06])


def test_holm_leaves_unknown_tests_out():
    adjusted = holm([0.01, np.nan, 0.02])
    assert adjusted[0] == pytest.approx(0.02)
    assert adjusted[2] == pytest.approx(0.02)
    assert np.isnan(adjusted[1])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_only_raises_and_keeps_the_order(p):
    adjusted = holm(p)
    assert all(a >= b or a == pytest.approx(b) for a, b in zip(adjusted, p, strict=True))
    order = np.argsort(p, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()


def test_p_value_of_hits_is_the_binomial_tail():
    hits = np.array([1.0, 1.0, 1.0, 0.0])
    assert p_value(hits, np.full(4, 0.1), np.random.default_rng(0), rate=True) == pytest.approx(
        4 * 0.1**3 * 0.9 + 0.1**4
    )


def test_p_value_of_differences_is_the_share_of_sign_flips():
    values = np.array([1.5, 2.5, 3.5, 1.2])
    assert p_value(values, np.ones(4), np.random.default_rng(0), rate=False) == pytest.approx(1 / 16)
    assert np.isnan(p_value(np.array([1.5]), np.ones(1), np.random.default_rng(0), rate=False))
    assert np.isnan(p_value(np.array([np.nan]), np.ones(1), np.random.default_rng(0), rate=True))


def test_auc_interval_is_that_of_hanley_and_mcneil_for_many_scores():
    a, m, n = 0.75, 4000, 4000
    q1, q2 = a / (2 - a), 2 * a * a / (1 + a)
    error = np.sqrt((a * (1 - a) + (m - 1) * (q1 - a * a) + (n - 1) * (q2 - a * a)) / (m * n))
    assert auc_interval(a, m, n) == pytest.approx((a - 1.96 * error, a + 1.96 * error), abs=1e-3)


def test_auc_interval_of_few_scores_covers_the_truth():
    draws = np.random.default_rng(0)
    truth, covered = stats.norm.cdf(1.5 / np.sqrt(2)), []
    for _ in range(400):
        request, quiet = draws.normal(1.5, 1, 10), draws.normal(0, 1, 15)
        low, high = auc_interval(float(np.mean(request[:, None] > quiet)), 10, 15)
        covered.append(low <= truth <= high)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.03)


def test_auc_interval_at_the_ends():
    assert auc_interval(1.0, 5, 10)[1] == 1
    assert 0.6 < auc_interval(1.0, 5, 10)[0] < 0.85
    assert auc_interval(0.0, 5, 10) == pytest.approx((0, 1 - auc_interval(1.0, 5, 10)[0]))
    assert np.isnan(auc_interval(np.nan, 5, 10)).all()
