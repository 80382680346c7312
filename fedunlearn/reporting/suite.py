"""A suite of unlearning methods: for each what it forgot, what it kept and what it cost, over the cells of a group."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedunlearn.judging.forgetting.compare import retained_test_accuracy
from fedunlearn.judging.forgetting.cost import DURING_TRAINING, speed_up
from fedunlearn.judging.groups import Group, group_cells
from fedunlearn.judging.metric import finite_or_none, number
from fedunlearn.names import CONTROLS, RETRAINED, TRUNK

Results = Mapping[str, Any]

FEWEST = 4  # methods that make a suite
REFERENCES = (TRUNK, *RETRAINED, "control")
SHARES = (
    "forget_accuracy", "retain_accuracy", "test_retain_accuracy", "backdoor_success", "average_gap", "mia_efficacy",
    "mia_auc", "stopped",
)  # fmt: skip
COSTS = ("rounds", "bytes", "client_seconds", "server_seconds", "server_bytes", "speed_up")
SCOPES = {"class": "a class", "client": "a client", "sample": "single samples"}
KNOWN = {"class": "forget_accuracy", "client": "backdoor_success"}  # what shows that it was not forgotten, by scope
MARGIN = 0.01  # by which it may be above the retrained models


@dataclass(frozen=True)
class Figure:
    """A measure over the cells in which it is known: mean, standard deviation (None below two cells), their number."""

    mean: float
    spread: float | None
    n: int


@dataclass(frozen=True)
class Method:
    """A row: an unlearning method or a reference.

    Attributes:
        name: in the registry.
        cells: in how many cells it was finished.
        figures: by measure (`SHARES`, `COSTS`); those that are known in no cell are left out.
        own_trunk: whether it trains in a way of its own, which its costs leave out.
        foresees: whether that training must know the request.
    """

    name: str
    cells: int
    figures: Mapping[str, Figure]
    own_trunk: bool = False
    foresees: bool = False

    def mean(self, measure: str) -> float | None:
        """Return a measure's mean, None where it is not known."""
        return self.figures[measure].mean if measure in self.figures else None

    @property
    def reference(self) -> bool:
        """Whether it is no method, but what methods are compared with."""
        return self.name in REFERENCES


@dataclass(frozen=True)
class Suite:
    """The methods of one group of cells: those that differ only in their seed.

    Attributes:
        group: the group's label, as in the summary.
        title: the data set and what was forgotten.
        cells: how many there are.
        references: trunk, retrained models and control, as far as they were run.
        methods: the closest to retraining first.
        floor: by how much retraining differs from itself (`average_gap_floor`), None where it is not known.
        limits: what a method may at most still know, by measure: as much as the retrained model that knows most of
            it, and a point.
    """

    group: str
    title: str
    cells: int
    references: tuple[Method, ...]
    methods: tuple[Method, ...]
    floor: float | None
    limits: Mapping[str, float]

    @property
    def rows(self) -> tuple[Method, ...]:
        """The references, then the methods."""
        return self.references + self.methods

    @property
    def measures(self) -> tuple[str, ...]:
        """The measures that are known of any method."""
        return tuple(name for name in (*SHARES, *COSTS) if any(name in method.figures for method in self.methods))

    def within_floor(self, method: Method) -> bool:
        """Return whether a method is as close to retraining as retraining is to itself, and knows no more than it.

        It must have been finished in every cell: where it diverged it was not close.
        """
        gap = method.mean("average_gap")
        if method.reference or gap is None or self.floor is None or method.cells < self.cells:
            return False
        known = [(method.mean(measure), limit) for measure, limit in self.limits.items()]
        return gap <= self.floor and all(value is not None and value <= limit for value, limit in known)

    def reference(self, name: str) -> Method | None:
        """Return a reference by name, None where it was not run."""
        return next((row for row in self.references if row.name == name), None)


def suites(cells: Sequence[Results]) -> list[Suite]:
    """Return a suite for each group of cells in which at least `FEWEST` methods were tried."""
    groups = [group for group in group_cells(cells) if len(_methods(group)) >= FEWEST]
    titles = [_title(group) for group in groups]
    often = Counter(titles)
    return [
        _suite(group, title if often[title] == 1 else f"{title} ({group.label})")
        for group, title in zip(groups, titles, strict=True)
    ]


def records(found: Sequence[Suite]) -> list[dict[str, Any]]:
    """Return one row per group, method and measure, for summary.csv."""
    return [
        {"group": suite.group, "branch": row.name, "metric": measure}
        | {"value": figure.mean, "spread": figure.spread, "n": figure.n, "failed": suite.cells - row.cells}
        for suite in found
        for row in suite.rows
        for measure, figure in row.figures.items()
    ]


