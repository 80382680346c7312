"""`[matrix]`: lists of values for any keys; every combination is a cell.

The key `runs` lists whole tables, each laid over the scenario: a subset of combinations that somebody chose. Such a
table may hold a `matrix` of its own, laid over the common one: more seeds for one run than for another, say.
"""

import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedunlearn.errors import ScenarioError
from fedunlearn.scenario.messages import nearest_key, problem, validate
from fedunlearn.scenario.models import Scenario
from fedunlearn.scenario.overrides import Override, lay_over, parse_key
from fedunlearn.scenario.schema import all_keys, dotted

MAX_LABEL_LENGTH = 40
RUNS = "runs"
# Keys of [federation] that say how the work is carried or watched, not what the trunk learns.
CARRIAGE = frozenset({
    "rounds", "engine", "workers", "clients-per-node", "client-timeout", "round-timeout", "quorum", "evaluate-every",
})  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One combination of a matrix.

    Attributes:
        name: readable and unique in its run, fit for a folder: `fedsgd-seed0`.
        values: what the matrix set, by dotted key.
        scenario: the whole, without a matrix.
    """

    name: str
    values: dict[str, Any]
    scenario: Scenario


@dataclass(frozen=True)
class _Axis:
    path: tuple[str, ...]
    values: Sequence[Any]

    @property
    def key(self) -> str:
        return dotted(self.path) or RUNS

    def lay(self, table: Mapping[str, Any], value: Any) -> Mapping[str, Any]:
        """Return a scenario with one of the values."""
        if self.path:
            return lay_over(table, self.path, value, merge=True)
        for key, own in value.items():
            table = lay_over(table, (key,), own, merge=True)
        return table


def expand(raw: Mapping[str, Any], path: Path, overrides: Sequence[Override] = ()) -> list[Cell]:
    """Return the cells of a scenario; one, named after it, when it has no matrix.

    Args:
        raw: the scenario as read from TOML.
        path: its file, for messages.
        overrides: laid over every cell, after the matrix; an axis that an override settles is dropped.

    Raises:
        ScenarioError: naming the file, the cell and the key.
    """
    above = [override for override in overrides if override.path[0] != "matrix"]
    where = str(path)
    try:
        base = {key: value for key, value in raw.items() if key != "matrix"}
        cells: list[Cell] = []
        for axes, choice in _choices(_grids(raw.get("matrix", {}), overrides)):
            name = "-".join(label for label, _ in choice)
            where = f"{path}, cell {name}" if name else str(path)
            table: Mapping[str, Any] = base
            for axis, (_, value) in zip(axes, choice, strict=True):
                table = axis.lay(table, value)
            for override in above:
                table = lay_over(table, override.path, override.value)
            scenario = validate(Scenario, table)
            if any(cell.name == name for cell in cells):
                name += f"-{len(cells)}"
            values = {axis.key: value for axis, (_, value) in zip(axes, choice, strict=True)}
            cells.append(Cell(name or scenario.name, values, scenario))
    except ScenarioError as error:
        raise ScenarioError(f"{where}: {error}") from None
    return cells


def _choices(grids: Sequence[Sequence[_Axis]]) -> Iterator[tuple[Sequence[_Axis], Sequence[tuple[str, Any]]]]:
    """Yield (axes, a label and a value for each of them) for every combination in every grid."""
    for axes in grids:
        for choice in itertools.product(*(zip(_labels(axis), axis.values, strict=True) for axis in axes)):
            yield axes, choice


def _grids(matrix: Any, overrides: Sequence[Override]) -> list[list[_Axis]]:
    """Return the axes of a matrix, or of each of its runs where one has a matrix of its own."""
    common = _flat(matrix)
    runs = _overridden(common, overrides).get(())
    if not isinstance(runs, list) or not any(isinstance(run, Mapping) and "matrix" in run for run in runs):
        return [_checked(_overridden(common, overrides))]
    _axis((), runs)
    grids = []
    for run in runs:
        own = _overridden(common | _flat(run.get("matrix", {})), overrides)
        grids.append(_checked(own | {(): [{key: value for key, value in run.items() if key != "matrix"}]}))
    return grids


def _overridden(axes: dict[tuple[str, ...], Any], overrides: Sequence[Override]) -> dict[tuple[str, ...], Any]:
    """Return axes after overrides: `matrix.seed=[0, 1]` gives an axis, `seed=3` settles one."""
    axes = dict(axes)
    for override in overrides:
        if override.path[0] == "matrix":
            given = _flat(lay_over({}, override.path, override.value)["matrix"])
            axes = given if override.path == ("matrix",) else axes | given
        else:
            axes.pop(override.path, None)
    return axes


def _checked(axes: Mapping[tuple[str, ...], Any]) -> list[_Axis]:
    checked = [_axis(path, values) for path, values in axes.items()]
    for table, axis in itertools.permutations(checked, 2):
        above, below = axis.path[: len(table.path)], axis.path[len(table.path) :]
        tables = [value for value in table.values if isinstance(value, Mapping)]
        if above == table.path and below and any(below[0] in value for value in tables):
            raise ScenarioError(f"matrix.{axis.key}: is also set by the tables of matrix.{table.key}")
    return checked


def _flat(matrix: Any, above: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Return the lists of a matrix by key path; keys may be quoted (`"model.name"`) or not, which nests tables."""
    if not isinstance(matrix, Mapping):
        raise ScenarioError(problem(dotted(("matrix", *above)), matrix, "must be a table of lists"))
    axes: dict[tuple[str, ...], Any] = {}
    for key, values in matrix.items():
        path = above + parse_key(key) if (*above, key) != (RUNS,) else ()
        inner = {path: values}
        if path and isinstance(values, Mapping) and set(values) != {"range"}:
            inner = _flat(values, path)
        if again := axes.keys() & inner.keys():
            raise ScenarioError(problem(f"matrix.{dotted(min(again))}", values, "is there twice"))
        axes |= inner
    return axes


