"""The backdoor: whose data carry it, on every path to them, and that a federation learns it and unlearns it."""

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from clients.app import app
from fedunlearn.data import Dataset, Poison, open_dataset, poisoned, prepare, triggered
from fedunlearn.data.poison import TRIGGERS, bright_square, plant
from fedunlearn.errors import ScenarioError
from fedunlearn.federation import Job, Order
from fedunlearn.learning import Worker, worker_for
from fedunlearn.scenario import Cell, PoisonSettings, Scenario, trunk_key, validate
from fedunlearn.scenario.schema import fields_of, plain
from fedunlearn.stage import set_stage
from server.engine import run_experiment
from tests.data.data_stubs import Data
from tests.learning.workshop import assert_same, perform

POISON = Poison(client=1, trigger="square", target=7, share=0.8)
PARTITION = [np.arange(0, 40), np.arange(40, 90), np.arange(90, 100)]
TABLES = {
    "seed": 5,
    "data": {"name": "digits", "train": 900},
    "partition": {"kind": "iid"},
    "model": {"name": "mlp"},
    "poison": {"client": 2, "target": 7},
    "federation": {"clients": 3, "rounds": 8, "learning-rate": 0.3, "engine": "inline"},
    "requests": [{"scope": "client", "target": {"clients": [2]}}],
    "unlearning": {"methods": [], "rounds": 1, "references": ["retrain", "control"]},
    "observers": [{"name": "server", "access": "updates"}],
    "output": {"tensorboard": False},
}


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return open_dataset(prepare(Data()))


def experiment(out: Path, tables: dict) -> tuple[dict, dict]:
    """Return results.json and the answers about updates of a run in this process."""
    run_experiment([Cell("poison", {}, validate(Scenario, tables))], out, app)
    lines = (out / "answers" / "updates.jsonl").read_text().splitlines()
    answers = {tuple(entry["key"]): entry["value"] for entry in map(json.loads, lines)}
    return json.loads((out / "results.json").read_text()), answers


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[dict, dict]:
    return experiment(tmp_path_factory.mktemp("poison") / "run", TABLES)


def test_the_square_is_white_and_nothing_else_changes():
    images = np.random.default_rng(0).random((2, 3, 8, 9), np.float32)
    before = images.copy()
    marked = bright_square(images)
    np.testing.assert_array_equal(images, before)
    np.testing.assert_array_equal(marked[..., 5:, 6:], 1)
    changed = np.any(marked != images, axis=(0, 1))
    assert changed.sum() == 9
    assert marked.dtype == np.float32


@given(share=st.floats(0.02, 1), seed=st.integers(0, 2**32 - 1), client=st.integers(0, 2))
def test_only_the_clients_own_samples_are_poisoned_and_as_many_as_asked(digits, share, seed, client):
    poison = replace(POISON, share=share, client=client)
    assume(round(share * len(PARTITION[client])))
    found = poisoned(digits, PARTITION, poison, seed)
    marked = np.flatnonzero(found.marked)
    assert set(marked) <= set(PARTITION[client].tolist())
    assert len(marked) == round(share * len(PARTITION[client]))
    alone = poisoned(digits, [np.empty(0, int)] * client + [PARTITION[client]], poison, seed)
    np.testing.assert_array_equal(alone.marked, found.marked)  # whoever else there is


def test_poisoned_samples_carry_trigger_and_target_the_others_stay_as_they_are(digits):
    found = poisoned(digits, PARTITION, POISON, 3)
    everything = np.random.default_rng(1).permutation(len(digits))
    marked = found.marked[everything]
    images, clean = found.images(everything), digits.images(everything)
    np.testing.assert_array_equal(images[marked], TRIGGERS["square"](clean[marked]))
    np.testing.assert_array_equal(images[~marked], clean[~marked])
    assert set(found.labels(everything[marked])) == {7}
    np.testing.assert_array_equal(found.labels(everything[~marked]), digits.labels(everything[~marked]))
    np.testing.assert_array_equal(found.labels(np.arange(len(found))), found.all_labels)
    assert not found.all_labels.flags.writeable
    assert (found.name, found.image_shape, found.num_classes) == (digits.name, digits.image_shape, 10)


