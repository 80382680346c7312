"""The parts of the revival attacks: completion, signs, magnitudes, masks, fusion."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from fedunlearn.attacks.revival import magnitudes, masks, signs
from fedunlearn.attacks.revival.completion import RULES, column_filled, complete, observed_part, soft_impute
from fedunlearn.attacks.revival.fusion import completion_odds, noisy_slope, slope
from fedunlearn.observer.access import AccessRefused


def low_rank(seed, rows=40, columns=30, rank=2):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((rows, rank)) @ rng.standard_normal((rank, columns)), rng


def shrunk(matrix, tau):
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    return (left * np.maximum(values - tau, 0)) @ right


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), tau=st.floats(0.5, 20))
def test_soft_impute_ends_at_the_fixed_point_that_solves_the_convex_problem(seed, tau):
    matrix, rng = low_rank(seed, 12, 9)
    matrix += 0.3 * rng.standard_normal(matrix.shape)
    missing = rng.random(matrix.shape) < 0.3
    missing[:, 0] = False
    found = soft_impute(matrix, missing, tau, most=4000, tolerance=1e-12).matrix
    np.testing.assert_allclose(found, shrunk(np.where(missing, found, matrix), tau), atol=1e-6)

    def objective(z):
        return 0.5 * (((matrix - z) ** 2)[~missing]).sum() + tau * np.linalg.norm(z, ord="nuc")

    for _ in range(5):  # it is the minimum of a convex function: no step away from it is better
        assert objective(found) <= objective(found + 1e-2 * rng.standard_normal(found.shape)) + 1e-9


def test_without_missing_entries_one_shrinkage_is_the_closed_form():
    matrix, _ = low_rank(0)
    nothing = np.zeros(matrix.shape, bool)
    np.testing.assert_allclose(soft_impute(matrix, nothing, 2.0).matrix, shrunk(matrix, 2.0), atol=1e-12)


def test_a_low_rank_matrix_is_recovered():
    matrix, rng = low_rank(1, rank=1)
    missing = rng.random(matrix.shape) < 0.15
    found = soft_impute(matrix, missing, 0.05, most=1000, tolerance=1e-10).matrix
    assert np.abs(found - matrix)[missing].max() < 0.1
    assert (np.sign(complete(matrix, missing, "s1/3", rng).matrix) == np.sign(matrix))[missing].mean() > 0.95


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_completes_what_is_not_missing_whole(rule):
    matrix, rng = low_rank(2)
    matrix += 0.1 * rng.standard_normal(matrix.shape)
    missing = rng.random(matrix.shape) < 0.1
    missing[3], missing[:, 5] = True, True
    found = complete(matrix, missing, rule, np.random.default_rng(0))
    assert not found.matrix[3].any()
    assert not found.matrix[:, 5].any()
    assert found.matrix[missing & ~missing.all(axis=1, keepdims=True)].any()
    again = complete(matrix, missing, rule, np.random.default_rng(0))
    np.testing.assert_array_equal(found.matrix, again.matrix)


def test_the_path_finds_a_threshold_at_which_signs_return():
    matrix, rng = low_rank(3, 30, 25)
    matrix += 0.5 * rng.standard_normal(matrix.shape)
    missing = rng.random(matrix.shape) < 0.1
    right = {
        rule: (np.sign(complete(matrix, missing, rule, rng).matrix) == np.sign(matrix))[missing].mean()
        for rule in ("path", "smin")
    }
    assert right["path"] > 0.8 > right["smin"] - 0.2


def test_bad_masks_and_matrices_are_refused():
    matrix = np.arange(6.0).reshape(2, 3)
    with pytest.raises(ValueError, match=r"the mask is \[3, 2\], the matrix \[2, 3\]"):
        soft_impute(matrix, np.zeros((3, 2), bool), 1.0)
    with pytest.raises(ValueError, match=r"of rows \[1\] nothing is observed"):
        soft_impute(matrix, np.array([[False] * 3, [True] * 3]), 1.0)
    with pytest.raises(ValueError, match="all 3 singular values are 2"):
        soft_impute(2 * np.eye(3), np.zeros((3, 3), bool), 1.0)
    with pytest.raises(ValueError, match="of no row or column"):
        complete(matrix, np.ones((2, 3), bool), "s1/3", np.random.default_rng(0))


def test_missing_entries_start_at_their_columns_mean():
    matrix, missing = np.array([[1.0, 9.0], [3.0, 4.0]]), np.array([[False, True], [False, False]])
    np.testing.assert_array_equal(column_filled(matrix, missing), [[1, 4], [3, 4]])
    rows, columns = observed_part(np.array([[True, True], [True, False]]))
    assert (rows.tolist(), columns.tolist()) == ([1], [1])


def test_top_k_keeps_the_surest_of_the_missing_alone():
    recovered, missing = np.array([[5.0, -3.0, 1.0, -2.0]]), np.array([[False, True, True, True]])
    np.testing.assert_array_equal(signs.strongest(recovered, missing, 0.67), [[0, -3, 0, -2]])
    np.testing.assert_array_equal(signs.mean_signs(recovered, missing, axis=1), [[0, 5, 5, 5]])


def test_magnitudes_by_hand():
    matrix, missing = np.array([[3.0, -1.0, 0.0], [0.5, 0.5, 0.0]]), np.array([[False, False, True]] * 2)
    rng = lambda: np.random.default_rng(0)  # noqa: E731
    np.testing.assert_allclose(magnitudes.averaged(matrix, missing), [[2, 2, 2], [0.5, 0.5, 0.5]])
    drawn = np.abs(np.array([[1.0], [0.5]]) + np.array([[2.0], [0.0]]) * rng().standard_normal((2, 3)))
    np.testing.assert_allclose(magnitudes.sampled(matrix, missing, rng()), drawn)
    largest = np.array([[3.0], [0.5]]) * (1 + 1e-6)
    np.testing.assert_allclose(magnitudes.neuron_max(matrix, missing, rng()), np.maximum(drawn, largest))
    steps = magnitudes.quantised(matrix, missing, np.array([[0.0, 0.0, 1.0], [0.0, 0.0, -9.0]]))
    np.testing.assert_allclose(steps[:, 2], [2 * 3 / 7, 8 * 0.5 / 7])  # -9 is clamped to -8


def test_masks_tell_what_is_missing():
    rng = np.random.default_rng(0)
    matrix = {"w": rng.standard_normal((20, 30))}
    gone = rng.random((20, 30)) < 0.1
    pruned = {"w": np.where(gone, 0, matrix["w"])}
    np.testing.assert_array_equal(masks.exact_zeros(pruned)["w"], gone)
    kind, found = masks.difference(matrix, pruned)
    assert kind == "zeros"
    np.testing.assert_array_equal(found["w"], gone)
    filled = {"w": np.where(gone, 0.01 * rng.standard_normal(gone.shape), matrix["w"])}
    kind, found = masks.difference(matrix, filled)
    assert kind == "changes"
    np.testing.assert_array_equal(found["w"], gone)
    for told in (masks.smallest(filled, gone.mean()), masks.scaled(filled, gone.mean())):
        assert told["w"].sum() == gone.sum()
        assert (told["w"] & gone).sum() > 0.7 * gone.sum()
    by_fit = masks.mixture(filled, by_row=False)["w"]
    assert (by_fit & gone).sum() > 0.8 * gone.sum()
    assert (by_fit & gone).sum() > 0.8 * by_fit.sum()
    assert masks.described({"w": gone})["w"]["missing"] == gone.sum()


def test_noise_shows_by_its_share_even_where_no_weight_is_likelier_noise_than_not():
    rng = np.random.default_rng(0)
    gone = rng.random((200, 300)) < 0.05
    found = masks.mixture({"w": np.where(gone, 0.1, 1) * rng.standard_normal(gone.shape)}, by_row=False)["w"]
    assert found.mean() == pytest.approx(0.05, abs=0.01)  # at 0 the odds are 0.05 / 0.1 to 0.95: below one
    assert (found & gone).sum() > 0.3 * found.sum()


def test_where_nothing_was_pruned_masks_are_refused():
    matrix = {"w": np.random.default_rng(0).standard_normal((5, 6))}
    with pytest.raises(AccessRefused, match="no weight is exactly 0: nothing was pruned"):
        masks.exact_zeros(matrix)
    with pytest.raises(AccessRefused, match="nothing was pruned"):
        masks.difference(matrix, {"w": matrix["w"] + 1})
    with pytest.raises(AccessRefused, match="no weight matrices of this model"):
        masks.matrices(matrix, ["v"])


def test_the_slope_of_a_sign_is_found_with_and_without_noise():
    rng = np.random.default_rng(0)
    evidence = rng.standard_normal(20000)
    truth = rng.random(20000) < expit(1.5 * evidence)
    assert slope(evidence, truth.astype(float)) == pytest.approx(1.5, abs=0.1)
    other = np.where(truth ^ (rng.random(20000) < 0.2), 1, -1) * np.log(0.8 / 0.2)  # right four times out of five
    assert noisy_slope(evidence, other) == pytest.approx(min(1.5, np.log(4)), abs=0.12)
    assert noisy_slope(rng.standard_normal(20000), other) < 0.1  # what is unrelated weighs nothing


def test_log_odds_of_a_completion_are_calibrated_on_hidden_weights():
    matrix, rng = low_rank(5, 60, 50)
    missing = rng.random(matrix.shape) < 0.1
    odds = completion_odds(np.where(missing, 0, matrix), missing, "s1/3", rng)
    assert not odds[~missing].any()
    assert ((odds > 0) == (matrix > 0))[missing].mean() > 0.9
