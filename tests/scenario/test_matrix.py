"""`[matrix]` and the key of a trunk."""

import re
from pathlib import Path
from typing import Any

import pytest

from fedunlearn.errors import ScenarioError
from fedunlearn.scenario import Cell, Scenario, expand, trunk_key, validate
from fedunlearn.scenario.overrides import parse_override
from fedunlearn.scenario.summary import summary

FILE = Path("folder/demo.toml")
REQUEST = {"round": 3, "scope": "class", "target": {"random": 1}}


def cells_of(matrix: Any, *overrides: str, **tables: Any) -> list[Cell]:
    return expand({"name": "demo", "matrix": matrix} | tables, FILE, [parse_override(text) for text in overrides])


def names(matrix: Any, *overrides: str, **tables: Any) -> list[str]:
    return [cell.name for cell in cells_of(matrix, *overrides, **tables)]


def test_without_a_matrix_there_is_one_cell():
    (cell,) = cells_of({}, "seed=4")
    assert (cell.name, cell.values, cell.scenario.seed) == ("demo", {}, 4)


def test_every_combination_is_a_cell():
    cells = cells_of({"federation.algorithm": ["fedsgd", "fedavg"], "seed": [0, 7]})
    assert [cell.name for cell in cells] == ["fedsgd-seed0", "fedsgd-seed7", "fedavg-seed0", "fedavg-seed7"]
    assert cells[1].values == {"federation.algorithm": "fedsgd", "seed": 7}
    assert (cells[1].scenario.federation.algorithm, cells[1].scenario.seed) == ("fedsgd", 7)
    assert all(cell.scenario.matrix == {} for cell in cells)


def test_keys_need_no_quotes():
    nested = {"federation": {"algorithm": ["fedsgd", "fedavg"]}}  # what TOML makes of an unquoted dotted key
    assert names(nested) == names({"federation.algorithm": ["fedsgd", "fedavg"]})


def test_a_range_of_seeds_leaves_its_end_out():
    assert [cell.scenario.seed for cell in cells_of({"seed": {"range": [0, 40]}})] == list(range(40))


def test_tables_are_merged_over_the_base():
    slow, fast = {"algorithm": "fedsgd", "learning-rate": 0.5}, {"algorithm": "fedavg"}
    cells = cells_of({"federation": [slow, fast]}, federation={"rounds": 5})
    assert [cell.name for cell in cells] == ["fedsgd", "fedavg"]
    settings = [cell.scenario.federation for cell in cells]
    assert [(each.algorithm, each.learning_rate, each.rounds) for each in settings] == [
        ("fedsgd", 0.5, 5),
        ("fedavg", 0.1, 5),
    ]


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ({"partition.alpha": [0.1, 10]}, ["alpha0.1", "alpha10"]),
        ({"output.tape": [True, False]}, ["tapetrue", "tapefalse"]),
        ({"unlearning.methods": [["a"], ["b", "c"], []]}, ["a", "b+c", "no-methods"]),
        ({"title": ["a/b", "a b"]}, ["title1", "title2"]),
        ({"title": ["a", "a-b"], "description": ["b-c", "c"]}, ["a-b-c", "a-c", "a-b-b-c", "a-b-c-3"]),
        ({"model": [{"width": 8, "norm": "group"}, {"width": 9, "norm": "group"}]}, ["width8", "width9"]),
        ({"title": ["x" * 100]}, ["x" * 40]),
    ],
)
def test_names_are_readable_unique_and_fit_for_folders(matrix: Any, expected: list[str]):
    assert names(matrix) == expected


def test_runs_are_chosen_combinations():
    runs = [
        {"name": "small", "model": {"name": "mlp"}, "federation": {"rounds": 3}},
        {"name": "large", "data": {"train": 500}},
    ]
    cells = cells_of({"runs": runs, "seed": [0, 1]}, federation={"rounds": 9, "clients": 5})
    assert [cell.name for cell in cells] == ["small-seed0", "small-seed1", "large-seed0", "large-seed1"]
    assert [(c.scenario.model.name, c.scenario.federation.rounds, c.scenario.data.train) for c in cells[1:3]] == [
        ("mlp", 3, None),
        ("lenet", 9, 500),
    ]
    assert {cell.scenario.federation.clients for cell in cells} == {5}
    assert cells[0].values["runs"] == runs[0]


