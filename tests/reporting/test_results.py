"""results.json against its schema, and what happens when it is missing or foreign."""

import copy
import json

import jsonschema
import numpy as np
import pytest

from fedunlearn.errors import DataError
from fedunlearn.judging.judge import METRIC_NAMES
from fedunlearn.observer.access import ACCESS_LEVELS
from fedunlearn.reporting import read_results, write_results
from fedunlearn.reporting.results import SCHEMA, cell_folders, schema


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(schema())
    assert schema()["$id"] == schema()["properties"]["schema"]["const"] == SCHEMA


def test_the_schema_knows_every_access_level_and_finding():
    attack = schema()["$defs"]["attack"]["properties"]
    assert set(attack["access"]["enum"]) == set(ACCESS_LEVELS)
    assert set(attack["finds"]["enum"]) == set(METRIC_NAMES)


def test_results_follow_the_schema(single, matrix, probed):
    for folder in [single, probed, *cell_folders(matrix)]:
        jsonschema.validate(json.loads((folder / "results.json").read_text()), schema())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("branches", 0, "sha256"), "short"),
        (("attacks", 0, "access"), "everything"),
        (("attacks", 0, "metrics", "irec", "ci"), [0.1]),
        (("attacks", 0, "metrics", "irec", "extra"), 1),
        (("requests", 0, "state"), "maybe"),
        (("timing", "total_s"), -1),
        (("seed",), "7"),
    ],
)
def test_wrong_results_are_told_from_right_ones(single, path, value):
    broken = copy.deepcopy(read_results(single))
    place = broken
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema())


@pytest.mark.parametrize(
    ("key", "value"), [("branch", "trunk"), ("source", "public"), ("skipped", {"2": 7}), ("clients", "all")]
)
def test_wrong_probes_are_told_from_right_ones(probed, key, value):
    broken = read_results(probed)
    broken["probes"][0][key] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema())


def test_nan_and_numpy_values_become_plain(single, tmp_path):
    results = read_results(single)
    results["timing"]["efficiency"] = np.float32("nan")
    results["seed"] = np.int64(3)
    write_results(tmp_path, results)
    again = read_results(tmp_path)
    assert (again["timing"]["efficiency"], again["seed"]) == (None, 3)
    assert not list(tmp_path.glob("*.part"))


def test_incomplete_results_are_refused_when_written(tmp_path):
    with pytest.raises(ValueError, match=r"results without .*timing"):
        write_results(tmp_path, {"seed": 1})


def test_missing_unreadable_and_foreign_results_are_named(tmp_path):
    with pytest.raises(DataError, match="no results here"):
        read_results(tmp_path)
    with pytest.raises(DataError, match="nothing to report"):
        cell_folders(tmp_path)
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(DataError, match="not readable as JSON"):
        read_results(tmp_path)
    (tmp_path / "results.json").write_text('{"schema": "fedunlearn-results/9"}')
    with pytest.raises(DataError, match="fedunlearn-results/9"):
        read_results(tmp_path)


def test_cells_come_in_matrix_order(matrix, single):
    assert [folder.name for folder in cell_folders(matrix)] == ["000-fedsgd-0", "001-fedavg-0"]
    assert cell_folders(single) == [single]