def _methods(group: Group) -> list[str]:
    """Return the methods that were tried, those that could not be finished included."""
    names = [branch["name"] for results in group.cells for branch in results["branches"]]
    names += [failure["branch"] for results in group.cells for failure in results.get("failures", [])]
    others = (TRUNK, *CONTROLS, *RETRAINED)
    return [name for name in dict.fromkeys(names) if name not in others and not name.startswith(f"{RETRAINED[1]}-")]


def _title(group: Group) -> str:
    first = group.cells[0]
    data = first["scenario"].get("data", {}).get("name", "")
    scopes = dict.fromkeys(request.get("scope", "sample") for request in first["requests"])
    forgotten = " and ".join(SCOPES[scope] for scope in scopes)
    return f"{data}: forgetting {forgotten}" if data else f"forgetting {forgotten}"


def _suite(group: Group, title: str) -> Suite:
    references = [_row(name, group) for name in REFERENCES]
    methods = [_row(name, group) for name in _methods(group)]
    floor = _mean(
        _mean(branch["metrics"].get("average_gap_floor") for branch in results["branches"]) for results in group.cells
    )
    return Suite(
        group.label,
        title,
        len(group.cells),
        tuple(row for row in references if row.cells),
        tuple(sorted(methods, key=_distance)),
        floor,
        _limits(group),
    )


def _limits(group: Group) -> dict[str, float]:
    """Return what methods may at most still know; empty where single samples go, or no backdoor was planted."""
    scopes = {request.get("scope", "sample") for results in group.cells for request in results["requests"]}
    retrained = [[b for b in results["branches"] if b["name"] in RETRAINED] for results in group.cells]
    limits = {}
    for measure in (KNOWN[scope] for scope in KNOWN if scope in scopes):
        by_branch: dict[str, list[float | None]] = defaultdict(list)
        for branch in (branch for found in retrained for branch in found):
            by_branch[branch["id"]].append(_value(branch, measure))
        means = [mean for values in by_branch.values() if (mean := _mean(values)) is not None]
        if means:
            limits[measure] = max(means) + MARGIN
    return limits


def _distance(method: Method) -> tuple[float, float, str]:
    """Sort by the gap to retraining, where that is unknown by what was not forgotten; what has neither comes last."""
    gap, forget = method.mean("average_gap"), method.mean("forget_accuracy")
    return (np.inf if gap is None else gap, np.inf if forget is None else forget, method.name)


def _row(name: str, group: Group) -> Method:
    """Average a method over the cells; of several copies in a cell, as of retraining, their mean counts."""
    copies = [[branch for branch in results["branches"] if branch["name"] == name] for results in group.cells]
    finished = [found for found in copies if found]
    figures = {
        measure: _figure(_mean(_value(branch, measure) for branch in found) for found in finished)
        for measure in (*SHARES, *COSTS)
        if measure != "speed_up"
    }
    branches = [branch for found in finished for branch in found]
    costs = [branch.get("cost", {}) for branch in branches]
    foresees = any(cost.get("note") == DURING_TRAINING for cost in costs)
    figures["speed_up"] = None if foresees or name == TRUNK else _speed_up(name, group)
    return Method(
        name,
        len(finished),
        {measure: figure for measure, figure in figures.items() if figure is not None},
        any(cost.get("prepared", {}).get("rounds") for cost in costs),
        foresees,
    )


def _speed_up(name: str, group: Group) -> Figure | None:
    """Compare the means over the cells; a mean of factors would be that of the cell with the least work."""
    pairs = [[_seconds(results, names) for names in (RETRAINED, (name,))] for results in group.cells]
    known = [(retrained, own) for retrained, own in pairs if retrained is not None and own is not None]
    if not known:
        return None
    retrained, own = np.mean(known, axis=0)
    factor = finite_or_none(speed_up(float(retrained), float(own)))
    return None if factor is None else Figure(factor, None, len(known))


def _seconds(results: Results, names: Sequence[str]) -> float | None:
    return _mean(_value(branch, "client_seconds") for branch in results["branches"] if branch["name"] in names)


def _value(branch: Mapping[str, Any], measure: str) -> float | None:
    if measure in COSTS and branch["name"] == TRUNK:  # has not unlearned anything
        return None
    if measure == "test_retain_accuracy":
        return finite_or_none(retained_test_accuracy(branch["metrics"]))
    if measure == "stopped":
        stopped = branch["details"].get("stopped")
        return stopped and stopped["answers"] / stopped["of"]
    found: Mapping[str, float | None] = branch["metrics"] if measure in SHARES else branch.get("cost", {})
    return found.get(measure)


def _mean(values: Iterable[float | None]) -> float | None:
    figure = _figure(values)
    return None if figure is None else figure.mean


def _figure(values: Iterable[float | None]) -> Figure | None:
    """Return mean and spread of the known values, None when there are none."""
    column = np.array([number(value) for value in values])
    known = column[np.isfinite(column)]
    if not len(known):
        return None
    return Figure(float(known.mean()), float(known.std(ddof=1)) if len(known) > 1 else None, len(known))
