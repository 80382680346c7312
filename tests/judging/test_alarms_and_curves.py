"""Corrected false-alarm rates, and curves by round and by share of the data."""

import json

import numpy as np
import pytest
from scipy import stats

from fedunlearn.judging import AttackRow, Metric
from fedunlearn.judging.intervals import holm, wilson
from fedunlearn.judging.references import label_of, labels_of, with_references
from fedunlearn.judging.summary import summarise
from tests.judging.test_summary import pick


def row(label, branch, *, nominal=0.05, true=(2,), **values):
    metrics = {name.replace("_", "-"): Metric(value, 1, chance=0.1) for name, value in values.items()}
    details = {"true": list(true), "notes": {"nominal-false-alarm-rate": nominal}}
    return AttackRow(
        "fuia", "server", "updates", branch, "forgotten-classes", metrics, label=label, details=details
    ).to_json()


def cells(make, seeds=20, values=None):
    return [
        {"cell": {"seed": seed} | (values or {}), "seed": seed, "attacks": make(seed), "branches": []}
        for seed in range(seeds)
    ]


def test_alarms_above_the_nominal_level_are_told_from_bad_luck():
    alarms = {"loud": 12, "quiet": 1, "unlucky": 4}

    def make(seed):
        rows = [
            row(label, branch, false_alarm=float(seed < count if branch == "control" else 0))
            for label, count in alarms.items()
            for branch in ("control", "placebo")
        ]
        return [*rows, row("loud", "absent", false_alarm=1.0), row("bare", "control", nominal=None, false_alarm=1.0)]

    found = summarise(cells(make))["alarms"]
    single = [entry for entry in found if entry["on"] in ("control", "placebo")]
    expected = [
        stats.binomtest(entry["alarms"], 20, 0.05, alternative="greater").pvalue if entry["nominal"] else np.nan
        for entry in single
    ]
    assert [entry["p"] for entry in single if entry["p"] is not None] == pytest.approx(
        [p for p in expected if np.isfinite(p)]
    )
    corrected = [p for p in holm(expected) if np.isfinite(p)]
    assert [entry["p_holm"] for entry in single if entry["p"] is not None] == pytest.approx(corrected)
    told = {entry["attack"]: entry["above_nominal"] for entry in found if entry["on"] == "control"}
    assert told == {"loud": True, "quiet": False, "unlucky": False, "bare": None}
    assert pick(found, attack="unlucky", on="control")["p"] < 0.05  # but there were six rows


def test_the_absent_class_is_no_part_of_both():
    def make(seed):
        alarms = {"control": 0.0, "placebo": 0.0, "absent": 1.0}
        return [row("fuia", branch, false_alarm=alarm) for branch, alarm in alarms.items()]

    found = summarise(cells(make, 5))["alarms"]
    assert (pick(found, on="both")["rate"], pick(found, on="both")["n"]) == (0.0, 10)
    absent = pick(found, on="absent")
    assert (absent["rate"], absent["p_holm"]) == (1.0, pytest.approx(0.05**5))


def test_labels_keep_settings_of_one_attack_apart():
    def make(seed):
        return [row("fuia l1", "finetune", top_1=1.0), row("fuia l2", "finetune", top_1=0.0)]

    rows = summarise(cells(make))["rows"]
    assert {(entry["attack"], entry["value"]) for entry in rows} == {("fuia l1", 1.0), ("fuia l2", 0.0)}
    old = {"name": "fuia", "observer": "server", "branch": "finetune"}
    assert label_of(old) == "fuia"
    assert labels_of([old, old, old | {"label": "other"}]) == ["fuia", "fuia #2", "other"]


def test_nobody_and_null_class_stand_beside_every_metric():
    null = AttackRow(
        "null-class-query", "server", "updates", "finetune", "forgotten-classes",
        {"top-1": Metric(0.4, 1), "mcc": Metric(0.1, 1), "alarm": Metric(1.0, 1), "early-alarms": Metric(0.2, 1)},
    )  # fmt: skip
    other = AttackRow(
        "null-class-bias", "server", "updates", "finetune", "forgotten-classes",
        {"top-1": Metric(0.3, 1), "mcc": Metric(np.nan, 1)},
    )  # fmt: skip
    own = AttackRow(
        "fuia", "server", "updates", "finetune", "forgotten-classes", {"mcc": Metric(0.9, 1)},
        details={"nobody": {"mcc": 0.0, "per-class-accuracy": 0.9}},
    )  # fmt: skip
    told = with_references([own, null, other])
    assert told[0].details["null-class"] == {"top-1": 0.4, "mcc": 0.1}
    assert "null-class" not in told[1].details
    made = cells(lambda seed: [entry.to_json() for entry in told], 2)
    found = pick(summarise(made)["rows"], attack="fuia", metric="mcc")
    assert (found["nobody"], found["null_class"]) == (0.0, 0.1)


