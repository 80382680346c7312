"""Control, oracle and null-class columns come from the other branches."""

import numpy as np

from fedunlearn.judging import AttackRow, Metric, with_references


def row(name, branch, finds="forgotten-classes", **values):
    metrics = {metric.replace("_", "-"): Metric(value, 1) for metric, value in values.items()}
    return AttackRow(name, "server", "updates", branch, finds, metrics)


def find(rows, name, branch):
    return next(entry for entry in rows if (entry.name, entry.branch) == (name, branch))


def test_columns_come_from_the_same_attack_on_other_branches():
    rows = with_references(
        [
            row("bias-drop", "finetune", top_1=1.0, alarm=1.0),
            row("bias-drop", "retrain", top_1=0.5, alarm=0.0),
            row("bias-drop", "control", top_1=0.0, false_alarm=1.0),
            row("other", "control", top_1=0.7, false_alarm=0.0),
        ]
    )
    metrics = find(rows, "bias-drop", "finetune").metrics
    assert (metrics["top-1"].control, metrics["top-1"].oracle) == (0.0, 0.5)
    assert (metrics["alarm"].control, metrics["alarm"].oracle) == (1.0, 0.0)
    own = find(rows, "bias-drop", "control").metrics["top-1"]
    assert np.isnan(own.control)
    assert own.oracle == 0.5


def test_another_observer_is_another_attack():
    weak = row("bias-drop", "finetune", top_1=1.0)
    strong = AttackRow("bias-drop", "client", "broadcasts", "control", "forgotten-classes", {"top-1": Metric(0.3, 1)})
    assert np.isnan(with_references([weak, strong])[0].metrics["top-1"].control)


def test_null_class_is_the_baseline_of_the_ranking():
    rows = with_references(
        [
            row("bias-drop", "finetune", top_1=1.0, mcc=0.9, per_class_accuracy=1.0),
            row("null-class-query", "finetune", top_1=0.4, mcc=0.1),
            row("null-class-bias", "finetune", top_1=np.nan),
            row("null-class-query", "retrain", top_1=1.0),
        ]
    )
    metrics = find(rows, "bias-drop", "finetune").metrics
    assert metrics["top-1"].baseline == 0.4
    assert np.isnan(metrics["mcc"].baseline)
    assert np.isnan(find(rows, "null-class-query", "finetune").metrics["top-1"].baseline)


def test_trunk_attacks_have_no_control():
    only = with_references([row("bias-form", "trunk", "labels", exact=1.0)])[0]
    assert np.isnan(only.metrics["exact"].control)
    assert only.to_json()["metrics"]["exact"]["control"] is None


def test_an_attack_listed_twice_is_compared_with_itself():
    first, second = (
        [row("bias-drop", branch, top_1=value) for branch, value in (("finetune", 1.0), ("control", control))]
        for control in (0.1, 0.2)
    )
    rows = with_references([*first, *second])
    assert [entry.metrics["top-1"].control for entry in rows if entry.branch == "finetune"] == [0.1, 0.2]
