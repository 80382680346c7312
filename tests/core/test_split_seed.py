"""A split seed settles which samples train, are public, ...; all else keeps following `seed`."""

import numpy as np
import pytest

from fedunlearn.branching import arrive
from fedunlearn.federation import weights_sha256
from fedunlearn.requests import Ledger
from fedunlearn.scenario import Scenario, trunk_key, validate
from fedunlearn.stage import set_stage

PARTS = ("train", "validation", "test", "public", "judge")
DATA = {"name": "digits", "train": 400}
BASE = {
    "model": {"name": "mlp", "width": 8},
    "federation": {"clients": 5, "rounds": 3},
    "requests": [{"scope": "class", "target": {"random": 1}}],
}


def settings(seed, **data):
    return validate(Scenario, BASE | {"seed": seed, "data": DATA | data})


@pytest.fixture(scope="module")
def stage_of(tmp_path_factory):
    return lambda seed, **data: set_stage(settings(seed, **data), tmp_path_factory.mktemp("stage"))


def targets(stage, folder):
    ledger = Ledger(folder / f"{stage.seed}.sqlite")
    [(request, _)] = arrive(stage, [], ledger)
    ledger.close()
    return request.whole_classes


def test_absent_it_is_the_seed(stage_of):
    absent, given = stage_of(3), stage_of(3, **{"split-seed": 3})
    for part in PARTS:
        np.testing.assert_array_equal(getattr(absent.splits, part), getattr(given.splits, part))


def test_seeds_share_the_split_and_nothing_else(stage_of, tmp_path):
    first, *others = (stage_of(seed, **{"split-seed": 77}) for seed in range(6))
    for other in others:
        for part in PARTS:
            np.testing.assert_array_equal(getattr(first.splits, part), getattr(other.splits, part))
        assert any(own.tolist() != ids.tolist() for own, ids in zip(first.held, other.held, strict=True))
        assert weights_sha256(first.fresh(0)) != weights_sha256(other.fresh(0))
        assert first.samples_behind(1, 0).tolist() != other.samples_behind(1, 0).tolist()
        assert first.site.pixel_stats == other.site.pixel_stats
    assert len({targets(stage, tmp_path) for stage in (first, *others)}) > 1
    assert first.splits.public.tolist() != stage_of(0).splits.public.tolist()


def test_another_split_is_another_trunk():
    keys = {trunk_key(settings(1, **data)) for data in ({}, {"split-seed": 2}, {"split-seed": 3})}
    assert len(keys) == 3
    assert trunk_key(settings(1, **{"split-seed": 2})) != trunk_key(settings(2, **{"split-seed": 2}))