def test_several_classes_are_tested_by_the_exact_set():
    def make(seed):
        return [row("fuia", "finetune", true=(2, 5), top_1=1.0, exact_set=float(seed > 0))]

    summary = summarise(cells(make))
    assert [entry["metric"] for entry in summary["rows"] if entry["p"] is not None] == ["exact-set"]
    assert summary["groups"][0]["forgotten_classes"] == 2


def watched(delay, last=4):
    rounds = list(range(-2, last + 1))
    right = [delay is not None and round >= delay for round in rounds]
    return {"rounds": rounds, "loud": right, "right": right, "delay": delay, "censored": delay is None}


def test_delay_curves_count_who_has_detected_by_each_round():
    delays = [1, 1, 2, 2, 4, None, None, 3]

    def make(seed):
        found = row("stream", "finetune", detected=float(delays[seed] is not None), early_alarms=0.25)
        found["details"]["detection"] = watched(delays[seed], 4 if seed else 3)
        return [found]

    (curve,) = summarise(cells(make, len(delays)))["delays"]
    assert curve["detected"] == [2 / 8, 4 / 8, 5 / 8]  # as far as all were watched
    assert curve["ci"][1] == pytest.approx(wilson(4, 8))
    assert (curve["n"], curve["censored"], curve["failed"], curve["early_alarms"]) == (8, 2, 0, 0.25)


def test_a_failed_stream_is_counted_in_its_own_metrics_only():
    def make(seed):
        if seed == 0:
            return [row("stream", "finetune", top_1=np.nan) | {"status": "failed", "details": {}}]
        found = row("stream", "finetune", top_1=1.0, detected_within_1=1.0)
        found["details"]["detection"] = watched(1)
        return [found]

    summary = summarise(cells(make, 4))
    within = pick(summary["rows"], metric="detected-within-1")
    assert (within["value"], within["n"], within["failed"]) == (1.0, 3, 1)
    assert (summary["delays"][0]["n"], summary["delays"][0]["failed"]) == (3, 1)


def test_partial_forgetting_is_a_series_over_the_fraction():
    made = []
    for model in ("lenet", "mlp"):
        for share, hits in ((1.0, 10), (0.01, 2), (0.1, 7)):
            group = cells(
                lambda seed, hits=hits: [row("fuia", "finetune", top_1=float(seed < hits)),
                                         row("fuia", "control", top_1=0.0)],
                10,
                {"requests.0.fraction": share, "model.name": model},
            )  # fmt: skip
            made += [results | {"scenario": {"requests": [{"fraction": share}]}} for results in group]
    points = summarise(made)["partial"]
    assert {point["branch"] for point in points} == {"finetune"}
    own = [point for point in points if point["series"] == "lenet"]
    assert [(point["fraction"], point["value"], point["n"]) for point in own] == [
        (0.01, 0.2, 10),
        (0.1, 0.7, 10),
        (1, 1, 10),
    ]
    assert own[0]["ci"] == pytest.approx(wilson(2, 10))
    assert own[0]["metric"] == "top-1"
    json.dumps(points, allow_nan=False)


def test_one_fraction_alone_is_no_curve():
    made = [
        results | {"scenario": {"requests": [{"fraction": 0.5}]}}
        for results in cells(lambda s: [row("a", "x", top_1=1.0)], 3)
    ]
    assert summarise(made)["partial"] == []


def test_where_no_class_goes_the_curve_is_of_the_class_shares():
    made = []
    for share in (0.1, 1.0):
        group = cells(
            lambda seed: [row("fuia", "finetune", true=(), top_1=np.nan, distribution_error=0.3)], 4,
            {"requests.0.fraction": share},
        )  # fmt: skip
        made += [results | {"scenario": {"requests": [{"fraction": share}]}} for results in group]
    points = summarise(made)["partial"]
    assert [(point["metric"], point["value"]) for point in points] == [("distribution-error", pytest.approx(0.3))] * 2
