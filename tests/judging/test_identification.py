"""Nearest neighbours of rebuilt images among all training images."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from fedunlearn.judging import identification
from fedunlearn.judging.identification import Guess, credit, credits, identification_rate, nearest_samples


def pictures(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 7), st.integers(1, 200))
def test_neighbours_are_scipys_whatever_the_blocks(seed, size, queries, block):
    images, asked = pictures(seed, size, 1, 3, 3), pictures(seed + 1, queries, 1, 3, 3)
    pool = np.random.default_rng(seed).permutation(1000)[:size]
    lookup = {sample: row for row, sample in enumerate(pool.tolist())}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(identification, "BLOCK", block)
        found = nearest_samples(asked, pool, lambda ids: images[[lookup[sample] for sample in ids.tolist()]])
    expected = pool[cdist(asked.reshape(queries, -1), images.reshape(size, -1), "sqeuclidean").argmin(1)]
    assert [ids.tolist() for ids in found] == expected[:, None].tolist()


@pytest.mark.parametrize("block", [1, 27, 2**20])
def test_copies_of_a_sample_share_the_credit(monkeypatch, block):
    monkeypatch.setattr(identification, "BLOCK", block)
    images = pictures(0, 9, 3, 3, 3)
    images[[2, 7]] = images[5]
    (found,) = nearest_samples(images[[5]] + 0.01, np.arange(9), lambda ids: images[ids])
    assert sorted(found.tolist()) == [2, 5, 7]
    assert credit(found, 5) == pytest.approx(1 / 3)
    assert credit(found, 4) == 0


def test_the_credit_of_guesses_and_of_no_answer():
    images = pictures(0, 12, 1, 4, 4)
    perfect = Guess(images[[3, 8]], np.array([8, 3]), np.array([1, 0]))
    swapped = Guess(images[[3, 8]], np.array([8, 3]), np.array([0, 1]))
    diverged = Guess(np.full((1, 1, 4, 4), np.nan), np.array([1, 2]), np.array([0, 0]))
    copies = Guess(images[[4]], np.array([4, 5, 6]), np.array([0, 0, 0]))
    found = credits([perfect, swapped, diverged, copies], np.arange(12), lambda ids: images[ids])
    assert [values.tolist() for values in found[:2]] == [[1, 1], [0, 0]]
    assert np.isnan(found[2]).all()
    assert found[3].tolist() == [1, 0, 0]
    assert identification_rate(found[3]) == pytest.approx(1 / 3)


def test_an_answer_without_information_is_right_by_chance():
    images = pictures(0, 50, 1, 2, 2)
    guesses = [Guess(pictures(seed, 1, 1, 2, 2), np.array([seed % 50]), np.array([0])) for seed in range(2000)]
    rate = identification_rate(np.concatenate(credits(guesses, np.arange(50), lambda ids: images[ids])))
    assert rate == pytest.approx(1 / 50, abs=0.01)