@pytest.mark.parametrize(
    ("runs", "line"),
    [
        ({"name": "small"}, "must be a list of tables, each laid over the scenario"),
        ([3], "matrix.runs = [3]: must be a list of tables"),
        ([{"sede": 3}], "sede = 3: unknown key"),
        ([{"seed": 1}, {"seed": 1}], "is listed twice"),
    ],
)
def test_bad_runs(runs, line):
    with pytest.raises(ScenarioError, match=re.escape(line)):
        cells_of({"runs": runs})


def test_a_key_is_set_by_runs_or_by_an_axis():
    with pytest.raises(ScenarioError, match=r"is also set by the tables of matrix\.runs"):
        cells_of({"runs": [{"name": "a", "seed": 1}], "seed": [2, 3]})


def test_a_run_may_have_a_matrix_of_its_own():
    runs = [{"name": "one"}, {"name": "three", "matrix": {"seed": {"range": [5, 7]}, "federation": {"rounds": [2, 3]}}}]
    matrix = {"runs": runs, "model.name": ["mlp", "lenet"], "seed": [0, 1, 2]}
    own = ["three-mlp-seed5-rounds2", "three-mlp-seed5-rounds3", "three-mlp-seed6-rounds2", "three-mlp-seed6-rounds3"]
    cells = cells_of(matrix)
    assert len(cells) == 6 + 8
    assert [cell.name for cell in cells][6:10] == own
    assert cells[6].values == {"runs": {"name": "three"}, "model.name": "mlp", "seed": 5, "federation.rounds": 2}
    assert names(matrix, "matrix.seed=[9]", "matrix.model.name=['mlp']", "federation.rounds=1") == [
        "one-mlp-seed9",
        "three-mlp-seed9",
    ]
    assert names(matrix, "matrix={seed=[8]}") == ["seed8"]
    with pytest.raises(ScenarioError, match=r"matrix\.sead = \[1\]: unknown key"):
        cells_of({"runs": [{"name": "a", "matrix": {"sead": [1]}}]})
    with pytest.raises(ScenarioError, match="must be a list of tables"):
        cells_of({"runs": [{"name": "a", "matrix": {"seed": [1]}}, 3]})


def test_set_wins_over_the_matrix():
    matrix = {"seed": [0, 1], "federation": [{"rounds": 5}, {"rounds": 6}]}
    assert names(matrix, "seed=3") == ["rounds5", "rounds6"]  # that axis is settled
    assert {cell.scenario.federation.rounds for cell in cells_of(matrix, "federation.rounds=9")} == {9}


def test_set_can_change_the_matrix():
    matrix = {"federation.algorithm": ["fedsgd", "fedavg"], "seed": [0, 1]}
    assert names(matrix, "matrix={}") == ["demo"]
    assert names(matrix, "matrix.seed={range=[4, 5]}") == ["fedsgd-seed4", "fedavg-seed4"]
    assert names(matrix, 'matrix.federation.algorithm=["fedsgd"]', "matrix.seed=[2]") == ["fedsgd-seed2"]
    assert names(matrix, "matrix={seed=[8]}") == ["seed8"]


