"""The tuning script: one cell per grid point, judged on validation data, and the best point by mean score."""

import tomllib
from pathlib import Path

import pytest

from scenarios.tune_unlearning import cells, score, tuning_scenario, winners

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
    assert score(metrics, retrained, "class") == pytest.approx(22)
    assert score(metrics, retrained, "client") == pytest.approx(2)
    assert score(metrics, retrained, "sample") == pytest.approx(2)


def row(point, seed, score, speed_up):
    options = f'{{"alpha": {point}}}'
    return {"run": "class", "method": "ssd", "point": point, "seed": seed, "options": options, "score": score} | {
        "speed_up": speed_up
    }


def test_the_lowest_mean_wins_then_the_least_work():
    rows = [
        row(0, 0, 1.0, 9),
        row(0, 1, 5.0, 9),
        row(1, 0, 2.0, 3),
        row(1, 1, 2.0, 3),
        row(2, 0, 2.0, 4),
        row(2, 1, 2.0, 4),
    ]
    assert winners(rows) == {"class": {"ssd": {"alpha": 2}}}


def test_the_grid_is_about_methods_of_the_suites():
    grid = tomllib.loads((SCENARIOS / "tuning" / "grid.toml").read_text())
    suite = tomllib.loads((SCENARIOS / "unlearning_suite.toml").read_text())
    methods = {run["name"]: set(run["unlearning"]["methods"]) for run in suite["matrix"]["runs"]}
    methods["all"] = set.union(*methods.values())
    assert all(set(points) <= methods[run] for run, points in grid.items())
