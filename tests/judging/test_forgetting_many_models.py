"""KLoM, the competition's score and U-LiRA: what needs many models."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from sklearn.metrics import roc_auc_score

from fedunlearn.judging.forgetting.epsilon import (
    best_epsilons,
    competition_score,
    epsilons,
    forgetting_quality,
    sample_scores,
)
from fedunlearn.judging.forgetting.klom import klom
from fedunlearn.judging.forgetting.likelihood import log_ratios, u_lira

MARGINS = arrays(np.float64, st.tuples(st.integers(3, 8), st.integers(1, 3)), elements=st.floats(-20, 20))


def column(*values):
    return np.array(values, float)[:, None]


def normal(seed, models=40, samples=25, shift=0.0):
    return np.random.default_rng(seed).normal(shift, 1, (models, samples))


@pytest.mark.parametrize(
    ("unlearned", "retrained", "expected"),
    [
        (column(*[0] * 99, 1), column(*[0] * 100), 0.0591),  # the largest value must be counted
        (column(*[1] * 100), column(*[0] * 100), 11.5129),
        (column(*[0] * 100), column(*[0] * 100), 0),
        (column(*[500] * 10), column(*[100] * 10), 0),  # both are cut
        (column(0, 1), column(0, 0.04), 0.5 * np.log(0.5) + 0.5 * np.log(0.5e5)),  # 0.04 is in the first bin
    ],
)
def test_klom_of_known_histograms(unlearned, retrained, expected):
    assert klom(unlearned, retrained) == pytest.approx(expected, abs=1e-4)


@given(MARGINS)
def test_klom_of_equal_models_is_nothing_and_never_negative(margins):
    np.testing.assert_array_equal(klom(margins, margins), 0)
    both = klom(margins, margins[::-1] * 0.5)
    assert ((both >= -1e-9) & (both <= np.log(1e5) + 1e-9)).all()


def test_klom_counts_as_numpys_histogram_does():
    own, other = normal(0, 50, 1)[:, 0], normal(1, 60, 1, shift=0.5)[:, 0]
    edges = np.histogram_bin_edges(np.concatenate([own, other]), 20)
    p, q = (np.histogram(values, edges)[0] / len(values) for values in (own, other))
    expected = sum(a * np.log(a / max(b, 1e-5)) for a, b in zip(p, q, strict=True) if a)
    assert klom(own[:, None], other[:, None]) == pytest.approx(expected)


def test_klom_falls_with_the_number_of_models_that_are_alike():
    assert klom(normal(0, 400), normal(1, 400)).mean() < klom(normal(0, 20), normal(1, 20)).mean() / 4


def test_an_unknown_margin_is_an_unknown_divergence():
    found = klom(np.array([[np.nan, 0.0], [1, 1]]), np.zeros((2, 2)))
    assert np.isnan(found).tolist() == [True, False]


def test_epsilons_of_known_error_rates():
    rates = np.array([[0.1, 0.1], [0.05, 0.2], [0.2, 0.05], [0, 0], [0, 0.5], [0.5, 0], [1, 0], [1, 1], [0.6, 0.6]])
    expected = [2.1972, 2.7726, 2.7726, 50, 0, 0, 0, 0, 0]
    np.testing.assert_allclose(epsilons(*rates.T), expected, atol=1e-4)


def brute_epsilon(unlearned, retrained):
    """Try thresholds on a fine grid, one by one: single ones with either side, bands for the narrower kind."""
    narrow, wide = (unlearned, retrained) if np.ptp(unlearned) <= np.ptp(retrained) else (retrained, unlearned)
    grid = np.arange(-3, 14, 0.5)
    best = 0.0
    for low in grid:
        above = [(kind >= low).mean() for kind in (unlearned, retrained)]
        best = max(best, *(float(epsilons(a, 1 - b)) for a, b in (above, above[::-1])))
        for high in grid[(grid > low) & (abs(low - narrow.min()) <= 2)]:
            if abs(high - narrow.max()) <= 2:
                inside = [((kind >= low) & (kind < high)).mean() for kind in (narrow, wide)]
                best = max(best, float(epsilons(inside[1], 1 - inside[0])))
    return best


@given(arrays(np.float64, (2, 6), elements=st.integers(0, 10).map(float)))
def test_the_best_of_all_tests_by_one_threshold_or_a_band(margins):
    assert best_epsilons(margins[:1].T, margins[1:].T) == pytest.approx(brute_epsilon(*margins))


def test_a_band_finds_what_one_threshold_does_not():
    middle, ends = column(4, 5, 6, 5, 1), column(1, 9, 2, 8, 5)
    for one, other in ((middle, ends), (ends, middle)):
        assert best_epsilons(one, other) == pytest.approx(np.log(0.8 - 1e-5) - np.log(0.2))


def test_models_that_are_all_the_same_are_told_from_models_that_differ():
    assert best_epsilons(column(3, 3, 3), column(1, 2, 5)) == 50


def test_scores_have_fourteen_buckets_with_512_models():
    found = np.array([0, 0.49, 0.5, 1.0, 6.99, 7.0, 50])
    np.testing.assert_array_equal(sample_scores(found, 512), [1, 1, 0.5, 0.25, 2.0**-13, 0, 0])
    assert len(set(sample_scores(np.arange(0, 20, 0.1), 512)) - {0}) == 14
    assert np.isnan(sample_scores(found, 2)).all()


@given(MARGINS)
def test_the_score_of_equal_models_is_one(margins):
    np.testing.assert_array_equal(best_epsilons(margins, margins), np.minimum(best_epsilons(margins, margins), 1e-4))
    assert forgetting_quality(margins, margins) == 1


def test_models_that_are_told_apart_score_nothing():
    assert forgetting_quality(normal(0), normal(1, shift=100)) == 0
    alike = forgetting_quality(normal(0), normal(1))
    assert forgetting_quality(normal(0), normal(1, shift=2)) < alike / 2
    assert 0 < alike < 0.5  # the best of many tests always finds something: retrained models set the standard
    assert np.isnan(forgetting_quality(np.zeros((5, 0)), np.zeros((5, 0))))


def test_the_final_score_counts_what_is_left_of_the_model():
    assert competition_score(0.5, (0.9, 1.0), (0.6, 0.8)) == pytest.approx(0.5 * 0.9 * 0.75)
    assert competition_score(1.0, (0.7, 0.7), (0.6, 0.6)) == 1
    assert np.isnan(competition_score(1.0, (0.7, 0.0), (0.6, 0.6)))


def test_likelihood_ratios_are_scipys():
    target, own, other = normal(0, 1)[0], normal(1), normal(2, shift=1)
    expected = [
        stats.norm(a.mean(), a.std(ddof=1)).logpdf(x) - stats.norm(b.mean(), b.std(ddof=1)).logpdf(x)
        for x, a, b in zip(target, own.T, other.T, strict=True)
    ]
    np.testing.assert_allclose(log_ratios(target, own, other, pooled=False), expected)
    a, b = np.sqrt(own.var(0, ddof=1).mean()), np.sqrt(other.var(0, ddof=1).mean())
    expected = stats.norm(own.mean(0), a).logpdf(target) - stats.norm(other.mean(0), b).logpdf(target)
    np.testing.assert_allclose(log_ratios(target, own, other, pooled=True), expected)


@given(MARGINS, st.booleans())
def test_equal_models_cannot_be_told_apart(margins, pooled):
    assert u_lira(margins, margins, pooled=pooled)[0] == 0.5


@pytest.mark.parametrize("pooled", [True, False])
def test_models_from_one_distribution_cannot_be_told_apart(pooled):
    areas = [u_lira(normal([seed, 0], 12, 40), normal([seed, 1], 12, 40), pooled=pooled)[0] for seed in range(20)]
    error = np.std(areas, ddof=1) / np.sqrt(len(areas))
    assert abs(np.mean(areas) - 0.5) < 3 * error
    assert error < 0.01


def test_with_known_distributions_the_area_is_the_closed_form():
    area, found = u_lira(normal(0, 64, 200, shift=1.0), normal(1, 64, 200), pooled=True)
    assert area == pytest.approx(stats.norm.cdf(1 / np.sqrt(2)), abs=0.01)
    assert found == pytest.approx(stats.norm.sf(stats.norm.isf(0.01) - 1), abs=0.02)


def test_the_likelihood_finds_what_no_threshold_on_the_margin_does():
    """Half the samples rise and half fall when they are unlearned."""
    shift = np.where(np.arange(100) % 2, 3.0, -3.0)
    unlearned, retrained = normal(0, 10, 100) + shift, normal(1, 10, 100)
    truth = np.repeat([1, 0], unlearned.size)
    plain = roc_auc_score(truth, np.concatenate([unlearned.ravel(), retrained.ravel()]))
    assert plain == pytest.approx(0.5, abs=0.05)
    assert u_lira(unlearned, retrained, pooled=True)[0] > 0.97


def test_a_target_is_not_among_its_own_shadows():
    """With the target among the shadows, every model would look like its own kind."""
    assert u_lira(normal(0, 3, 300), normal(1, 3, 300), pooled=True)[0] == pytest.approx(0.5, abs=0.05)


def test_too_few_models_are_undefined_and_models_without_a_partner_are_refused():
    assert np.isnan(u_lira(normal(0, 2), normal(1, 2), pooled=True)).all()
    assert np.isnan(u_lira(np.zeros((5, 0)), np.zeros((5, 0)), pooled=True)).all()
    with pytest.raises(ValueError, match="do not pair"):
        u_lira(normal(0, 4), normal(1, 5), pooled=True)
