"""Membership scores: closed forms, sklearn, and the resampled intervals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fedunlearn.judging import membership


def sample(seed: int, members: int, others: int, shift: float) -> tuple[np.ndarray, np.ndarray]:
    draws = np.random.default_rng(seed)
    scores = np.concatenate([draws.normal(shift, 1, members), draws.normal(0, 1, others)])
    return scores, np.arange(members + others) < members


@given(st.lists(st.integers(0, 5), min_size=1, max_size=15), st.lists(st.integers(0, 5), min_size=1, max_size=15))
def test_auc_is_how_often_a_member_wins(members, others):
    wins = [(m > o) + (m == o) / 2 for m in members for o in others]
    scores = np.array(members + others, float)
    member = np.arange(len(scores)) < len(members)
    assert membership.auc(scores, member) == pytest.approx(np.mean(wins))
    statistic = stats.mannwhitneyu(members, others).statistic
    assert membership.auc(scores, member) == pytest.approx(statistic / len(wins))


def test_auc_of_shifted_normals_is_the_closed_form():
    scores, member = sample(0, 4000, 4000, 1.0)
    assert membership.auc(scores, member) == pytest.approx(stats.norm.cdf(1 / np.sqrt(2)), abs=0.01)
    expected = stats.norm.sf(stats.norm.isf(0.1) - 1.0)
    assert membership.tpr_at_10_fpr(scores, member) == pytest.approx(expected, abs=0.03)
    assert membership.best_balanced_accuracy(scores, member) == pytest.approx(stats.norm.cdf(0.5), abs=0.01)


def test_true_positives_at_a_false_positive_level():
    scores = np.array([9, 8, 7, 3, 6, 5, 4, 2, 1, 0], float)  # four members, then six others
    member = np.arange(10) < 4
    assert membership.tpr_at_1_fpr(scores, member) == 0.75
    assert membership.tpr_at_fpr(scores, member, 0.5) == 1
    assert membership.best_balanced_accuracy(scores, member) == pytest.approx((1 + 0.75) / 2)


def test_constant_scores_know_nothing():
    scores, member = np.zeros(20), np.arange(20) < 10
    assert membership.auc(scores, member) == 0.5
    assert membership.tpr_at_10_fpr(scores, member) == 0
    assert membership.best_balanced_accuracy(scores, member) == 0.5


def test_questions_without_an_answer_are_nan():
    failed = np.array([0.0, np.nan])
    assert np.isnan(membership.auc(failed, np.array([True, False])))
    assert np.isnan(membership.auc(np.zeros(3), np.ones(3, bool)))
    unknown = membership.intervals(np.zeros(3), np.ones(3, bool), np.random.default_rng(0))
    assert np.isnan([end for ends in unknown.values() for end in ends]).all()


def test_intervals_hold_the_estimate_and_have_the_known_width():
    scores, member = sample(1, 200, 300, 1.0)
    found = membership.intervals(scores, member, np.random.default_rng(0))
    for name, measure in {"auc": membership.auc, "tpr-at-10-fpr": membership.tpr_at_10_fpr}.items():
        assert found[name][0] <= measure(scores, member) <= found[name][1]
    a = membership.auc(scores, member)  # Hanley and McNeil 1982
    q1, q2 = a / (2 - a), 2 * a * a / (1 + a)
    error = np.sqrt((a * (1 - a) + 199 * (q1 - a * a) + 299 * (q2 - a * a)) / (200 * 300))
    assert found["auc"][1] - found["auc"][0] == pytest.approx(2 * 1.96 * error, rel=0.15)
    assert found["best-balanced-accuracy"][0] > 0.6


def test_resampling_in_blocks_changes_nothing_but_memory(monkeypatch):
    scores, member = sample(2, 30, 30, 0.5)
    whole = membership.intervals(scores, member, np.random.default_rng(0))
    monkeypatch.setattr(membership, "_CHUNK", 1000)
    blocks = membership.intervals(scores, member, np.random.default_rng(0))
    assert blocks["auc"] == pytest.approx(whole["auc"], abs=0.02)


def test_same_stream_same_interval():
    scores, member = sample(3, 40, 40, 0.5)
    first, second = (membership.intervals(scores, member, np.random.default_rng(5)) for _ in range(2))
    assert first == second