def _axis(path: tuple[str, ...], values: Any) -> _Axis:
    key = f"matrix.{dotted(path) or RUNS}"
    if path:
        _check_key(path, key, values)
    elif not isinstance(values, list) or not all(isinstance(value, Mapping) and value for value in values):
        raise ScenarioError(problem(key, values, "must be a list of tables, each laid over the scenario"))
    if isinstance(values, Mapping):
        return _Axis(path, _range(key, values["range"]))
    if not isinstance(values, list) or not values:
        raise ScenarioError(problem(key, values, "must be a list of values, or { range = [first, end] }"))
    for number, value in enumerate(values):
        if value in values[:number]:
            raise ScenarioError(problem(f"{key}.{number}", value, "is listed twice"))
    return _Axis(path, values)


def _check_key(path: tuple[str, ...], key: str, values: Any) -> None:
    """Refuse an axis that no scenario has; below free tables (an unlearner's options) anything may stand."""
    known = {dotted(known) for known in all_keys(Scenario) if known[0] not in ("matrix", "name")}
    general = dotted(tuple("0" if part.isdecimal() else part for part in path))
    free = ("federation.strategy-options.", "unlearning.options.", "attacks.0.settings.", "defences.0.settings.")
    entry = general.endswith(".0") and general.removesuffix(".0") in known
    if general not in known and not general.startswith(free) and not entry:
        raise ScenarioError(problem(key, values, f"unknown key{nearest_key(path, Scenario)}"))


def _range(key: str, bounds: Any) -> Sequence[int]:
    if isinstance(bounds, list) and [type(bound) for bound in bounds] == [int, int] and bounds[0] < bounds[1]:
        return range(*bounds)
    raise ScenarioError(problem(f"{key}.range", bounds, "must be [first, end] with first < end; the end is left out"))


def _labels(axis: _Axis) -> list[str]:
    """Return a short name for each value; numbers where the values alone would not tell them apart."""
    last = (axis.path or (RUNS,))[-1]
    labels = [_label(last, value) for value in axis.values]
    if all(isinstance(value, Mapping) for value in axis.values):
        for key in axis.values[0]:
            labels = [_label(key, value.get(key)) for value in axis.values]
            if len(set(labels)) == len(labels):
                return labels
    if len(set(labels)) < len(labels):
        return [f"{last}{number}" for number in range(1, len(labels) + 1)]
    return labels


def _label(key: str, value: Any) -> str:
    if isinstance(value, list):
        text = "+".join(_label("", item) for item in value) or f"no-{key}"
    elif isinstance(value, Mapping) and isinstance(value.get("name"), str):  # an attack, a defence
        own = value.get("settings", {})
        text = "-".join([value["name"], *(_label(name, own[name]) for name in own)])
    else:
        text = value if isinstance(value, str) else f"{key}{json.dumps(value, default=str)}"
    return re.sub(r"[^A-Za-z0-9.+]+", "-", text).strip("-.")[:MAX_LABEL_LENGTH] or key


def trunk_key(scenario: Scenario) -> str:
    """Return the SHA-256 of everything that decides the trunk's rounds; cells that share it share the trunk.

    Engine, workers, message sizes and time limits are left out, as are the rounds after the first request.
    """
    whole = scenario.model_dump(mode="json", by_alias=True)
    decisive = {key: whole[key] for key in ("seed", "data", "partition", "poison", "model", "faults")}
    decisive["learning-seed"] = scenario.learning_seed
    decisive["federation"] = {key: value for key, value in whole["federation"].items() if key not in CARRIAGE}
    decisive["rounds"] = scenario.trunk_rounds
    decisive["judged-on"] = scenario.judge.split  # the rounds' accuracies are kept with the trunk
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()
