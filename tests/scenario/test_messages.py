"""Every mistake in a table is one line: key, value, what is allowed, the nearest right one."""

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from fedunlearn.errors import ScenarioError
from fedunlearn.scenario import Scenario, expand, validate
from fedunlearn.scenario.messages import MAX_VALUE_LENGTH, show
from fedunlearn.scenario.schema import describe

OBSERVER = {"name": "server", "access": "updates"}


def refusal(raw: dict[str, Any]) -> str:
    with pytest.raises(ScenarioError) as caught:
        validate(Scenario, raw)
    return str(caught.value)


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        ({"federation": {"round": 3}}, 'federation.round = 3: unknown key; did you mean "rounds"?'),
        ({"federation": {"local_epochs": 3}}, 'federation.local_epochs = 3: unknown key; did you mean "local-epochs"?'),
        ({"federaton": {"rounds": 3}}, 'federaton = {"rounds": 3}: unknown key; did you mean "federation"?'),
        ({"federation": {"seed": 3}}, "federation.seed = 3: unknown key; did you mean seed?"),
        (
            {"learning_rate": 3},
            "learning_rate = 3: unknown key; did you mean federation.learning-rate or probes.0.learning-rate?",
        ),
        ({"output": {"zzz": 3}}, "output.zzz = 3: unknown key; choose one of keep-journal, tape, tensorboard"),
        ({"federation": {"rounds": "ten"}}, 'federation.rounds = "ten": must be an integer >= 1'),
        ({"federation": {"rounds": 2.0}}, "federation.rounds = 2.0: must be an integer >= 1"),
        ({"federation": {"rounds": True}}, "federation.rounds = true: must be an integer >= 1"),
        ({"federation": {"rounds": 0}}, "federation.rounds = 0: must be an integer >= 1"),
        ({"federation": {"momentum": 1}}, "federation.momentum = 1: must be a finite number >= 0 and < 1"),
        (
            {"federation": {"learning-rate": float("nan")}},
            "federation.learning-rate = nan: must be a finite number > 0",
        ),
        (
            {"federation": {"learning-rate": float("inf")}},
            "federation.learning-rate = inf: must be a finite number > 0",
        ),
        (
            {"federation": {"algorithm": "fedavgg"}},
            'federation.algorithm = "fedavgg": must be one of "fedsgd", "fedavg"; did you mean "fedavg"?',
        ),
        (
            {"federation": {"clients-per-node": "aut"}},
            'federation.clients-per-node = "aut": must be "auto" or an integer >= 1; did you mean "auto"?',
        ),
        (
            {"federation": {"strategy-options": {"x": [1]}}},
            "federation.strategy-options.x = [1]: must be true or false or an integer or a finite number or a text",
        ),
        ({"data": {"test": 0}}, "data.test = 0: must be an integer >= 1 or a finite number > 0 and < 1"),
        ({"requests": 3}, "requests = 3: must be an array of tables"),
        ({"requests": [3]}, "requests.0 = 3: must be a table"),
        (
            {"requests": [{}]},
            'requests.0.scope: is missing; it must be one of "sample", "class", "client" (and 1 more)',
        ),
        ({"model": 3}, "model = 3: must be a table"),
        ({"unlearning": {"methods": "finetune"}}, 'unlearning.methods = "finetune": must be a list, each a text'),
        ({"name": "a/b"}, 'name = "a/b": must be a text that matches ^[A-Za-z0-9]'),
        ({"data": {"name": ""}}, 'data.name = "": must be a text that is not empty'),
        (
            {"observers": [OBSERVER | {"rounds": ["frist"]}]},
            'observers.0.rounds.0 = "frist": must be one of "first", "around-request", "all" or an integer >= 1; '
            'did you mean "first"?',
        ),
    ],
)
def test_message(raw: dict[str, Any], line: str):
    assert refusal(raw).startswith(line)


def test_access_levels_are_named():
    line = refusal({"observers": [OBSERVER | {"access": "update"}]})
    assert line.startswith('observers.0.access = "update": must be one of "labels", ')
    assert line.endswith('did you mean "updates"?')


def test_several_problems_are_counted_by_key():
    # Each wrong union is one problem, however many alternatives its type has.
    line = refusal({"seed": "x", "data": {"test": "y"}, "federation": {"clients-per-round": "z"}})
    assert line == 'seed = "x": must be an integer >= 0 and <= 4294967295 (and 2 more)'


def test_values_are_shown_on_one_short_line():
    assert show({"a": "line\nbreak"}) == '{"a": "line\\nbreak"}'
    assert len(show("x" * 500)) == MAX_VALUE_LENGTH
    assert show(float("nan")) == "nan"


def test_types_in_words():
    assert describe(Literal["all"] | Annotated[int, Field(ge=1)]) == '"all" or an integer >= 1'
    assert describe(tuple[float, ...]) == "a list, each a finite number"
    assert describe(int | None) == "an integer"


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
keys = st.sampled_from(
    ["seed", "name", "data", "requests", "federation", "round", "target", "random", "holders", "x y"]
)
junk = st.recursive(leaves, lambda below: st.lists(below, max_size=3) | st.dictionaries(keys, below, max_size=4))


def complaint(raw: dict[str, Any]) -> str:
    try:
        expand(raw, Path("x.toml"))
    except ScenarioError as error:
        return str(error)
    return ""


@given(st.dictionaries(keys, junk, max_size=4), st.dictionaries(keys, junk, max_size=3) | junk)
def test_whatever_is_wrong_is_one_line(raw: dict[str, Any], matrix: Any):
    line = complaint(raw | {"matrix": matrix} if matrix else raw)
    assert "\n" not in line
    assert len(line) < 700
