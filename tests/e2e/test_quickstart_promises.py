"""What the quickstart promises its readers, measured from its own results."""

import json

import pytest

from tests.e2e.command import ROOT, results, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
PATIENCE = 1500  # seconds for a run on a busy machine
METHODS = ("federaser", "finetune")


def attack(found, name, branch="trunk"):
    """Return the metrics of the one attack of that name on a branch."""
    (row,) = [row for row in found["attacks"] if (row["name"], row["branch"]) == (name, branch)]
    assert row["status"] == "done", row["reason"]
    return row["metrics"]


def retained(found, branch):
    """Return a branch's accuracy on the retained training samples."""
    return next(entry["metrics"]["retain_accuracy"] for entry in found["branches"] if entry["id"] == branch)


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory):
    """Return the results of the quickstart's cells by algorithm."""
    folder = tmp_path_factory.mktemp("quickstart") / "run"
    run("run", ROOT / "scenarios" / "quickstart.toml", "--engine", "inline", "--out", folder, timeout=PATIENCE)
    cells = [results(cell) for cell in sorted((folder / "cells").iterdir())]
    return {found["cell"]["federation"]["algorithm"]: found for found in cells}


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    """Return the summary over eight seeds that the published ones do not contain."""
    folder = tmp_path_factory.mktemp("seeds") / "run"
    scenario = ROOT / "scenarios" / "quickstart_seeds.toml"
    run("run", scenario, "--set", "matrix.seed={range=[100,108]}", "--out", folder, timeout=PATIENCE)
    return json.loads((folder / "summary.json").read_text())


def test_the_labels_of_every_observed_gradient_come_back_exactly(quickstart):
    exact = attack(quickstart["fedsgd"], "bias-form")["exact"]
    assert (exact["value"], exact["n"]) == (1.0, 10)


def test_half_of_a_batch_comes_back_as_recognisable_pictures(quickstart):
    share = attack(quickstart["fedsgd"], "gradient-matching")["rebuilt-share"]
    assert share["n"] == 4
    assert share["value"] >= 0.5


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("algorithm", ["fedsgd", "fedavg"])
def test_unlearning_keeps_what_was_to_be_kept(quickstart, algorithm, method):
    found = quickstart[algorithm]
    assert abs(retained(found, method) - retained(found, "retrain")) <= 0.03


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("group", ["FedSGD", "FedAvg"])
def test_the_forgotten_class_is_found_in_all_seeds_but_one_at_most(seeds, group, method):
    (row,) = [
        row
        for row in seeds["rows"]
        if (row["group"], row["attack"], row["branch"], row["metric"]) == (group, "bias-drop", method, "top-1")
    ]
    assert (row["n"], row["failed"]) == (8, 0)
    assert row["value"] >= 7 / 8


@pytest.mark.parametrize("group", ["FedSGD", "FedAvg"])
def test_controls_raise_no_more_alarms_than_the_nominal_level_allows(seeds, group):
    (row,) = [
        row for row in seeds["alarms"] if (row["group"], row["attack"], row["on"]) == (group, "bias-drop", "control")
    ]
    assert (row["n"], row["failed"], row["nominal"]) == (8, 0, 0.05)
    assert row["ci"][0] <= row["nominal"]
