"""Forgotten classes: published test values, chance levels and ties."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedunlearn.judging import classes
from fedunlearn.judging.baselines import class_chance, nobody_forgotten, reciprocal_rank_chance

SETS = st.frozensets(st.integers(0, 9))


def test_reference_example():
    forgotten, named = {0, 1, 2}, {0, 1, 5}
    assert classes.mcc(named, forgotten, 10) == pytest.approx(0.5238, abs=5e-5)
    assert classes.balanced_accuracy(named, forgotten, 10) == pytest.approx(0.7619, abs=5e-5)
    assert classes.jaccard(named, forgotten, 10) == 0.5
    assert classes.exact_set(named, forgotten) == 0
    assert classes.per_class_accuracy(named, forgotten, 10) == pytest.approx(0.8)


@given(SETS, SETS)
def test_measures_agree_with_their_formulas(named, forgotten):
    tp, fp, fn = len(named & forgotten), len(named - forgotten), len(forgotten - named)
    tn = 10 - tp - fp - fn
    product = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    assert classes.mcc(named, forgotten, 10) == pytest.approx((tp * tn - fp * fn) / product**0.5 if product else 0)
    union = tp + fp + fn
    assert classes.jaccard(named, forgotten, 10) == pytest.approx(tp / union if union else 1)
    assert classes.per_class_accuracy(named, forgotten, 10) == pytest.approx((tp + tn) / 10)
    balanced = classes.balanced_accuracy(named, forgotten, 10)
    if 0 < len(forgotten) < 10:
        assert balanced == pytest.approx((tp / (tp + fn) + tn / (tn + fp)) / 2)
    else:
        assert np.isnan(balanced)


def test_constant_scores_get_the_chance_level():
    scores = np.zeros(10)
    assert classes.top_1(scores, {0}) == pytest.approx(0.1)
    assert classes.top_1(scores, {3, 7}) == pytest.approx(0.2)
    assert classes.mrr(scores, {0}) == pytest.approx(0.2929, abs=5e-5)
    assert classes.class_auc(scores, {0, 4}) == 0.5


def test_ties_share_the_credit_with_the_winners_only():
    scores = np.array([1.0, 5.0, 5.0, 0.0])
    assert classes.top_1(scores, {1}) == 0.5
    assert classes.top_1(scores, {1, 2}) == 1
    assert classes.top_1(scores, {0}) == 0
    assert classes.mrr(scores, {1}) == pytest.approx((1 + 1 / 2) / 2)
    assert classes.mrr(scores, {0}) == pytest.approx(1 / 3)


def test_ranking_measures_of_a_perfect_and_of_a_worst_ranking():
    scores = np.arange(10.0)
    assert (classes.top_1(scores, {9}), classes.mrr(scores, {9}), classes.class_auc(scores, {8, 9})) == (1, 1, 1)
    assert (classes.top_1(scores, {0}), classes.mrr(scores, {0}), classes.class_auc(scores, {0})) == (0, 0.1, 0)
    assert classes.class_auc(np.array([0, 1, np.inf, -np.inf]), {2}) == 1


def test_a_failed_score_is_nan_and_never_zero():
    scores = np.array([0.0, np.nan, 1.0])
    assert all(np.isnan(measure(scores, {0})) for measure in (classes.top_1, classes.mrr, classes.class_auc))
    assert np.isnan(classes.top_1(np.ones(3), ()))


def test_alarm_counts_any_name():
    assert (classes.alarm(()), classes.alarm((3,)), classes.false_alarm((1, 2))) == (0, 1, 1)


@pytest.mark.parametrize(
    ("k", "retained", "per_class", "exact", "jaccard"),
    [(1, 0.9, 0.82, 0.1, 0.1), (2, 0.8, 0.68, 0.0222, 0.141), (3, 0.7, 0.58, 0.0083, 0.201)],
)
def test_chance_table_for_ten_classes(k, retained, per_class, exact, jaccard):
    chance = class_chance(10, k)
    assert nobody_forgotten(10, k)["per-class-accuracy"] == pytest.approx(retained)
    assert nobody_forgotten(10, k)["balanced-accuracy"] == 0.5
    assert nobody_forgotten(10, k)["mcc"] == 0
    assert chance["per-class-accuracy"] == pytest.approx(per_class)
    assert chance["exact-set"] == pytest.approx(exact, abs=5e-5)
    assert chance["jaccard"] == pytest.approx(jaccard, abs=5e-4)


@given(st.integers(2, 6), st.data())
def test_chance_is_the_mean_over_all_sets_of_that_size(num_classes, data):
    k = data.draw(st.integers(1, num_classes - 1))
    forgotten = set(range(k))
    guesses = [set(guess) for guess in combinations(range(num_classes), k)]
    chance = class_chance(num_classes, k)
    for name, measure in {
        "jaccard": classes.jaccard,
        "mcc": classes.mcc,
        "balanced-accuracy": classes.balanced_accuracy,
        "per-class-accuracy": classes.per_class_accuracy,
    }.items():
        mean = np.mean([measure(guess, forgotten, num_classes) for guess in guesses])
        assert chance[name] == pytest.approx(mean, abs=1e-9), name
    assert chance["exact-set"] == pytest.approx(1 / len(guesses))


@pytest.mark.parametrize(("rate", "expected"), [(0.95, 0.99), (0.0, 0.8), (0.1, 0.82)])
def test_naming_one_class_flatters_per_class_accuracy(rate, expected):
    hit, miss = (classes.per_class_accuracy({guess}, {0}, 10) for guess in (0, 5))
    assert rate * hit + (1 - rate) * miss == pytest.approx(expected)
    assert 1 - 2 * (1 - rate) / 10 == pytest.approx(expected)


def test_reciprocal_rank_chance():
    assert reciprocal_rank_chance(10) == pytest.approx(0.2929, abs=5e-5)
    assert reciprocal_rank_chance(100) == pytest.approx(0.0519, abs=5e-5)
    ranks = [classes.mrr(np.random.default_rng(seed).permutation(10).astype(float), {4}) for seed in range(4000)]
    assert np.mean(ranks) == pytest.approx(reciprocal_rank_chance(10), abs=0.015)
