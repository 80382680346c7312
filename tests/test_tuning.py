"""The tuning script: one cell per grid point, judged on validation data, and the best point by mean score."""

import json
import math
import tomllib
from pathlib import Path

import pytest

from scenarios.tune_unlearning import cells, known_figure, outcomes, score, tuning_scenario, winners

SCENARIOS = Path(__file__).parents[1] / "scenarios"
SUITE = {
    "judge": {"margins": False},
    "matrix": {
        "runs": [
            {"name": "class", "requests": [{"scope": "class"}], "unlearning": {"methods": ["ssd", "not"], "rounds": 2}},
            {"name": "client", "requests": [{"scope": "client"}], "unlearning": {"methods": ["ssd"]}},
        ],
        "seed": [7],
    },
}
GRID = {"all": {"ssd": [{"alpha": 1.0}]}, "class": {"ssd": [{"alpha": 5.0}, {"alpha": 9.0}]}}


def test_point_k_of_every_method_runs_in_one_cell():
    found = [(run["name"], run["unlearning"]["options"]) for run in cells(SUITE, GRID)]
    assert found == [
        ("class-0", {"ssd": {"alpha": 5.0}, "not": {}}),
        ("class-1", {"ssd": {"alpha": 9.0}}),
        ("client-0", {"ssd": {"alpha": 1.0}}),
    ]
    assert next(cells(SUITE, GRID))["unlearning"]["rounds"] == 2


def test_it_is_judged_on_validation_data_and_on_its_own_seeds():
    scenario = tuning_scenario(SUITE, GRID, [0, 1])
    assert scenario["judge"] == {"margins": False, "split": "validation"}
    assert scenario["matrix"]["seed"] == [0, 1]


def test_a_score_counts_what_is_still_known_beyond_the_retrained_model():
    metrics = {"average_gap": 0.02, "forget_accuracy": 0.3, "backdoor_success": 0.5}
    retrained = {"average_gap": None, "forget_accuracy": 0.1, "backdoor_success": 0.6}
    assert score(metrics, retrained, "forget_accuracy") == pytest.approx(22)
    assert score(metrics, retrained, "backdoor_success") == pytest.approx(2)
    assert score(metrics, retrained, None) == pytest.approx(2)


@pytest.mark.parametrize("unknown", [{"average_gap": math.nan}, {"forget_accuracy": None}])
def test_what_is_unknown_is_not_perfect(unknown):
    metrics = {"average_gap": 0.02, "forget_accuracy": 0.3}
    assert score(metrics | unknown, metrics, "forget_accuracy") == math.inf


def test_without_a_retrained_accuracy_nothing_is_known():
    assert (
        score({"average_gap": 0.02, "forget_accuracy": 0.3}, {"forget_accuracy": None}, "forget_accuracy") == math.inf
    )


def test_a_backdoor_tells_only_where_one_was_planted():
    assert known_figure({"requests": [{"scope": "client"}], "poison": {"client": 0}}) == "backdoor_success"
    assert known_figure({"requests": [{"scope": "client"}]}) is None
    assert known_figure({"requests": [{"scope": "class"}]}) == "forget_accuracy"
    assert known_figure({"requests": [{"scope": "sample"}]}) is None


def test_what_the_grid_does_not_list_keeps_the_suites_options_and_the_first_point_retrains():
    run = SUITE["matrix"]["runs"][0]
    given = run["unlearning"] | {"options": {"ssd": {"alpha": 2.0, "dampening": 3.0}, "not": {"layers": 1}}}
    references = {"references": ["retrain", "control", "retrain-other-init"]}
    suite = {"unlearning": references, "matrix": {"runs": [run | {"unlearning": given}]}}
    first, second = (run["unlearning"] for run in cells(suite, GRID))
    assert first["options"] == {"ssd": {"alpha": 5.0}, "not": {"layers": 1}}
    assert second["options"] == {"ssd": {"alpha": 9.0}}
    assert (first["references"], second["references"]) == (["retrain", "retrain-other-init"], [])


