"""Summaries over seeds: grouping, rates, false alarms, separation, correction, files."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from fedunlearn.judging import AttackRow, Metric, judge_failure
from fedunlearn.judging.groups import cell_label, group_cells
from fedunlearn.judging.intervals import wilson
from fedunlearn.judging.summary import summarise, write_summary


def cell(algorithm, seed, *, hit, alarm, retained=0.9, peak=3.0):
    def row(branch, metrics, top):
        scores = [0.0, 0.1, top]
        details = {"scores": scores, "notes": {"nominal-false-alarm-rate": 0.05}}
        return AttackRow("bias-drop", "server", "updates", branch, "forgotten-classes", metrics, details=details)

    request = {"top-1": Metric(hit, 1, chance=0.1, baseline=0.5), "mrr": Metric(0.3 + 0.01 * seed, 1)}
    rows = [
        row("finetune", request, peak + seed),
        row("control", {"false-alarm": Metric(alarm, 1), "top-1": Metric(0.0, 1)}, 1.0),
        row("placebo", {"false-alarm": Metric(0.0, 1)}, 1.1),
    ]
    branches = [
        {"name": "finetune", "metrics": {"retain_accuracy": retained, "forget_accuracy": None}},
        {"name": "retrain", "metrics": {"retain_accuracy": 0.92, "forget_accuracy": 0.0}},
    ]
    values = {"federation.algorithm": algorithm, "seed": seed}
    return {"cell": values, "seed": seed, "attacks": [row.to_json() for row in rows], "branches": branches}


@pytest.fixture
def summary():
    fedsgd = [cell("fedsgd", seed, hit=1.0, alarm=float(seed == 0)) for seed in range(20)]
    fedavg = [cell("fedavg", seed, hit=float(seed > 0), alarm=0.0, retained=0.88) for seed in range(20)]
    return summarise(fedsgd + fedavg)


def pick(rows, **wanted):
    found = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    assert len(found) == 1, found
    return found[0]


def test_cells_that_differ_in_the_seed_are_one_group():
    groups = group_cells([cell("fedsgd", 0, hit=1, alarm=0), cell("fedavg", 0, hit=1, alarm=0)] * 2)
    assert [(group.label, len(group.cells)) for group in groups] == [("FedSGD", 2), ("FedAvg", 2)]
    assert group_cells([{"cell": {"seed": 3}}])[0].label == "all cells"


def test_labels_of_cells():
    assert cell_label({"data.name": "digits", "federation.local-epochs": 5}) == "digits, local epochs 5"
    assert cell_label({"unlearning.methods": ["finetune", "federaser"]}) == "methods finetune + federaser"


def test_rates_have_wilson_intervals_and_means_bootstrap(summary):
    rate = pick(summary["rows"], group="FedAvg", branch="finetune", metric="top-1")
    assert (rate["value"], rate["n"]) == (0.95, 20)
    assert rate["ci"] == pytest.approx(wilson(19, 20))
    assert (rate["chance"], rate["baseline"]) == (pytest.approx(0.1), 0.5)
    assert rate["excess"] == pytest.approx(0.45)
    mean = pick(summary["rows"], group="FedAvg", branch="finetune", metric="mrr")
    assert mean["ci"][0] < mean["value"] < mean["ci"][1]
    assert mean["p"] is None


def test_primary_rows_are_corrected_together(summary):
    tested = [row for row in summary["rows"] if row["p"] is not None]
    assert [(row["group"], row["metric"]) for row in tested] == [("FedSGD", "top-1"), ("FedAvg", "top-1")]
    assert tested[0]["p"] == pytest.approx(1e-20)
    assert tested[0]["p_holm"] == pytest.approx(2e-20)


def test_false_alarms_are_counted_on_each_control_and_together(summary):
    control = pick(summary["alarms"], group="FedSGD", on="control")
    assert (control["alarms"], control["n"], control["rate"]) == (1, 20, 0.05)
    assert control["ci"] == pytest.approx(wilson(1, 20))
    assert pick(summary["alarms"], group="FedSGD", on="both")["n"] == 40
    assert control["nominal"] == 0.05
    assert control["failed"] == 0


def test_a_failed_attack_on_a_control_is_counted_and_is_no_quiet_one():
    cells = [cell("fedsgd", seed, hit=1.0, alarm=1.0) for seed in range(4)]
    for results in cells[:3]:  # the first rows on record say nothing, not even of the nominal level
        failed = judge_failure("forgotten-classes", control=True)
        row = AttackRow("bias-drop", "server", "updates", "control", "forgotten-classes", failed.metrics)
        results["attacks"][1] = replace(row, status="failed").to_json()
    alarms = summarise(cells)["alarms"]
    control = pick(alarms, on="control")
    assert (control["alarms"], control["n"], control["failed"], control["rate"]) == (1, 1, 3, 1.0)
    assert control["ci"] == pytest.approx(wilson(1, 1))
    assert control["nominal"] == 0.05
    both = pick(alarms, on="both")
    assert (both["alarms"], both["n"], both["failed"]) == (1, 5, 3)


def test_an_attack_that_always_fails_on_a_control_has_no_rate():
    cells = [cell("fedsgd", seed, hit=1.0, alarm=np.nan) for seed in range(4)]
    control = pick(summarise(cells)["alarms"], on="control")
    assert (control["alarms"], control["n"], control["failed"], control["rate"]) == (0, 0, 4, None)
    assert control["ci"] == [None, None]


def pictures(seed, value, baseline, control):
    metric = Metric(value, 6, baseline=baseline, control=control)
    details = {"label-source": "bias-form"}
    row = AttackRow(
        "difference", "server", "updates", "finetune", "forgotten-images", {"psnr": metric}, details=details
    )
    return {"cell": {"seed": seed}, "seed": seed, "attacks": [row.to_json()], "branches": []}


@pytest.mark.parametrize(
    ("baseline", "control", "low"), [(12.0, 15.0, True), (12.0, 25.0, False), (25.0, np.nan, False)]
)
def test_forgotten_pictures_must_beat_trivial_answers_and_the_control(baseline, control, low):
    cells = [pictures(seed, 20 + 0.1 * seed, baseline, control) for seed in range(8)]
    row = pick(summarise(cells)["rows"], metric="psnr")
    assert (row["p"] < 0.01) == low
    assert row["label_source"] == "bias-form"


def test_only_pictures_have_a_label_source(summary):
    assert {row["label_source"] for row in summary["rows"]} == {None}


def test_separation_of_request_and_control(summary):
    row = pick(summary["separation"], group="FedSGD", branch="finetune")
    assert (row["auc"], row["n"]) == (1.0, [20, 40])


def test_accuracy_is_compared_with_retraining_cell_by_cell(summary):
    row = pick(summary["accuracy"], group="FedAvg", branch="finetune", metric="retain_accuracy")
    assert row["value"] == pytest.approx(0.88)
    assert row["above_retrain"] == pytest.approx(-0.04)
    forget = pick(summary["accuracy"], group="FedAvg", branch="finetune", metric="forget_accuracy")
    assert (forget["value"], forget["n"]) == (None, 0)


def test_failed_trials_are_counted_and_do_not_enter_the_mean():
    cells = [cell("fedsgd", seed, hit=np.nan if seed else 1.0, alarm=0.0) for seed in range(3)]
    row = pick(summarise(cells)["rows"], branch="finetune", metric="top-1")
    assert (row["value"], row["n"], row["failed"]) == (1.0, 1, 2)


def test_same_cells_same_summary(summary):
    cells = [cell("fedsgd", seed, hit=1.0, alarm=0.0) for seed in range(3)]
    assert summarise(cells) == summarise(cells)


def test_files(summary, tmp_path):
    write_summary(tmp_path, summary)
    assert json.loads((tmp_path / "summary.json").read_text())["schema"] == "fedunlearn-summary/1"
    with (tmp_path / "summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(summary["rows"])
    assert float(rows[0]["value"]) == 1.0
    assert {"group", "attack", "branch", "metric", "ci_low", "ci_high", "p_holm"} <= set(rows[0])


def test_a_matrix_without_attacks_is_still_summarised(tmp_path):
    plain = {"cell": {}, "seed": 0, "attacks": [], "branches": []}
    write_summary(tmp_path, summarise([plain]))
    assert (tmp_path / "summary.csv").read_text().splitlines() == ["group"]
