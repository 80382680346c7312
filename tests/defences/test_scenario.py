"""Defences in the scenario language: errors that name the key, cells and groups that can be read."""

import pytest

from fedunlearn import catalogue
from fedunlearn.errors import ScenarioError
from fedunlearn.judging.groups import group_cells
from fedunlearn.scenario import Scenario, expand, trunk_key, validate

MATRIX = {"defences": [[], [{"name": "head-noise"}]], "seed": [0, 1]}
STRENGTHS = {"defences": [[], *([{"name": "head-noise", "settings": {"scale": scale}}] for scale in (0.1, 0.5))]}
PAIR = {"defences": [[{"name": "teleport-rows"}, {"name": "answer-top1"}], [{"name": "twin-row"}]]}


@pytest.mark.parametrize(
    ("tables", "line"),
    [
        (
            {"defences": [{"name": "head-nois"}]},
            'defences.0.name = "head-nois": unknown defence; did you mean "head-noise"?',
        ),
        (
            {"defences": [{"name": "twin-row"}, {"name": "head-noise", "settings": {"scale": -1.0}}]},
            "defences.1.settings.scale = -1.0: must be a finite number >= 0",
        ),
        (
            {"defences": [{"name": "head-noise", "settings": {"scales": 1.0}}]},
            'defences.0.settings.scales = 1.0: unknown key; did you mean "scale"?',
        ),
        (
            {"defences": [{"name": "teleport-rows"}], "data": {"public": 0}},
            'defences.0.name = "teleport-rows": needs images of the server\'s own: data.public above 0',
        ),
    ],
)
def test_a_bad_one_is_refused(tables, line):
    with pytest.raises(ScenarioError) as caught:
        catalogue.check(validate(Scenario, tables))
    assert str(caught.value) == line


@pytest.mark.parametrize(
    ("matrix", "cells", "groups"),
    [
        (
            MATRIX,
            ["no-defences-seed0", "no-defences-seed1", "head-noise-seed0", "head-noise-seed1"],
            ["no defence", "head-noise"],
        ),
        (
            STRENGTHS,
            ["no-defences", "head-noise-scale0.1", "head-noise-scale0.5"],
            ["no defence", "head-noise scale 0.1", "head-noise scale 0.5"],
        ),
        (PAIR, ["teleport-rows+answer-top1", "twin-row"], ["teleport-rows + answer-top1", "twin-row"]),
    ],
)
def test_a_matrix_over_defences_is_legible(tmp_path, matrix, cells, groups):
    found = expand({"matrix": matrix}, tmp_path / "x.toml")
    assert [cell.name for cell in found] == cells
    assert [group.label for group in group_cells([{"cell": cell.values} for cell in found])] == groups
    assert len({trunk_key(cell.scenario) for cell in found}) == len(matrix.get("seed", [0]))


def test_one_setting_of_a_defence_can_be_an_axis(tmp_path):
    raw = {"defences": [{"name": "head-noise"}], "matrix": {"defences.0.settings.scale": [0.1, 0.2]}}
    assert [cell.scenario.defences[0].settings["scale"] for cell in expand(raw, tmp_path / "x.toml")] == [0.1, 0.2]


def test_defences_are_listed():
    assert catalogue.listing("defences")["head-noise"].startswith("Gaussian noise")
