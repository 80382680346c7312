from dataclasses import replace

import numpy as np
import pytest
from data_stubs import Data, prepared, some_images
from hypothesis import given
from hypothesis import strategies as st

from fedunlearn.data import open_dataset, prepare, split
from fedunlearn.errors import ScenarioError

PARTS = ("train", "validation", "test", "public", "judge")


@pytest.fixture(scope="module")
def digits(data_cache):
    return open_dataset(prepare(Data()))


@pytest.fixture(scope="module")
def with_test_part(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    np.savez(
        folder / "own.npz",
        x_train=some_images(100, 4, 4),
        y_train=np.arange(100) % 4,
        x_test=some_images(40, 4, 4),
        y_test=np.arange(40) % 4,
    )
    return prepared(folder, "npz", folder / "cache")


def sizes(splits) -> dict[str, int]:
    return {part: len(getattr(splits, part)) for part in PARTS}


@given(
    seed=st.integers(0, 2**32 - 1),
    shares=st.lists(st.floats(0.001, 0.24), min_size=4, max_size=4),
    count=st.none() | st.integers(1, 50),
)
def test_parts_are_disjoint_sorted_and_leave_nothing_out(digits, seed, shares, count):
    settings = Data(train=count, **dict(zip(PARTS[1:], shares, strict=True)))
    splits = split(digits, settings, seed)
    parts = [getattr(splits, part) for part in PARTS]
    for ids in parts:
        assert ids.dtype == np.int64
        assert (np.diff(ids) > 0).all()
    joined = np.concatenate(parts)
    assert len(np.unique(joined)) == len(joined)
    if count is None:
        np.testing.assert_array_equal(np.sort(joined), np.arange(len(digits)))
    else:
        assert len(splits.train) == count


def test_shares_and_counts(digits):
    assert sizes(split(digits, Data(), 0)) == {"train": 991, "validation": 89, "test": 359, "public": 269, "judge": 89}
    counts = Data(train=100, validation=0, test=7, public=3, judge=1)
    assert sizes(split(digits, counts, 0)) == {"train": 100, "validation": 0, "test": 7, "public": 3, "judge": 1}
    assert len(split(digits, Data(train=0.5), 0).train) == 898


def test_shares_that_floats_cannot_hold_exactly(with_test_part):
    assert len(split(with_test_part, Data(public=0.29), 0).public) == 29


def test_the_same_seed_gives_the_same_parts_and_another_others(digits):
    one, again, other = (split(digits, Data(), seed) for seed in (1, 1, 2))
    for part in PARTS:
        np.testing.assert_array_equal(getattr(one, part), getattr(again, part))
        assert not np.array_equal(getattr(one, part), getattr(other, part))


def test_a_larger_public_part_moves_no_other_held_out_sample(digits):
    one, other = split(digits, Data(), 1), split(digits, Data(public=0.3), 1)
    for part in ("test", "validation", "judge"):
        np.testing.assert_array_equal(getattr(one, part), getattr(other, part))


def test_the_source_s_own_test_part_is_the_only_one_to_test_on(with_test_part):
    splits = split(with_test_part, Data(test=0.5), 3)
    assert sizes(splits) == {"train": 75, "validation": 5, "test": 20, "public": 15, "judge": 5}
    assert splits.test.min() >= 100
    assert max(getattr(splits, part).max() for part in PARTS if part != "test") < 100
    assert len(split(with_test_part, Data(test=40), 3).test) == 40


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test": 41}, r"data\.test = 41: more than the 40 samples there are"),
        ({"public": 101}, r"data\.public = 101: more than the 100 samples"),
        ({"public": 90}, r"data: validation 5 \+ judge 5 \+ public 90 = 100 of 100 samples leave none to train on"),
        ({"train": 76}, r"data\.train = 76: more than there are; .* leave 75 of 100"),
        ({"judge": 0.001}, r"data\.judge = 0\.001: that share of 100 samples is none; write a count"),
    ],
)
def test_more_than_there_is(with_test_part, changes, message):
    with pytest.raises(ScenarioError, match=message):
        split(with_test_part, replace(Data(), **changes), 0)
