"""Label counts: the measures, and the constant guess that they have to be read against."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fedunlearn.judging.baselines import label_chance, uniform_guess
from fedunlearn.judging.labels import exact, irec, le_acc, ln_acc

COUNTS = arrays.arrays(np.int64, st.integers(2, 12), elements=st.integers(0, 9)).filter(lambda counts: counts.sum() > 0)


def test_measures_of_a_batch_with_one_label_wrong():
    true, found = np.array([2, 1, 0, 1]), np.array([2, 0, 1, 1])
    assert irec(true, found) == 3 / 4
    assert le_acc(true, found) == 2 / 4
    assert ln_acc(true, found) == 2 / 4
    assert exact(true, found) == 0


@given(COUNTS)
def test_the_truth_scores_one_everywhere(true):
    assert [measure(true, true) for measure in (irec, le_acc, ln_acc, exact)] == [1.0, 1.0, 1.0, 1.0]


@given(st.integers(1, 500), st.integers(2, 100))
def test_uniform_guess_has_the_right_size_and_no_favourites(total, num_classes):
    guess = uniform_guess(total, num_classes)
    assert guess.sum() == total
    assert np.ptp(guess) <= 1


@pytest.mark.parametrize(
    ("batch", "num_classes", "closed_form", "tolerance"), [(32, 10, 0.788, 0.01), (128, 10, 0.894, 0.006)]
)
def test_uniform_guess_recovers_most_labels_of_a_mixed_batch(batch, num_classes, closed_form, tolerance):
    assert 1 - np.sqrt((num_classes - 1) / (2 * np.pi * batch)) == pytest.approx(closed_form, abs=5e-4)
    draws = np.random.default_rng(0).multinomial(batch, np.full(num_classes, 1 / num_classes), size=4000)
    scores = [irec(true, uniform_guess(batch, num_classes)) for true in draws]
    assert np.mean(scores) == pytest.approx(closed_form, abs=tolerance)


def test_uniform_guess_with_a_hundred_classes():
    draws = np.random.default_rng(0).multinomial(1024, np.full(100, 0.01), size=1000)
    assert np.mean([irec(true, uniform_guess(1024, 100)) for true in draws]) == pytest.approx(0.876, abs=0.003)


def test_chance_agrees_with_drawing_labels_at_random():
    true = np.array([3, 0, 1, 0])
    guesses = np.random.default_rng(1).multinomial(4, np.full(4, 0.25), size=20_000)
    chance = label_chance(true)
    for name, measure in {"irec": irec, "le-acc": le_acc, "ln-acc": ln_acc, "exact": exact}.items():
        assert chance[name] == pytest.approx(np.mean([measure(true, guess) for guess in guesses]), abs=0.01), name


def test_chance_of_one_label_is_one_in_the_number_of_classes():
    chance = label_chance(np.array([0, 0, 1, 0, 0, 0, 0, 0, 0, 0]))
    assert chance["irec"] == pytest.approx(0.1)
    assert chance["exact"] == pytest.approx(0.1)
