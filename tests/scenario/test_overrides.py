"""`--set key.path=value`."""

from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from fedunlearn.errors import ScenarioError
from fedunlearn.scenario.overrides import lay_over, parse_key, parse_override
from fedunlearn.scenario.schema import dotted


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("seed=3", ("seed",), 3),
        ("federation.learning-rate = 0.5", ("federation", "learning-rate"), 0.5),
        ("federation.algorithm=fedsgd", ("federation", "algorithm"), "fedsgd"),
        ('federation.algorithm="fedsgd"', ("federation", "algorithm"), "fedsgd"),
        ("output.tape=false", ("output", "tape"), False),
        ("requests.0.target={classes=[1, 2]}", ("requests", "0", "target"), {"classes": [1, 2]}),
        ('matrix."federation.algorithm"=["a", "b"]', ("matrix", "federation.algorithm"), ["a", "b"]),
        ("title=a = b", ("title",), "a = b"),
        ("title=", ("title",), ""),
        ("title=1\nseed = 2", ("title",), "1\nseed = 2"),  # one --set sets one key
    ],
)
def test_values_are_toml_or_else_text(text: str, path: tuple[str, ...], value: Any):
    override = parse_override(text)
    assert (override.path, override.value) == (path, value)


@pytest.mark.parametrize("text", ["seed", "=3", "a b=3", "a..b=3", "a\nb=3", ""])
def test_what_is_no_assignment_is_refused(text: str):
    with pytest.raises(ScenarioError, match=r"write key\.path=value") as caught:
        parse_override(text)
    assert "\n" not in str(caught.value)


printable = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1)


@given(st.lists(printable, min_size=1, max_size=4))
def test_every_dotted_key_can_be_read_back(parts: list[str]):
    assert parse_key(dotted(tuple(parts))) == tuple(parts)


def test_lists_are_reached_by_number():
    raw = {"requests": [{"round": 1}, {"round": 2}]}
    assert lay_over(raw, ("requests", "1", "round"), 5) == {"requests": [{"round": 1}, {"round": 5}]}
    assert raw == {"requests": [{"round": 1}, {"round": 2}]}  # not modified


def test_a_table_replaces_or_merges():
    raw = {"model": {"name": "mlp", "width": 8}}
    assert lay_over(raw, ("model",), {"width": 9}) == {"model": {"width": 9}}
    assert lay_over(raw, ("model",), {"width": 9}, merge=True) == {"model": {"name": "mlp", "width": 9}}


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("seed", "x"), "seed = 1: is no table, so there is no seed.x"),
        (("requests", "2", "round"), "requests.2.round: requests has entries 0 to 1"),
        (("requests", "first"), "requests.first: requests has entries 0 to 1"),
        (("faults", "0", "kind"), "faults.0.kind: faults has no entries"),
    ],
)
def test_paths_that_lead_nowhere(path: tuple[str, ...], line: str):
    raw = {"seed": 1, "requests": [{"round": 1}, {"round": 2}], "faults": []}
    with pytest.raises(ScenarioError) as caught:
        lay_over(raw, path, 0)
    assert str(caught.value) == line


@given(st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text())
def test_any_toml_scalar_can_be_set(value: Any):
    text = tomli_w.dumps({"v": value}).removeprefix("v = ")
    assert parse_override(f"some.key={text}").value == value