def written(folder, cells):
    """Write the results of cells with these (branch, retained accuracy), point by point; return their rows."""
    metrics = {"forget_accuracy": 0.2, "test_accuracy": 0.7, "test_retain_accuracy": 0.8, "mia_efficacy": 0.5}
    for point, branches in enumerate(cells):
        results = {
            "cell": {"runs": {"name": f"class-{point}"}},
            "seed": 4,
            "scenario": {
                "requests": [{"scope": "class"}],
                "unlearning": {"methods": ["ssd", "not"], "options": {"ssd": {"alpha": 5.0}}},
            },
            "branches": [
                {"id": name, "metrics": metrics | {"retain_accuracy": retained}, "cost": {"client_seconds": 2.0}}
                for name, retained in branches
            ],
        }
        (folder / "cells" / f"{point}").mkdir(parents=True)
        (folder / "cells" / f"{point}" / "results.json").write_text(json.dumps(results))
    return {(row["method"], row["point"]): row for row in outcomes(folder)}


def test_a_row_tells_what_a_point_scored_and_with_which_options(tmp_path):
    rows = written(tmp_path, [[("ssd", 0.86), ("retrain", 0.9), ("retrain-other-init", 0.98)]])
    row = rows["ssd", 0]
    expected = {"run": "class", "seed": 4, "test_retain_accuracy": 0.8, "client_seconds": 2.0}
    assert expected.items() <= row.items()
    assert row["score"] == pytest.approx(100 * (0.94 - 0.86) / 4)  # of four figures one differs from the others' mean
    assert json.loads(row["options"]) == {"alpha": 5.0}
    assert (rows["not", 0]["score"], rows["not", 0]["client_seconds"]) == (math.inf, None)


def test_later_points_are_compared_with_the_models_that_the_first_retrained(tmp_path):
    rows = written(tmp_path, [[("ssd", 0.5), ("retrain", 0.9)], [("ssd", 0.7)]])
    assert rows["ssd", 1]["score"] == pytest.approx(5)


def test_where_retraining_was_not_finished_nothing_scores(tmp_path):
    rows = written(tmp_path, [[("ssd", 0.86), ("retrain-other-init", 0.9)]])
    assert [row["score"] for row in rows.values()] == [math.inf, math.inf]


def row(point, seed, score, seconds):
    options = f'{{"alpha": {point}}}'
    return {"run": "class", "method": "ssd", "point": point, "seed": seed, "options": options, "score": score} | {
        "client_seconds": seconds
    }


def test_of_points_as_good_as_the_best_the_least_work_wins():
    rows = [
        row(0, 0, 1.0, 1),
        row(0, 1, 5.0, 1),
        row(1, 0, 2.0, 4),
        row(1, 1, 2.0, 4),
        row(2, 0, 2.3, 3),
        row(2, 1, 2.3, 3),
        row(3, 0, 2.5, 2),
        row(3, 1, 2.5, 2),
    ]
    assert winners(rows, [0, 1]) == {"class": {"ssd": {"alpha": 2}}}


def test_a_point_needs_every_seed_to_win():
    whole = [row(0, 0, 9.0, 1), row(0, 1, 9.0, 1)]
    assert winners([*whole, row(1, 0, 1.0, 1)], [0, 1]) == {"class": {"ssd": {"alpha": 0}}}
    diverged = [row(1, 0, 1.0, 1), row(1, 1, math.inf, None)]
    assert winners([*diverged, *whole], [0, 1]) == {"class": {"ssd": {"alpha": 0}}}
    assert winners(diverged, [0, 1]) == {}


@pytest.mark.parametrize(
    ("grid", "suite"),
    [
        ("digits", "unlearning_suite"),
        ("fashion", "unlearning_suite_fashion"),
        ("fashion_samples", "unlearning_suite_samples"),
        ("cifar", "unlearning_suite_cifar"),
    ],
)
def test_the_grids_are_about_methods_of_the_suites(grid, suite):
    points = tomllib.loads((SCENARIOS / "tuning" / f"{grid}.toml").read_text())
    runs = tomllib.loads((SCENARIOS / f"{suite}.toml").read_text())["matrix"]["runs"]
    methods = {run["name"]: set(run["unlearning"]["methods"]) for run in runs}
    methods["all"] = set.union(*methods.values())
    assert all(set(listed) <= methods[run] for run, listed in points.items())
