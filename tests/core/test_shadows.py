"""The attacker's own federations: public data alone, decided by their content, made once."""

import numpy as np
import pytest

from fedunlearn.learning import Worker
from fedunlearn.models import load_weights
from fedunlearn.observer.access import AccessRefused
from fedunlearn.observer.cache import ContentCache
from fedunlearn.observer.knowledge import probabilities
from fedunlearn.scenario import Scenario, validate
from fedunlearn.shadows import Public, Shadows, dealt_to
from fedunlearn.stage import set_stage

SCENARIO = {
    "data": {"name": "digits", "train": 300, "public": 200, "split-seed": 1},
    "partition": {"kind": "iid"},
    "model": {"name": "mlp", "width": 16},
    "federation": {"clients": 4, "rounds": 5, "learning-rate": 0.3, "local-epochs": 3, "engine": "inline"},
    "requests": [{"scope": "class", "target": {"random": 1}}],
    "unlearning": {"rounds": 2},
}


def stage_of(folder, **changes):
    return set_stage(validate(Scenario, SCENARIO | changes), folder)


def public_of(stage):
    ids = stage.splits.public
    return Public(stage.dataset.images(ids), stage.dataset.labels(ids))


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    return stage_of(tmp_path_factory.mktemp("stage"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("auxiliary")


@pytest.fixture(scope="module")
def made(stage, folder):
    cache = ContentCache(folder)
    return Shadows(stage, public_of(stage), cache)(4, classes=1), cache


def equal(one, other):
    for mine, theirs in zip(one, other, strict=True):
        assert mine.forgotten == theirs.forgotten
        for name in mine.before:
            np.testing.assert_array_equal(mine.before[name], theirs.before[name])
            np.testing.assert_array_equal(mine.after[name], theirs.after[name])


def accuracy(stage, weights, classes):
    public, model = public_of(stage), stage.model()
    load_weights(model, weights)
    chosen = np.isin(public.classes, classes)
    return float((probabilities(model.eval(), public.pictures[chosen]).argmax(1) == public.classes[chosen]).mean())


def test_a_shadow_learns_and_then_forgets_what_it_was_asked(stage, made):
    shadows, cache = made
    assert (cache.made, cache.reused) == (8, 0)  # a trunk and a shadow each
    for shadow in shadows:
        (forgotten,) = shadow.forgotten
        kept = [label for label in range(10) if label != forgotten]
        assert accuracy(stage, shadow.before, kept) > 0.5
        assert accuracy(stage, shadow.after, kept) > 0.2  # `retrain`, in turn with `finetune`, begins anew
        assert accuracy(stage, shadow.after, [forgotten]) <= accuracy(stage, shadow.before, [forgotten])
    assert len({shadow.forgotten for shadow in shadows}) > 1
    assert len({shadow.before["head.bias"].tobytes() for shadow in shadows}) == 4


def test_another_seed_of_the_run_finds_the_shadows_made(stage, folder, made, tmp_path):
    other, cache = stage_of(tmp_path, seed=7), ContentCache(folder)
    np.testing.assert_array_equal(other.splits.public, stage.splits.public)
    again = Shadows(other, public_of(other), cache)(4, classes=1)
    assert (cache.made, cache.reused) == (0, 4)
    equal(again, made[0])


def test_shadows_are_made_anew_as_they_were(stage, made):
    equal(Shadows(stage, public_of(stage), ContentCache(None))(1, classes=1), made[0][:1])


@pytest.mark.parametrize(
    "changes",
    [
        {"data": SCENARIO["data"] | {"split-seed": 2}},
        {"model": {"name": "mlp", "width": 12}},
        {"federation": SCENARIO["federation"] | {"learning-rate": 0.2}},
        {"federation": SCENARIO["federation"] | {"rounds": 6}},
        {"partition": {"kind": "dirichlet", "alpha": 5.0}},
    ],
)
def test_another_recipe_is_another_shadow(stage, folder, made, tmp_path, changes):
    other, cache = stage_of(tmp_path, **changes), ContentCache(folder)
    Shadows(other, public_of(other), cache)(1, classes=1)
    assert (cache.made, cache.reused) == (2, 0)


def test_controls_methods_and_numbers_of_classes_share_the_trunks(stage, folder, made):
    cache = ContentCache(folder)
    shadows = Shadows(stage, public_of(stage), cache)
    controls, three = shadows(2, classes=0), shadows(2, classes=3)
    tuned = shadows(2, classes=1, method="finetune")
    assert (cache.made, cache.reused) == (5, 6)  # six shadows from two trunks; number 1 was fine-tuned before
    assert [shadow.forgotten for shadow in controls] == [(), ()]
    assert all(len(shadow.forgotten) == 3 for shadow in three)
    for shadow, other in zip([*controls, *three, *tuned], 3 * made[0][:2], strict=True):
        np.testing.assert_array_equal(shadow.before["head.weight"], other.before["head.weight"])
    equal(tuned[1:], made[0][1:2])
    assert accuracy(stage, controls[0].after, range(10)) >= accuracy(stage, controls[0].before, range(10)) - 0.05


@pytest.mark.parametrize("method", ["federaser", "sharded", "ssd"])
def test_methods_find_the_history_that_they_need(stage, method):
    (shadow,) = Shadows(stage, public_of(stage), ContentCache(None))(1, classes=1, method=method)
    assert any(not np.array_equal(shadow.before[name], array) for name, array in shadow.after.items())


def test_retraining_from_elsewhere_does_so_in_shadows(stage):
    same, other = (
        Shadows(stage, public_of(stage), ContentCache(None))(1, classes=1, method=method)[0]
        for method in ("retrain", "retrain-other-init")
    )
    assert not np.array_equal(same.after["head.weight"], other.after["head.weight"])


def test_no_private_sample_is_touched(stage, monkeypatch):
    held = []

    class Spied(Worker):
        def __init__(self, site, samples, partition):
            assert (site.dataset, site.partition, site.poison) == ("", "", None)
            assert samples is public
            held.extend(partition)
            super().__init__(site, samples, partition)

    monkeypatch.setattr("fedunlearn.shadows.Worker", Spied)
    public = public_of(stage)
    data = stage.dataset
    monkeypatch.setattr(type(data), "images", lambda self, ids: pytest.fail("read from the run's data"))
    monkeypatch.setattr(type(data), "labels", lambda self, ids: pytest.fail("read from the run's data"))
    Shadows(stage, public, ContentCache(None))(1, classes=1, method="federaser")
    everything = np.concatenate(held)
    assert set(everything.tolist()) == set(range(len(public.classes)))  # positions in the public split


def test_defences_act_in_the_shadows_of_those_who_know_them(tmp_path, made):
    defended = stage_of(tmp_path, defences=[{"name": "head-noise"}])
    shadows = Shadows(defended, public_of(defended), ContentCache(None))
    equal(shadows(1, classes=1), made[0][:1])
    (known,) = shadows(1, classes=1, defended=True)
    assert not np.array_equal(known.after["head.bias"], made[0][0].after["head.bias"])


def test_too_few_classes_are_refused(stage):
    with pytest.raises(AccessRefused, match="cannot forget 10 of the 10 classes"):
        Shadows(stage, public_of(stage), ContentCache(None))(1, classes=10)


def test_a_public_split_that_cannot_be_dealt_out_is_refused(tmp_path):
    stage = stage_of(tmp_path, partition={"kind": "pathological", "classes-per-client": 2}, federation={"clients": 8})
    ids = stage.splits.public[:40]
    few = Public(stage.dataset.images(ids), stage.dataset.labels(ids))
    with pytest.raises(AccessRefused, match="does not make a shadow federation"):
        Shadows(stage, few, ContentCache(None))(1, classes=1)


@pytest.mark.parametrize(("samples", "clients"), [(5, 1), (100, 5), (5000, 10)])
def test_few_samples_make_few_clients(samples, clients):
    scenario = validate(Scenario, {"federation": {"clients": 10}})
    assert dealt_to(scenario, samples)[0] == clients


def test_sizes_are_scaled_to_what_is_public():
    partition = {"kind": "by-size", "sizes": [300, 100, 200, 400]}
    scenario = validate(Scenario, {"federation": {"clients": 4}, "partition": partition})
    assert dealt_to(scenario, 100) == (4, scenario.partition.model_copy(update={"sizes": (30, 10, 20, 40)}))
    assert dealt_to(scenario, 40)[1].sizes == (30, 10)