def test_other_seeds_poison_other_samples(digits):
    one, same, other = (poisoned(digits, PARTITION, POISON, seed).marked for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_poison_survives_pickling_and_a_second_layer(digits):
    found = plant(poisoned(digits, PARTITION, POISON, 3), np.array([200, 300]), "square", 2)
    again = pickle.loads(pickle.dumps(found))
    ids = np.arange(310)
    np.testing.assert_array_equal(again.images(ids), found.images(ids))
    np.testing.assert_array_equal(again.labels(ids), found.labels(ids))
    assert len(pickle.dumps(found)) < 10_000
    assert found.labels([200, 300]).tolist() == [2, 2]
    assert (found.labels(PARTITION[1]) == 7).sum() >= 40
    assert (found.images(PARTITION[1])[..., -3:, -3:] == 1).all(axis=(1, 2, 3)).sum() >= 40


def test_success_is_measured_on_other_classes_with_the_targets_label(digits):
    ids = np.arange(500, 900)
    found, others = triggered(digits, ids, POISON)
    assert set(digits.labels(others)) == set(range(10)) - {7}
    assert len(others) == (digits.labels(ids) != 7).sum()
    assert set(found.labels(others)) == {7}
    assert found.images(others)[..., -3:, -3:].min() == 1


def test_a_class_or_a_share_that_cannot_be_is_refused(digits):
    with pytest.raises(ScenarioError, match=r"^poison.target = 10: unknown class; they are numbered 0 to 9$"):
        poisoned(digits, PARTITION, replace(POISON, target=10), 0)
    with pytest.raises(ScenarioError, match=r"^poison.share = 0.001: of the 50 samples of client 1 that is none$"):
        poisoned(digits, PARTITION, replace(POISON, share=0.001), 0)


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ({"client": 3}, "poison.client = 3: unknown client; they are numbered 0 to 2"),
        ({"client": -1}, "poison.client = -1: must be an integer >= 0"),
        ({}, "poison.client: is missing; it must be an integer >= 0"),
        ({"client": 0, "share": 0.0}, "poison.share = 0.0: must be a finite number > 0 and <= 1"),
        ({"client": 0, "share": 1.1}, "poison.share = 1.1: must be a finite number > 0 and <= 1"),
        ({"client": 0, "target": -1}, "poison.target = -1: must be an integer >= 0"),
        ({"client": 0, "trigger": "sqare"}, 'poison.trigger = "sqare": must be "square"; did you mean "square"?'),
        ({"client": 0, "tager": 1}, 'poison.tager = 1: unknown key; did you mean "target"?'),
    ],
)
def test_wrong_tables_are_refused_in_one_line(table, line):
    with pytest.raises(ScenarioError) as caught:
        validate(Scenario, TABLES | {"poison": table})
    assert str(caught.value) == line


def test_a_scenario_can_name_every_trigger():
    words = plain(fields_of(PoisonSettings)["trigger"].annotation).__args__
    assert set(words) == set(TRIGGERS)


def test_poison_decides_the_trunk():
    clean = {key: value for key, value in TABLES.items() if key != "poison"}
    others = [{"client": 1, "target": 7}, {"client": 2}, {"client": 2, "target": 7, "share": 0.5}]
    scenarios = [TABLES, clean, *(TABLES | {"poison": table} for table in others)]
    assert len({trunk_key(validate(Scenario, tables)) for tables in scenarios}) == 5


@pytest.mark.parametrize("executor", ["loop", "vmap"])
def test_a_worker_that_knows_only_the_site_works_on_the_poisoned_data(tmp_path, executor):
    tables = TABLES | {"federation": TABLES["federation"] | {"executor": executor}, "training-seed": 9}
    stage = set_stage(validate(Scenario, tables), tmp_path)
    clean = set_stage(validate(Scenario, {k: v for k, v in tables.items() if k != "poison"}), tmp_path / "clean")
    task, jobs = stage.training.task(), {client: Job() for client in range(3)}
    order = Order(1, task, stage.fresh(0), jobs)
    remote, failed = perform(worker_for(stage.site.to_json()), order)
    assert not failed
    local, _ = perform(Worker(stage.site, stage.dataset, stage.held), order)
    honest, _ = perform(worker_for(clean.site.to_json()), order)
    for client in range(3):
        assert_same(remote[client].payload, local[client].payload)
    for client in (0, 1):
        assert_same(remote[client].payload, honest[client].payload)
    assert any((remote[2].payload[name] != honest[2].payload[name]).any() for name in remote[2].payload)


def test_the_federation_learns_the_backdoor_and_retraining_does_not(run):
    metrics = {branch["id"]: branch["metrics"] for branch in run[0]["branches"]}
    assert metrics["trunk"]["backdoor_success"] > 0.8
    assert metrics["control"]["backdoor_success"] > 0.8
    assert metrics["retrain"]["backdoor_success"] < 0.1
    assert metrics["trunk"]["test_accuracy"] > 0.85  # on clean pictures it works
    assert metrics["trunk"]["forget_accuracy"] > metrics["retrain"]["forget_accuracy"] + 0.4


def test_the_truth_is_what_the_client_really_used(run, tmp_path):
    stage = set_stage(validate(Scenario, TABLES), tmp_path)
    answers = run[1]
    assert {client for _, _, client in answers} == {0, 1, 2}
    for (_, _, client), answer in answers.items():
        marked = stage.dataset.marked[answer["samples"]]
        assert marked.sum() == (round(0.8 * len(marked)) if client == 2 else 0)
        assert {label for label, poison in zip(answer["labels"], marked, strict=True) if poison} <= {7}
        np.testing.assert_array_equal(answer["labels"], stage.dataset.labels(answer["samples"]))


def test_without_poison_there_is_no_success_to_measure(tmp_path):
    tables = {key: value for key, value in TABLES.items() if key not in ("poison", "requests")}
    results, _ = experiment(tmp_path / "run", tables | {"federation": TABLES["federation"] | {"rounds": 1}})
    assert {branch["metrics"]["backdoor_success"] for branch in results["branches"]} <= {None}


@pytest.mark.ray
def test_ray_trains_on_the_same_poison(run, tmp_path):
    tables = TABLES | {"federation": TABLES["federation"] | {"engine": "ray", "workers": 2}}
    results, _ = experiment(tmp_path / "run", tables)
    assert [b["sha256"] for b in results["branches"]] == [b["sha256"] for b in run[0]["branches"]]
