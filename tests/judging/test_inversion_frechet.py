"""The Frechet distance against closed forms and other libraries' matrix roots."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from fedunlearn.errors import DataError
from fedunlearn.judging.inversion.frechet import frechet_distance


def sets(seed, columns=6):
    draws = np.random.default_rng(seed)
    mix = draws.standard_normal((columns, columns))
    return draws.standard_normal((40, columns)), 1 + draws.standard_normal((50, columns)) @ mix


@pytest.mark.parametrize("seed", range(3))
def test_equal_to_the_formula_with_scipys_matrix_root(seed):
    one, other = sets(seed)
    first, second = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    root = np.trace(sqrtm(first @ second).real)
    expected = np.square(one.mean(0) - other.mean(0)).sum() + np.trace(first) + np.trace(second) - 2 * root
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-9)


def test_equal_to_torchmetrics():
    import torch
    from torchmetrics.image.fid import _compute_fid

    one, other = sets(4)
    moments = [(side.mean(0), np.cov(side, rowvar=False)) for side in (one, other)]
    expected = _compute_fid(*(torch.from_numpy(moment) for pair in moments for moment in pair))
    assert frechet_distance(one, other) == pytest.approx(float(expected), rel=1e-6)


def test_in_one_dimension_means_and_deviations_tell_all():
    draws = np.random.default_rng(0)
    one, other = draws.normal(0, 1, (30, 1)), draws.normal(2, 3, (30, 1))
    expected = (one.mean() - other.mean()) ** 2 + (one.std(ddof=1) - other.std(ddof=1)) ** 2
    assert frechet_distance(one, other) == pytest.approx(expected)


def test_nothing_between_a_set_and_itself_and_a_shift_is_its_square():
    one, _ = sets(1)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(one, one + 3) == pytest.approx(6 * 9)


def test_a_feature_that_never_changes_does_no_harm():
    one, other = sets(2)
    dead = [np.column_stack([side, np.zeros(len(side))]) for side in (one, other)]
    assert frechet_distance(*dead) == pytest.approx(frechet_distance(one, other))


def test_more_features_than_half_the_samples_are_refused_with_the_numbers():
    one, other = sets(0)
    with pytest.raises(
        DataError, match="frechet-judge-cnn with 6 features needs at least 12 samples; there are 40 true and 11 claimed"
    ):
        frechet_distance(one, other[:11])
