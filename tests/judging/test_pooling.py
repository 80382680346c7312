"""Cells that differ only in the class that is to be forgotten, and their means."""

import numpy as np
import pytest

from fedunlearn.judging.cell_figures import figure
from fedunlearn.judging.groups import group_cells
from fedunlearn.judging.intervals import wilson
from fedunlearn.judging.pooling import pooled, seeds_of


def cells(*values):
    return [{"cell": dict(value), "seed": value["seed"]} for value in values]


def asked(*classes, **about):
    return [{"scope": "class", "target": {"classes": list(classes)}, **about}]


def test_classes_are_pooled_and_nothing_else():
    runs = [{"name": "single"}, {"name": "units"}]
    made = cells(*({"seed": s, "requests": asked(c), "runs": run} for s in (1, 2) for c in (0, 7) for run in runs))
    groups = group_cells(made)
    assert len(groups) == 4
    found = pooled(groups)
    assert [(group.label, len(group.cells)) for group in found] == [("single", 4), ("units", 4)]


@pytest.mark.parametrize("other", [asked(0, 1), asked(0, fraction=0.5), [{"scope": "client", "target": {"ids": [0]}}]])
def test_requests_of_another_kind_stay_apart(other):
    found = pooled(group_cells(cells({"seed": 1, "requests": asked(0)}, {"seed": 1, "requests": other})))
    assert len(found) == 2
    assert len({group.label for group in found}) == 2


def test_groups_without_requests_stay_as_they_are():
    groups = group_cells(cells({"seed": 1, "model": "mlp"}, {"seed": 1, "model": "lenet"}))
    assert [group.label for group in pooled(groups)] == [group.label for group in groups]
    assert pooled(group_cells([{"seed": 0}]))[0].label == "all cells"


def test_a_training_seed_is_a_seed():
    assert seeds_of({"seed": 1, "cell": {"training-seed": 5}}) != seeds_of({"seed": 1, "cell": {"training-seed": 6}})
    assert seeds_of({"seed": 1, "cell": {"requests": asked(1)}}) == seeds_of({"seed": 1, "cell": {}})


def metric(value):
    return {"value": value, "n": 9, "ci": [None, None], "baseline": 0.1, "control": None, "oracle": 0.5}


def test_intervals_draw_seeds_again():
    seeds = [str(seed) for seed in range(6) for _ in range(10)]
    values = [0.2 + 0.1 * int(seed) for seed in seeds]
    found = figure([metric(value) for value in values], seeds, "coverage", 60, np.random.default_rng(0))
    assert found["value"] == pytest.approx(0.45)
    assert (found["n"], found["failed"], found["baseline"], found["control"]) == (60, 0, pytest.approx(0.1), None)
    apart = figure([metric(v) for v in values], [str(n) for n in range(60)], "coverage", 60, np.random.default_rng(0))
    assert np.ptp(found["ci"]) > 2 * np.ptp(apart["ci"])


def test_hits_and_misses_have_wilson_s_interval():
    found = figure([metric(v) for v in (0.0, 0.0, None)], list("abc"), "erased-accuracy", 3, np.random.default_rng(0))
    assert (found["value"], found["n"], found["failed"]) == (0.0, 2, 1)
    assert found["ci"] == pytest.approx(wilson(0, 2))


def test_a_distance_is_no_share():
    found = figure([metric(v) for v in (0.0, 1.0)], list("ab"), "knn-distance", 2, np.random.default_rng(0))
    assert found["ci"] == [0.0, 1.0]


def test_one_cell_keeps_the_judge_s_own_figures():
    own = metric(0.25) | {"ci": [0.1, 0.4]}
    found = figure([own], ["a"], "coverage", 1, np.random.default_rng(0))
    assert (found["value"], found["n"], found["ci"]) == (0.25, 9, [0.1, 0.4])
    nothing = figure([], [], "coverage", 1, np.random.default_rng(0))
    assert (nothing["value"], nothing["n"]) == (None, 0)
