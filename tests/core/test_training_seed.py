"""A training seed changes what training draws, and nothing else."""

import numpy as np
import pytest

from fedunlearn.branching import arrive
from fedunlearn.federation import weights_sha256
from fedunlearn.requests import Ledger
from fedunlearn.scenario import Scenario, trunk_key, validate
from fedunlearn.stage import set_stage

BASE = {
    "seed": 11,
    "data": {"name": "digits", "train": 400},
    "model": {"name": "mlp", "width": 8},
    "federation": {"clients": 5, "rounds": 3, "clients-per-round": 3, "algorithm": "fedsgd", "batch-size": 8},
    "requests": [{"scope": "sample", "target": {"random": 20}}],
    "poison": {"client": 1, "target": 3, "share": 0.5},
}


@pytest.fixture(scope="module")
def stage_of(tmp_path_factory):
    def build(**changes):
        return set_stage(validate(Scenario, BASE | changes), tmp_path_factory.mktemp("stage"))

    return build


@pytest.fixture(scope="module")
def plain(stage_of):
    return stage_of()


def requested(stage, tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    [(request, placebo)] = arrive(stage, [], ledger)
    ledger.close()
    return [{client: ids.tolist() for client, ids in each.samples.items()} for each in (request, placebo)]


def test_absent_it_is_the_seed(plain, stage_of):
    same = stage_of(**{"training-seed": 11})
    assert same.site.to_json().replace(same.site.partition, plain.site.partition) == plain.site.to_json()
    assert weights_sha256(same.fresh(0)) == weights_sha256(plain.fresh(0))


def test_data_partition_poison_and_requests_stay(plain, stage_of, tmp_path):
    other = stage_of(**{"training-seed": 12})
    for name in ("train", "validation", "test", "public", "judge"):
        np.testing.assert_array_equal(getattr(other.splits, name), getattr(plain.splits, name))
    for own, ids in zip(other.held, plain.held, strict=True):
        np.testing.assert_array_equal(own, ids)
    np.testing.assert_array_equal(other.dataset.all_labels, plain.dataset.all_labels)
    assert other.site.data_seed == plain.site.data_seed == 11
    (tmp_path / "other").mkdir()
    assert requested(other, tmp_path / "other") == requested(plain, tmp_path)


def test_initialisation_batches_sampling_and_the_clients_draws_change(plain, stage_of):
    other = stage_of(**{"training-seed": 12})
    assert weights_sha256(other.fresh(0)) != weights_sha256(plain.fresh(0))
    assert (other.training.seed, other.site.seed, other.seed) == (12, 12, 11)
    assert other.samples_behind(1, 0).tolist() != plain.samples_behind(1, 0).tolist()


def test_another_training_seed_is_another_trunk_but_equal_ones_share_it():
    key = lambda **changes: trunk_key(validate(Scenario, BASE | changes))  # noqa: E731
    assert key() == key(**{"training-seed": 11})
    assert key() != key(**{"training-seed": 12})
    assert key(**{"training-seed": 12}) != key(**{"training-seed": 12, "seed": 12})
