"""Probes: what clients work on in a watched extra round, and how it comes back."""

from dataclasses import replace

import numpy as np
import pytest

from fedunlearn.federation import Federation
from fedunlearn.learning.worker import Worker
from fedunlearn.probes import prepare_probes
from fedunlearn.scenario import Scenario, validate
from fedunlearn.stage import set_stage

BASE = {
    "seed": 11,
    "data": {"name": "digits", "train": 400},
    "partition": {"alpha": 0.5},
    "model": {"name": "mlp", "width": 8},
    "federation": {"clients": 5, "rounds": 3, "batch-size": 16, "learning-rate": 0.2, "local-epochs": 2},
}


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    return set_stage(validate(Scenario, BASE), tmp_path_factory.mktemp("stage"))


def probes(stage, *tables):
    """Return the probes of a scenario with these tables."""
    named = [{"name": f"p{number}"} | table for number, table in enumerate(tables)]
    return prepare_probes(replace(stage, scenario=validate(Scenario, BASE | {"probes": named})))


def class_counts(stage, ids):
    return np.bincount(stage.dataset.labels(ids), minlength=10).tolist()


def test_members_come_from_the_client_and_small_batches_begin_large_ones(stage):
    small, large = probes(stage, {"samples": 4}, {"samples": 12})
    for client, ids in large.samples.items():
        assert len(ids) == 12
        assert set(small.samples[client]) < set(ids) <= set(stage.held[client])
        assert (np.diff(ids) > 0).all()


def test_held_out_images_have_the_classes_of_the_members(stage):
    members, outside = probes(stage, {"samples": 10}, {"samples": 10, "source": "held-out"})
    assert set(members.samples) == set(outside.samples)
    for client, ids in outside.samples.items():
        assert set(ids) <= set(stage.splits.test)
        assert class_counts(stage, ids) == class_counts(stage, members.samples[client])


def test_equal_labels_of_held_out_images_are_those_of_the_members(stage):
    tables = [{"samples": 3, "equal-labels": 2, "source": source} for source in ("members", "held-out")]
    members, outside = probes(stage, *tables)
    assert set(outside.samples) == set(members.samples)
    for client, ids in members.samples.items():
        assert set(ids) <= set(stage.held[client])
        assert class_counts(stage, outside.samples[client]) == class_counts(stage, ids)


@pytest.mark.parametrize(("equal", "repeats"), [(0, 1), (1, 1), (2, 2), (3, 3), (4, 4)])
def test_so_many_images_share_a_class(stage, equal, repeats):
    (probe,) = probes(stage, {"samples": 4, "equal-labels": equal, "source": "held-out"})
    for ids in probe.samples.values():
        assert sorted(filter(None, class_counts(stage, ids))) == [1] * (4 - repeats) + [repeats]


def test_a_client_that_holds_too_few_is_left_out_with_a_reason(stage):
    most = max(map(len, stage.held))
    (probe,) = probes(stage, {"samples": most})
    assert [len(stage.held[client]) for client in probe.samples] == [most]
    assert len(probe.skipped) == 4
    assert all(f"of the {most}" in why for why in probe.skipped.values())


def test_fedavg_without_a_number_works_on_everything(stage):
    (probe,) = probes(stage, {"clients": [1, 3]})
    assert {client: ids.tolist() for client, ids in probe.samples.items()} == {
        client: stage.held[client].tolist() for client in (1, 3)
    }


class InProcess:
    """An engine that is a worker."""

    def __init__(self, stage):
        self.worker = Worker(stage.site)

    def deliver(self, order):
        stacks, failures = self.worker.perform(order)
        return [update for stack in stacks for update in stack.updates()] + failures


@pytest.mark.parametrize("algorithm", ["fedsgd", "fedavg"])
def test_what_comes_back_is_about_the_chosen_samples(stage, algorithm):
    table = {"algorithm": algorithm, "samples": 6, "source": "held-out"}
    table |= {"batch-size": 4, "learning-rate": 0.1} if algorithm == "fedavg" else {}
    (probe,) = probes(stage, table)
    federation = Federation(InProcess(stage), stage.held)
    updates = probe.run(federation, stage.fresh(0))
    assert [update.client_id for update in updates] == sorted(probe.samples)
    for update in updates:
        assert update.num_examples == 6
        # for softmax cross-entropy the bias gradients sum to zero; with 6 of 6 in a batch each is mean(p) - count / 6
        if algorithm == "fedsgd":
            labels = stage.dataset.labels(probe.samples[update.client_id])
            gradient = update.payload["head.bias"]
            assert gradient.sum() == pytest.approx(0, abs=1e-6)
            probabilities = gradient + np.bincount(labels, minlength=10) / 6
            assert (probabilities > 0).all()
            assert probabilities.sum() == pytest.approx(1, abs=1e-5)
        else:
            assert update.kind == "weights"
            assert not np.array_equal(update.payload["head.bias"], stage.fresh(0)["head.bias"])


def test_the_same_probe_gives_the_same_updates(stage):
    (probe,) = probes(stage, {"algorithm": "fedsgd", "samples": 3})
    first, second = (probe.run(Federation(InProcess(stage), stage.held), stage.fresh(0)) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_equal(one.payload, other.payload)
