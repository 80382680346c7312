"""Classes that the federation keeps to itself, and parts with the classes in the proportions of the whole."""

import numpy as np
import pytest
from data_stubs import Data, prepared, some_images
from hypothesis import given
from hypothesis import strategies as st

from fedunlearn.catalogue import check
from fedunlearn.data import open_dataset, prepare, split
from fedunlearn.data.splits import interleaved
from fedunlearn.errors import ScenarioError
from fedunlearn.scenario import Scenario, trunk_key, validate

PARTS = ("train", "validation", "test", "judge")


@pytest.fixture(scope="module")
def digits(data_cache):
    return lambda private: open_dataset(prepare(Data(private_classes=private)))


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Six people with eight images each and two more in the source's own test part; four people are private."""
    folder = tmp_path_factory.mktemp("people")
    np.savez(
        folder / "own.npz",
        x_train=some_images(48, 4, 4),
        y_train=np.arange(48) % 6,
        x_test=some_images(12, 4, 4),
        y_test=np.arange(12) % 6,
    )
    return prepared(folder, "npz", folder / "cache", private_classes=4)


def classes_of(dataset, ids):
    return np.bincount(dataset.labels(ids), minlength=dataset.num_classes + len(dataset.foreign_class_names)).tolist()


def test_private_classes_are_renumbered_and_the_others_come_after(digits):
    whole, some = digits(None), digits([4, 9, 1])
    assert (some.num_classes, some.class_names) == (3, ("4", "9", "1"))
    assert some.foreign_class_names == ("0", "2", "3", "5", "6", "7", "8")
    assert (whole.foreign_class_names, whole.num_classes) == ((), 10)
    names = some.class_names + some.foreign_class_names
    ids = np.arange(len(whole))
    assert [names[label] for label in some.labels(ids)] == [str(label) for label in whole.labels(ids)]
    np.testing.assert_array_equal(some.images(ids[:20]), whole.images(ids[:20]))
    assert digits(3).class_names == ("0", "1", "2")


@given(seed=st.integers(0, 2**32 - 1), stratified=st.booleans())
def test_the_federation_has_its_classes_alone_and_the_public_the_others(digits, seed, stratified):
    dataset = digits(7)
    settings = Data(private_classes=7, stratified=stratified, public=300)
    splits = split(dataset, settings, seed)
    private = np.concatenate([getattr(splits, part) for part in PARTS])
    assert (dataset.labels(private) < 7).all()
    assert len(np.unique(private)) == len(private) == np.count_nonzero(dataset.all_labels < 7)
    assert len(splits.public) == 300
    assert set(dataset.labels(splits.public)) == {7, 8, 9}


def test_public_is_a_share_of_the_other_classes_and_takes_nothing_from_the_federation(digits):
    dataset = digits(7)
    few, many = (split(dataset, Data(private_classes=7, public=public), 1) for public in (0.1, 0.9))
    others = np.count_nonzero(dataset.all_labels >= 7)
    assert (len(few.public), len(many.public)) == (int(0.1 * others), int(0.9 * others))
    for part in PARTS:
        np.testing.assert_array_equal(getattr(few, part), getattr(many, part))


def test_every_person_is_in_every_part_alike_and_test_parts_of_others_are_public(people):
    settings = Data(private_classes=4, stratified=True, train=20, judge=12, validation=0, test=8, public=20)
    for seed in range(5):
        splits = split(people, settings, seed)
        assert classes_of(people, splits.train) == [5, 5, 5, 5, 0, 0]
        assert classes_of(people, splits.judge) == [3, 3, 3, 3, 0, 0]
        assert classes_of(people, splits.test) == [2, 2, 2, 2, 0, 0]
        assert classes_of(people, splits.public) == [0, 0, 0, 0, 10, 10]
        assert splits.test.min() >= 48
    assert splits.train.tolist() != split(people, settings, 77).train.tolist()


@given(seed=st.integers(0, 1000), sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6))
def test_every_stretch_has_the_proportions_of_the_whole(seed, sizes):
    draws = np.random.default_rng(seed)
    labels = draws.permutation(np.repeat(np.arange(len(sizes)), sizes))
    ids = interleaved(np.arange(len(labels)), labels)
    assert sorted(ids.tolist()) == list(range(len(labels)))
    start, stop = np.sort(draws.integers(len(labels) + 1, size=2))
    found = np.bincount(labels[ids[start:stop]], minlength=len(sizes))
    expected = (stop - start) * np.array(sizes) / len(labels)
    assert (np.abs(found - expected) <= 2).all()


def test_stratified_parts_of_the_digits(digits):
    splits = split(digits(None), Data(stratified=True, train=200, judge=100), 0)
    dataset = digits(None)
    for ids in (splits.train, splits.judge):
        assert np.abs(np.bincount(dataset.labels(ids)) - len(ids) / 10).max() <= 1.5
    assert not np.array_equal(splits.train, split(dataset, Data(train=200, judge=100), 0).train)


@pytest.mark.parametrize(
    ("private", "message"),
    [
        ([0, 12], r"data\.private-classes = \[0, 12\]: class 12 is unknown; they are numbered 0 to 9"),
        (10, r"data\.private-classes = 10: none of the 10 classes is left for the public samples; at most 9"),
        (11, r"data\.private-classes = 11: class 10 is unknown; they are numbered 0 to 9"),
    ],
)
def test_classes_that_are_not_there(tmp_path, private, message):
    with pytest.raises(ScenarioError, match=message):
        prepare(Data(private_classes=private), tmp_path)


def test_more_public_samples_than_the_other_classes_have(people):
    with pytest.raises(ScenarioError, match=r"data\.public = 21: more than the 20 samples there are"):
        split(people, Data(private_classes=4, public=21), 0)


def scenario(**tables):
    return validate(Scenario, {"data": {"name": "digits"} | tables.pop("data", {})} | tables)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"private-classes": 1}, r"data\.private-classes = 1: must be .*>= 2"),
        ({"private-classes": [3]}, r"data\.private-classes = \[3\]: must name at least two classes"),
        ({"private-classes": [3, 4, 3]}, r"data\.private-classes = \[3, 4, 3\]: names a class twice"),
        ({"stratifed": True}, r'data\.stratifed = true: .*"stratified"'),
    ],
)
def test_wrong_values_are_told_in_one_line(data, message):
    with pytest.raises(ScenarioError, match=message):
        scenario(data=data)


def test_a_share_of_the_others_may_come_on_top_of_all_private_samples():
    data = {"train": 0.6, "validation": 0.2, "judge": 0.2, "public": 0.9}
    assert scenario(data=data | {"private-classes": 7}).data.public == 0.9
    with pytest.raises(ScenarioError, match="add up to more than 1"):
        scenario(data=data)


def test_foreign_labels_are_nobody_s_knowledge():
    observers = [{"name": "server", "access": "updates", "flags": ["learning-known", "public-labelled"]}]
    with pytest.raises(ScenarioError, match=r'observers\.0\.flags\.1 = "public-labelled": .*"public-unlabelled"'):
        scenario(data={"private-classes": 7}, observers=observers)
    check(scenario(observers=observers))


def test_private_classes_and_strata_make_another_trunk():
    keys = [trunk_key(scenario(data=data)) for data in ({}, {"private-classes": 7}, {"stratified": True})]
    assert len(set(keys)) == 3
