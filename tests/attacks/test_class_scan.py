"""What the attacks on streams share: candidate rounds, what is said on the way, and the tests between rounds."""

from types import SimpleNamespace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fedunlearn.attacks.forgotten_class.fuia import row_changes
from fedunlearn.attacks.forgotten_class.head_moves import fell, push_down
from fedunlearn.attacks.forgotten_class.streams import StreamSettings, follow, later_half
from fedunlearn.attacks.forgotten_class.ulia import excess
from fedunlearn.attacks.forgotten_class.windows import Evidence, drop_beyond_drift, larger_drop, paired_drop


@given(st.permutations(range(6)), st.integers(0, 10**6))
def test_renumbering_the_classes_renumbers_the_evidence(order, seed):
    rng, order = np.random.default_rng(seed), np.array(order)
    move, own = ({"head.weight": rng.normal(size=(6, 4)), "head.bias": rng.normal(size=6)} for _ in range(2))
    turned, turned_own = ({name: part[order] for name, part in one.items()} for one in (move, own))
    for statistic in (push_down, fell):
        np.testing.assert_array_equal(statistic(turned), statistic(move)[order])
    np.testing.assert_allclose(row_changes(turned, turned_own, 0.3).scores, row_changes(move, own, 0.3).scores[order])
    np.testing.assert_allclose(excess(turned, turned_own), excess(move, own)[order])
    before, after = list(rng.random((5, 6))), list(rng.random((3, 6)))
    for test in (larger_drop, paired_drop):
        found, turned_found = (
            test(before[:3], after),
            test([row[order] for row in before[:3]], [r[order] for r in after]),
        )
        np.testing.assert_allclose(turned_found.p_values, found.p_values[order])


class Watch:
    """A view that only counts rounds."""

    def __init__(self, rounds, request=None):
        self.num_rounds, self.request_round = rounds, request
        self.flags = frozenset() if request is None else frozenset({"request-round"})


@given(st.integers(4, 25), st.integers(1, 8), st.integers(0, 10**6))
def test_the_scan_believes_the_strongest_of_all_candidates(rounds, window, seed):
    strengths = np.random.default_rng(seed).random((rounds + 1, rounds + 1, 3))

    def compare(split, last):
        return Evidence(strengths[split, last], strengths[split, last])

    def name(evidence, tries):
        assert tries == rounds - 3
        return (int(evidence.p_values.argmin()),)

    facts = SimpleNamespace(num_classes=3)
    finding = follow(Watch(rounds), facts, StreamSettings(window=window), compare, name, np.random.default_rng(0), {})
    for entry in finding.said:
        tried = {split: strengths[split, min(split + window, entry.round)] for split in range(3, entry.round)}
        if not tried:
            assert entry.named == ()
            continue
        best = min(tried, key=lambda split: tried[split].min())
        np.testing.assert_array_equal(entry.scores, tried[best])
    assert finding.notes["request-round"] == best


def test_who_knows_the_round_tells_of_earlier_ones_what_the_test_would_have_said():
    asked = []

    def compare(split, last):
        asked.append((split, last))
        return Evidence(np.zeros(2), np.ones(2))

    follow(
        Watch(8, 5), SimpleNamespace(num_classes=2), StreamSettings(window=2), compare, lambda *_: (),
        np.random.default_rng(0), {},
    )  # fmt: skip
    assert asked == [(3, 4), (4, 5), (5, 6), (5, 7), (5, 7)]


def test_early_rounds_are_left_out_of_the_comparison():
    assert [list(later_half(split, 50)) for split in (2, 3, 4, 8)] == [[1, 2], [1, 2, 3], [2, 3, 4], [5, 6, 7, 8]]
    assert list(later_half(100, 5)) == [96, 97, 98, 99, 100]


def test_a_drift_that_goes_on_is_no_request():
    rng = np.random.default_rng(0)
    drift = -0.01 * np.arange(12)[:, None] * np.ones(5) + 1e-4 * rng.normal(size=(12, 5))
    before, after = list(drift[:9]), list(drift[9:])
    assert larger_drop(before, after).p_values.max() < 0.01
    assert drop_beyond_drift(before, after).p_values.min() > 0.01
    sudden = [row - 0.1 * (np.arange(5) == 2) for row in after]
    assert drop_beyond_drift(before, sudden).p_values.argmin() == 2
    assert drop_beyond_drift(before, sudden).p_values.min() < 1e-4


def test_one_round_beyond_a_line_is_predicted_as_by_regression():
    rng = np.random.default_rng(1)
    before, after = list(rng.normal(size=(8, 3))), [rng.normal(size=3) - 5]
    design = np.column_stack([np.ones(8), np.arange(8.0)])
    inverse, at = np.linalg.inv(design.T @ design), np.array([1.0, 8.0])
    for label in range(3):
        line = np.polynomial.Polynomial.fit(np.arange(8.0), [row[label] for row in before], 1)
        rest = np.array([row[label] for row in before]) - line(np.arange(8.0))
        error = np.sqrt(rest @ rest / 6 * (1 + at @ inverse @ at))
        expected = stats.t.sf((line(8.0) - after[0][label]) / error, 6)
        plain = larger_drop(before, after).p_values[label]
        np.testing.assert_allclose(drop_beyond_drift(before, after).p_values[label], max(expected, plain), rtol=1e-6)


def test_pairs_of_rounds_are_compared_across_classes():
    before = [np.full(8, 0.125) + 0.001 * np.arange(8)] * 2
    after = [row - 0.1 * (np.arange(8) == 5) for row in before]
    assert paired_drop(before, after).p_values.argmin() == 5
    assert paired_drop([np.ones(4)], [np.zeros(4)]).p_values.tolist() == [1] * 4