@pytest.mark.parametrize(
    ("matrix", "line"),
    [
        (3, "folder/demo.toml: matrix = 3: must be a table of lists"),
        ({"sead": [1]}, 'folder/demo.toml: matrix.sead = [1]: unknown key; did you mean "seed"?'),
        (
            {"federation.algoritm": ["fedsgd"]},
            'folder/demo.toml: matrix.federation.algoritm = ["fedsgd"]: unknown key; did you mean "algorithm"?',
        ),
        ({"local_epochs": [1]}, "folder/demo.toml: matrix.local_epochs = [1]: unknown key; did you mean "),
        (
            {"requests.0.rond": [1]},
            'folder/demo.toml: matrix.requests.0.rond = [1]: unknown key; did you mean "round"?',
        ),
        ({"name": ["a"]}, 'folder/demo.toml: matrix.name = ["a"]: unknown key'),
        ({"zzz.yyy": [1]}, "folder/demo.toml: matrix.zzz.yyy = [1]: unknown key"),
        ({"seed": 3}, "folder/demo.toml: matrix.seed = 3: must be a list of values, or { range = [first, end] }"),
        ({"seed": []}, "folder/demo.toml: matrix.seed = []: must be a list of values"),
        ({"seed": [0, 0]}, "folder/demo.toml: matrix.seed.1 = 0: is listed twice"),
        ({"seed": {"range": [4]}}, "folder/demo.toml: matrix.seed.range = [4]: must be [first, end]"),
        ({"seed": {"range": [4, 4]}}, "folder/demo.toml: matrix.seed.range = [4, 4]: must be [first, end]"),
        ({"a b": [1]}, 'folder/demo.toml: "a b": not a dotted key'),
        (
            {"model": {"name": ["a"]}, "model.name": ["b"]},
            'folder/demo.toml: matrix.model.name = ["b"]: is there twice',
        ),
        (
            {"model.name": ["a"], "model": [{"name": "b"}]},
            "folder/demo.toml: matrix.model.name: is also set by the tables of matrix.model",
        ),
        ({"seed": [0, -1]}, "folder/demo.toml, cell seed-1: seed = -1: must be an integer >= 0"),
        ({"requests.0.round": [4]}, "folder/demo.toml, cell round4: requests = "),
    ],
)
def test_bad_matrices(matrix: Any, line: str):
    with pytest.raises(ScenarioError) as caught:
        cells_of(matrix)
    assert str(caught.value).startswith(line)


def test_entries_of_lists_and_settings_of_plug_ins_can_vary():
    matrix = {"requests.0.target.random": [1, 2], "unlearning.options.federaser.interval": [1, 3]}
    cells = cells_of(matrix, requests=[REQUEST])
    assert [cell.name for cell in cells] == [f"random{r}-interval{i}" for r in (1, 2) for i in (1, 3)]
    assert cells[3].scenario.unlearning.options == {"federaser": {"interval": 3}}
    assert cells[3].scenario.requests[0].target.random == 2


def key_of(**tables: Any) -> str:
    return trunk_key(validate(Scenario, {"requests": [REQUEST]} | tables))


def test_cells_share_a_trunk_unless_its_training_differs():
    same: list[dict[str, Any]] = [
        {"title": "x"},
        {"name": "other"},
        {"federation": {"engine": "inline", "workers": 4, "clients-per-node": 3, "client-timeout": 1.0}},
        {"federation": {"evaluate-every": 2, "round-timeout": 5.0, "rounds": 20}},  # the trunk ends at round 3
        {"unlearning": {"methods": ["federaser"], "rounds": 9}},
        {"requests": [REQUEST | {"scope": "sample", "target": {"random": 5}}]},
        {"observers": [{"name": "a", "access": "labels"}]},
        {"output": {"tape": False}},
    ]
    other: list[dict[str, Any]] = [
        {"seed": 1},
        {"judge": {"split": "validation"}},
        {"data": {"name": "mnist-5k"}},
        {"partition": {"alpha": 0.6}},
        {"model": {"width": 3}},
        {"federation": {"learning-rate": 0.2}},
        {"federation": {"strategy": "FedAdam"}},
        {"requests": [REQUEST | {"round": 4}]},
        {"requests": []},
        {"faults": [{"kind": "nan"}]},
    ]
    base = key_of()
    assert len(base) == 64
    assert [key_of(**tables) == base for tables in same] == [True] * len(same)
    keys = [key_of(**tables) for tables in other]
    assert len({base, *keys}) == len(keys) + 1


def test_the_summary_names_cells_requests_branches_and_knowledge():
    tables = {
        "requests": [REQUEST],
        "observers": [{"name": "server", "access": "updates", "flags": ["method"]}],
        "attacks": [{"name": "bias-drop", "observer": "server"}],
    }
    text = "\n".join(summary(cells_of({"seed": {"range": [0, 40]}}, **tables)))
    assert "40: seed0, seed1" in text
    assert "seed39; trunks to train: 40" in text
    assert "request-1: after round 3, all clients, class (random = 1)" in text
    assert "retrain, retrain-other-init, control, placebo, absent, finetune" in text
    assert "bias-drop by server (access updates, method)" in text
