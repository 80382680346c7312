"""Scenario files: reading, writing, and what cannot be read."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedunlearn.errors import ScenarioError
from fedunlearn.scenario import Scenario, load, load_cells, read, to_toml, validate

SCENARIOS = sorted((Path(__file__).parents[2] / "scenarios").glob("*.toml"))


def test_the_file_names_the_scenario(tmp_path: Path):
    file = tmp_path / "my first try!.toml"
    file.write_text("seed = 3\n")
    assert load(file).name == "my-first-try-"
    assert load(file, ["name=other"]).name == "other"
    assert [cell.name for cell in load_cells(file)] == ["my-first-try-"]


def test_a_matrix_is_kept_until_it_is_expanded(tmp_path: Path):
    file = tmp_path / "both.toml"
    file.write_text('[matrix]\n"federation.algorithm" = ["fedsgd", "fedavg"]\nseed = { range = [0, 2] }\n')
    scenario = load(file)
    assert scenario.matrix == {"federation.algorithm": ["fedsgd", "fedavg"], "seed": {"range": [0, 2]}}
    again = tmp_path / "again.toml"
    again.write_text(to_toml(scenario))
    assert load(again) == scenario
    assert [cell.name for cell in load_cells(again)] == [cell.name for cell in load_cells(file)]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"seed = 1\nseed =\n", "bad.toml: not TOML: Invalid value (at line 2, column 7)"),
        (b"seed = 1\nseed = 2\n", "bad.toml: not TOML: Cannot overwrite a value (at line 2, column 9)"),
        (b"[data\n", "bad.toml: not TOML: Expected ']' at the end of a table declaration (at line 1, column 6)"),
        (b"title = '\xff'", "bad.toml: not UTF-8 text (byte 9)"),
        (b"x = 1", "bad.toml: x = 1: unknown key; choose one of attacks, data, defences, "),
    ],
)
def test_files_that_are_no_scenario(tmp_path: Path, text: bytes, line: str):
    file = tmp_path / "bad.toml"
    file.write_bytes(text)
    with pytest.raises(ScenarioError) as caught:
        load(file)
    assert str(caught.value).startswith(str(tmp_path / line))


def test_a_missing_file_names_the_nearest(tmp_path: Path):
    (tmp_path / "quickstart.toml").write_text("")
    with pytest.raises(ScenarioError, match=r'no such file; did you mean ".*/quickstart.toml"\?'):
        read(tmp_path / "quikstart.toml")
    with pytest.raises(ScenarioError, match="Is a directory"):
        read(tmp_path)


@pytest.mark.parametrize("file", SCENARIOS, ids=lambda file: file.stem)
def test_every_scenario_file_loads_and_comes_back(file: Path):
    for cell in load_cells(file):
        assert validate(Scenario, tomllib.loads(to_toml(cell.scenario))) == cell.scenario


words = st.text(max_size=20)
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,8}", fullmatch=True)
positive = st.floats(1e-6, 1e6)
amounts = st.integers(1, 999) | st.floats(0.01, 0.2)
free = st.dictionaries(
    words, st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False) | words, max_size=3
)
targets = st.one_of(
    st.tuples(st.just("sample"), st.fixed_dictionaries({"samples": st.lists(st.integers(0, 99), min_size=1)})),
    st.tuples(st.just("class"), st.fixed_dictionaries({"classes": st.lists(st.integers(0, 9), min_size=1)})),
    st.tuples(st.just("client"), st.fixed_dictionaries({"clients": st.lists(st.integers(0, 4), min_size=1)})),
    st.tuples(st.sampled_from(["sample", "class"]), st.fixed_dictionaries({"random": st.integers(1, 9)})),
)


@st.composite
def scenarios(draw: st.DrawFn) -> dict[str, Any]:
    """Valid scenarios with values of every kind of key."""
    observers = draw(st.lists(names, min_size=1, max_size=3, unique=True))
    requests = [
        {"round": draw(st.integers(1, 5)), "scope": scope, "target": target, "holders": draw(holders)}
        for scope, target in draw(st.lists(targets, max_size=3))
    ]
    return {
        "name": draw(names),
        "title": draw(words),
        "seed": draw(st.integers(0, 2**32 - 1)),
        "data": {"name": draw(names), "train": draw(amounts), "test": draw(amounts), "public": draw(amounts)},
        "partition": {"alpha": draw(positive), "sizes": draw(st.lists(st.integers(1, 9), max_size=3))},
        "federation": {
            "clients": draw(st.integers(5, 50)),
            "rounds": draw(st.integers(5, 99)),
            "clients-per-round": draw(st.just("all") | st.integers(1, 5)),
            "learning-rate": draw(positive | st.integers(1, 5)),
            "strategy-options": draw(free),
        },
        "requests": requests,
        "unlearning": {"options": draw(st.dictionaries(names, free, max_size=2))},
        "observers": [{"name": name, "access": "updates", "rounds": ["first", 3]} for name in observers],
        "attacks": [{"name": draw(names), "observer": draw(st.sampled_from(observers)), "settings": draw(free)}],
        "faults": [{"kind": "nan", "clients": draw(holders), "probability": draw(st.floats(0.1, 1))}],
    }


holders = st.just("all") | st.lists(st.integers(0, 4), min_size=1, max_size=5)


@given(scenarios())
def test_toml_to_model_to_toml_is_a_round_trip(raw: dict[str, Any]):
    scenario = validate(Scenario, raw)
    text = to_toml(scenario)
    again = validate(Scenario, tomllib.loads(text))
    assert again == scenario
    assert to_toml(again) == text
