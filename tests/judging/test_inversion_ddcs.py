"""The surrogate score per private sample: what it must do, whatever the samples are."""

import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedunlearn.errors import DataError
from fedunlearn.judging.inversion import ddcs_surrogate as module
from fedunlearn.judging.inversion.ddcs_surrogate import ddcs_surrogate, gini, vulnerable_share

SIZES = st.tuples(st.integers(0, 10_000), st.integers(6, 30), st.integers(1, 30), st.integers(2, 8))
quick = settings(max_examples=30, deadline=None)


def drawn(sizes):
    seed, n, m, columns = sizes
    draws = np.random.default_rng(seed)
    return draws, draws.standard_normal((n, columns)), draws.standard_normal((m, columns))


def test_it_says_that_it_is_not_the_published_score():
    assert "THIS IS NOT DDCS" in inspect.getdoc(module)
    assert "not the published DDCS" in inspect.getdoc(ddcs_surrogate)


@quick
@given(SIZES)
def test_the_samples_themselves_score_exactly_1(sizes):
    _, true, _ = drawn(sizes)
    assert (ddcs_surrogate(true, true) == 1).all()


@quick
@given(SIZES)
def test_one_picture_over_and_over_scores_at_most_1_nth_and_with_jitter_2(sizes):
    draws, true, claimed = drawn(sizes)
    same = np.repeat(claimed[:1], 50, axis=0)
    assert ddcs_surrogate(true, same).mean() <= 1 / len(true)
    jitter = same + 1e-6 * draws.standard_normal(same.shape)
    assert ddcs_surrogate(true, jitter).mean() <= 2 / len(true)


@quick
@given(SIZES)
def test_scores_lie_between_0_and_1_and_far_junk_changes_none(sizes):
    draws, true, claimed = drawn(sizes)
    scores = ddcs_surrogate(true, claimed)
    assert ((scores >= 0) & (scores <= 1)).all()
    junk = 1e3 + draws.standard_normal((7, true.shape[1]))
    np.testing.assert_allclose(ddcs_surrogate(true, np.concatenate([claimed, junk])), scores, rtol=1e-12)


@quick
@given(SIZES, st.floats(0.01, 100))
def test_order_isometries_and_scale_do_not_matter(sizes, scale):
    draws, true, claimed = drawn(sizes)
    scores = ddcs_surrogate(true, claimed)
    one, other = draws.permutation(len(true)), draws.permutation(len(claimed))
    np.testing.assert_allclose(ddcs_surrogate(true[one], claimed[other]), scores[one], rtol=1e-12)
    turn, _ = np.linalg.qr(draws.standard_normal((true.shape[1],) * 2))
    moved = [scale * (side @ turn + 5) for side in (true, claimed)]
    np.testing.assert_allclose(ddcs_surrogate(*moved), scores, rtol=1e-6)


@quick
@given(st.integers(0, 1000), st.floats(0.01, 1), st.floats(1.05, 2))
def test_a_picture_that_moves_away_lowers_the_score_of_its_sample(seed, distance, factor):
    """Samples on a wide grid keep their pictures, and stay told apart."""
    true = 10 * np.stack(np.meshgrid(np.arange(3), np.arange(3)), axis=-1).reshape(-1, 2).astype(float)
    direction = np.random.default_rng(seed).standard_normal(true.shape)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    near, far = (ddcs_surrogate(true, true + step * direction) for step in (distance, factor * distance))
    assert (far < near).all()
    moved = true + distance * direction
    moved[4] += (factor - 1) * distance * direction[4]
    changed = ddcs_surrogate(true, moved) != near
    assert changed.tolist() == (np.arange(9) == 4).tolist()


def test_the_more_noise_the_less():
    draws = np.random.default_rng(0)
    true, noise = draws.standard_normal((100, 16)), draws.standard_normal((100, 16))
    scores = [float(ddcs_surrogate(true, true + level * noise, k=5).mean()) for level in (0.1, 0.5, 1, 2)]
    assert scores == pytest.approx([0.91, 0.615, 0.255, 0.04], abs=0.035)


def test_nothing_claimed_is_unknown_and_not_0():
    scores = ddcs_surrogate(np.eye(5), np.empty((0, 5)))
    assert np.isnan(scores).all()
    assert np.isnan(vulnerable_share(scores)).all()


def test_a_mean_picture_with_jitter_is_no_match_for_fresh_samples():
    draws = np.random.default_rng(1)
    true, fresh = draws.standard_normal((100, 16)), draws.standard_normal((100, 16))
    blurred = true.mean(axis=0) + 1e-3 * draws.standard_normal((100, 16))
    assert ddcs_surrogate(true, blurred).mean() < 0.02
    assert 0.15 < ddcs_surrogate(true, fresh).mean() < 0.3


def test_it_grows_with_the_number_of_pictures():
    draws = np.random.default_rng(2)
    true, fresh = draws.standard_normal((100, 16)), draws.standard_normal((1000, 16))
    assert ddcs_surrogate(true, fresh).mean() > 1.5 * ddcs_surrogate(true, fresh[:100]).mean()


def test_samples_that_occur_several_times_give_no_warning():
    same = np.ones((6, 3))
    assert (ddcs_surrogate(same, same[:1]) == 1).all()
    assert (ddcs_surrogate(same, 2 * same[:1]) == 0).all()


def test_a_class_of_k_samples_is_refused():
    with pytest.raises(DataError, match="k = 3 needs at least 4 samples of a class; there are 3"):
        ddcs_surrogate(np.eye(3), np.eye(3))


def test_how_unequal_scores_are():
    assert gini(np.full(10, 0.3)) == pytest.approx(0)
    assert gini(np.eye(10)[0]) == pytest.approx(0.9)
    assert gini(np.arange(5.0)) == gini(np.arange(5.0)[::-1])
    assert vulnerable_share(np.array([0.3, 0.4])).tolist() == [0, 1]
