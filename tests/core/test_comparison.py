"""Final models of a cell on the same samples: which samples, and what comes out for known models."""

from dataclasses import replace

import numpy as np
import pytest

from fedunlearn.comparison import KEPT, MOST, choose_samples, compare_branches
from fedunlearn.judging.forgetting.confidence import margins
from fedunlearn.judging.forgetting.margin_store import read_margins
from fedunlearn.monitor import Monitor
from fedunlearn.scenario import Scenario, validate
from fedunlearn.stage import set_stage
from fedunlearn.trunk import save_model

SCENARIO = {
    "seed": 11,
    "data": {"name": "digits"},
    "model": {"name": "mlp", "width": 8},
    "federation": {"clients": 5, "rounds": 3},
}
ACCURACIES = {"forget_accuracy": 0.5, "retain_accuracy": 0.5, "test_accuracy": 0.4, "test_retain_accuracy": None}


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    return set_stage(validate(Scenario, SCENARIO), tmp_path_factory.mktemp("stage"))


@pytest.fixture
def forgotten(stage):
    return stage.held[2]


def compared(stage, folder, forgotten, models):
    """Compare models given as branch name -> number of their initialisation."""
    branches = []
    for name, draw in models.items():
        save_model(folder / "checkpoints", name, stage.fresh(draw))
        branches.append({"id": name, "name": name.rstrip("-0123456789"), "metrics": dict(ACCURACIES)})
    samples = choose_samples(stage, forgotten, ())
    return compare_branches(stage, Monitor(stage, lambda row: None).evaluate, folder, branches, samples)


def test_kinds_of_samples_are_apart_and_the_same_every_time(stage, forgotten):
    samples = choose_samples(stage, forgotten, (3, 5))
    assert set(samples["forget"]) == set(forgotten)
    assert not set(samples["retain"]) & set(forgotten)
    assert set(samples["retain"]) <= set(np.concatenate(stage.held))
    assert set(samples["test"]) <= set(stage.splits.test)
    assert set(stage.dataset.labels(samples["test"])) == set(range(10)) - {3, 5}
    again = choose_samples(stage, forgotten, (3, 5))
    assert all((again[kind] == ids).all() for kind, ids in samples.items())


def test_no_kind_has_more_samples_than_the_limit(stage):
    many = replace(stage, held=(np.arange(3 * MOST),))
    assert {kind: len(ids) for kind, ids in choose_samples(many, np.arange(MOST + 5), ()).items()} == {
        "forget": MOST, "retain": MOST, "test": len(stage.splits.test),
    }  # fmt: skip


def test_the_retrained_model_itself_is_ideal(stage, tmp_path, forgotten):
    found = compared(stage, tmp_path, forgotten, {"trunk": 0, "finetune": 7, "retrain": 7})
    ideal = {"average_gap": 0, "activation_distance": 0, "completeness": 1, "js_to_retrain": 0, "fingerprint_tv": 0}
    assert ideal.items() <= found["finetune"].items()
    assert found["finetune"]["mia_efficacy"] == found["retrain"]["mia_efficacy"]
    assert 1 - np.log(2) < found["retrain"]["zrf"] < 1
    assert found["trunk"]["js_to_retrain"] > 0
    assert found["retrain"]["js_to_retrain"] is None


def test_several_retrained_models_are_each_others_reference(stage, tmp_path, forgotten):
    models = {"trunk": 0, "retrain": 7, "retrain-other-init": 8, "retrain-other-init-2": 7}
    found = compared(stage, tmp_path, forgotten, models)
    assert found["retrain"] == found["retrain-other-init-2"]
    assert 0 < found["retrain"]["js_to_retrain"] < found["retrain-other-init"]["js_to_retrain"]
    assert len({metrics["average_gap_floor"] for metrics in found.values()}) == 1


def test_without_requests_nothing_is_known(stage, tmp_path):
    found = compared(stage, tmp_path, np.empty(0, np.int64), {"trunk": 0})
    assert set(found["trunk"].values()) == {None}


def test_relearning_is_asked_for(stage, tmp_path, forgotten):
    models = {"trunk": 0, "finetune": 8, "retrain": 7}
    forgotten = forgotten[:32]
    assert "relearn_steps" not in compared(stage, tmp_path, forgotten, models)["finetune"]
    asked = replace(stage, scenario=validate(Scenario, SCENARIO | {"judge": {"relearn": True}}))
    found = compared(asked, tmp_path, forgotten, models)
    assert found["trunk"]["relearn_steps"] == 0
    assert found["finetune"]["anamnesis_index"] == (
        found["finetune"]["relearn_steps"] / found["retrain"]["relearn_steps"]
    )


def test_margins_are_kept_where_the_scenario_asks_for_them(stage, tmp_path, forgotten):
    compared(stage, tmp_path, forgotten, {"trunk": 0})
    assert read_margins(tmp_path) is None
    asked = replace(stage, scenario=validate(Scenario, SCENARIO | {"judge": {"margins": True}}))
    compared(asked, tmp_path, forgotten, {"trunk": 0, "retrain": 7})
    kept = read_margins(tmp_path)
    assert {kind: len(ids) for kind, ids in kept.ids.items()} == {
        "forget": len(forgotten), "retain": KEPT["retain"], "test": min(KEPT["test"], len(stage.splits.test)),
    }  # fmt: skip
    evaluate = Monitor(stage, lambda row: None).evaluate
    for branch, draw in (("trunk", 0), ("retrain", 7)):
        for kind, ids in kept.ids.items():
            expected = margins(evaluate(stage.fresh(draw), ids).logits, stage.dataset.labels(ids))
            np.testing.assert_allclose(kept.by_branch[branch][kind], expected, atol=1e-4)
