"""Candidates of a membership question: the class label tells nothing."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2_contingency
from sklearn.metrics import roc_auc_score

from fedunlearn.judging.candidates import draw_candidates, places

MIX = st.lists(st.integers(0, 30), min_size=5, max_size=5)


def population(members, others):
    """Return member ids, other ids and the label of every id, for counts per class."""
    labels = np.concatenate([np.repeat(np.arange(5), members), np.repeat(np.arange(5), others)])
    ids = np.random.default_rng(0).permutation(len(labels))
    by_id = np.empty(len(labels), int)
    by_id[ids] = labels
    return np.sort(ids[: sum(members)]), np.sort(ids[sum(members) :]), by_id


def drawn(members, others, most, seed=0):
    forgotten, outside, labels = population(members, others)
    draws = np.random.default_rng(seed)
    ids, member = draw_candidates(forgotten, outside, labels[forgotten], labels[outside], most, draws)
    return ids, member, labels, forgotten, outside


@given(MIX, MIX, st.integers(2, 60), st.permutations(range(5)))
def test_the_class_label_alone_says_nothing(members, others, most, order):
    ids, member, labels, forgotten, outside = drawn(members, others, most)
    assert len(set(ids.tolist())) == len(ids)
    assert set(ids[member]) <= set(forgotten)
    assert set(ids[~member]) <= set(outside)
    assert Counter(labels[ids[member]]) == Counter(labels[ids[~member]])
    assert len(ids) == 2 * min(most // 2, sum(map(min, members, others)))
    if len(ids):  # whatever score a class gets
        assert roc_auc_score(member, np.array(order)[labels[ids]]) == pytest.approx(0.5)


def test_classes_occur_in_the_members_proportions():
    members = [400, 200, 100, 0, 50]
    counts = np.zeros(5, int)
    for seed in range(20):
        ids, member, labels, _, _ = drawn(members, [500] * 5, 100, seed)
        counts += np.bincount(labels[ids[member]], minlength=5)
    present = np.array(members) > 0
    assert (counts[~present] == 0).all()
    assert chi2_contingency([counts[present], np.array(members)[present]]).pvalue > 0.01


def test_a_class_without_others_is_left_out_and_does_not_cost_places():
    ids, member, labels, _, _ = drawn([100, 30, 0, 0, 0], [3, 50, 50, 0, 0], 40)
    assert len(ids) == 40
    assert np.bincount(labels[ids[member]])[0] <= 3


def test_decided_by_the_stream():
    one, again, other = (drawn([9] * 5, [9] * 5, 20, seed)[0].tolist() for seed in (1, 1, 2))
    assert one == again != other


@pytest.mark.parametrize("labels", [[], [3], [1, 1, 0, 1, 0]])
def test_places_count_what_stands_before(labels):
    assert places(np.array(labels, int)).tolist() == [labels[:i].count(label) for i, label in enumerate(labels)]
