"""Means over classes, lists of samples at risk, and which private samples are looked at."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from fedunlearn.judging.inversion.over_classes import mean_over_classes
from fedunlearn.judging.inversion.private import choose_private, stand_ins
from fedunlearn.judging.inversion.vulnerability import closeness, rank_correlation, rank_interval, top_precision


def draws(seed=0):
    return np.random.default_rng(seed)


def test_every_class_counts_alike_or_every_sample():
    values, labels = np.array([1.0, 1, 1, 0]), np.array([0, 0, 0, 1])
    by_class, per_class = mean_over_classes(values, labels, draws())
    pooled, _ = mean_over_classes(values, labels, draws(), pooled=True)
    assert (by_class.value, pooled.value, by_class.n) == (0.5, 0.75, 4)
    assert per_class == {0: 1.0, 1: 0.0}
    assert by_class.ci == (0.0, 1.0)


def test_what_could_not_be_measured_is_left_out_and_a_single_class_has_no_interval():
    values, labels = np.array([1.0, np.nan, np.nan]), np.array([0, 0, 1])
    found, per_class = mean_over_classes(values, labels, draws())
    assert (found.value, found.n) == (1.0, 1)
    assert np.isnan(found.ci).all()
    assert per_class == {0: 1.0, 1: None}
    unknown, _ = mean_over_classes(values[1:], labels[1:], draws())
    assert (np.isnan(unknown.value), unknown.n) == (True, 0)


def test_intervals_draw_classes_and_not_samples():
    """Twenty people with five pictures each, all alike in one person: twenty observations, not a hundred."""
    people = draws(1).random(20)
    labels = np.repeat(np.arange(20), 5)
    few, _ = mean_over_classes(people[labels], labels, draws())
    single, _ = mean_over_classes(people, np.arange(20), draws())
    assert few.ci == pytest.approx(single.ci)
    assert few.ci[1] - few.ci[0] == pytest.approx(2 * 1.96 * people.std() / 20**0.5, rel=0.1)


@pytest.mark.parametrize("slope", [0, 1, -1])
def test_the_rank_correlation_is_scipys_and_its_interval_holds_it(slope):
    true = draws(0).random(80).round(1)  # with ties
    claimed = slope * true + 0.3 * draws(1).random(80)
    value, (low, high) = rank_correlation(claimed, true), rank_interval(claimed, true, draws(2))
    assert value == pytest.approx(spearmanr(claimed, true).statistic)
    assert low < value < high
    assert (low < 0 < high) == (slope == 0)


def test_a_list_without_differences_says_nothing():
    constant = np.ones(9)
    for pair in ((constant, np.arange(9.0)), (np.arange(9.0), constant), (np.full(9, np.nan), np.arange(9.0))):
        assert np.isnan([rank_correlation(*pair), top_precision(*pair), *rank_interval(*pair, draws())]).all()


def test_the_top_tenth():
    true = np.arange(40.0)
    assert top_precision(true, true) == 1
    assert top_precision(-true, true) == 0
    half = true.copy()
    half[[38, 39]] = -1  # two of the four most at risk are not listed
    assert top_precision(half, true) == 0.5


def test_closeness_is_one_at_the_mean_and_1_over_e_at_the_median_distance():
    features, labels = np.array([[0.0], [1], [2], [3], [4], [9], [9]]), np.array([0, 0, 0, 0, 0, 1, 1])
    scores = closeness(features, labels)
    np.testing.assert_allclose(scores[:5], np.exp([-2, -1, 0, -1, -2]))
    assert scores[5:].tolist() == [1, 1]


def test_private_samples_of_large_classes_are_thinned_out_evenly():
    members, labels = np.arange(1000), np.repeat([0, 1], [900, 100])
    chosen = choose_private(members, labels, np.empty(0, int), most=150)
    assert np.bincount(labels[chosen]).tolist() == [150, 100]
    assert set(np.diff(chosen[:150])) == {6}
    np.testing.assert_array_equal(chosen, choose_private(members, labels, np.empty(0, int), most=150))


def test_of_a_class_that_is_forgotten_in_part_both_kinds_are_seen():
    members, labels = np.arange(1000), np.zeros(1000, int)
    few = choose_private(members, labels, np.arange(20), most=100)
    assert (len(few), (few < 20).sum()) == (100, 20)
    most = choose_private(members, labels, np.arange(950), most=100)
    assert (len(most), (most < 950).sum()) == (100, 50)
    whole = choose_private(members, labels, members, most=100)
    assert len(whole) == 100


def test_fresh_samples_stand_in_for_as_many_pictures_of_each_class():
    fresh, labels = np.array([7, 8, 9, 10]), np.array([0, 1, 0, 0])
    assert stand_ins(fresh, labels, np.array([0, 1, 0, 1, 2])).tolist() == [7, 9, 8]
