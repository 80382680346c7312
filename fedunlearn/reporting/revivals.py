"""Revived models out of a summary: one table per group of cells and branch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedunlearn.judging.revival_rows import KINDS, STAGES, revived_rightly
from fedunlearn.names import CONTROLS
from fedunlearn.reporting import formats
from fedunlearn.reporting.class_blocks import Figure

Row = Mapping[str, Any]
ERASED, RETAINED, PRECISION = "erased-accuracy", "retained-accuracy", "class-precision"
UNTOUCHED = Figure(None, (None, None), 0, 0, None)
COLUMNS = {  # heading and meaning of every figure
    ERASED: ("erased", "images of the erased class that are called so"),
    RETAINED: ("retained", "images of the other classes that are called by theirs"),
    "class-false-positive-rate": ("FPR", "images of the other classes that are called the erased one"),
    PRECISION: ("precision", "calls of the erased class that are right"),
    "logit-auc": ("AUC", "how often the class's logit is higher on its own image than on another; no bias changes it"),
    "sign-accuracy": ("signs", "claimed signs of pruned weights that are right; 50 % is chance"),
    "kept-sign-accuracy": ("signs kept", "the same for the weights that were put back"),
    "mask-precision": ("mask prec.", "of what was taken for pruned, what was"),
    "mask-recall": ("mask rec.", "of what was pruned, what was taken for it"),
}
OF_MASK = ("mask-precision", "mask-recall")
OF_WEIGHTS = ("sign-accuracy", "kept-sign-accuracy", *OF_MASK)
SECTIONS = dict(
    zip(
        KINDS,
        ("Without an attack", "Revivals", "With a part of the truth", "What proves nothing by itself"),
        strict=True,
    )
)
UNPRUNED = "as it is"  # what the attacked model is called where nothing was pruned
ORACLE = "\u2020"  # behind a model that was given a part of the truth


@dataclass(frozen=True)
class Line:
    """A model: pruned or not, revived, or a control.

    Attributes:
        name: what the scenario calls the attack, or the stage.
        kind: one of `KINDS`.
        grants: what of the truth it was given.
        reason: why it gave no answer.
        figures: by metric.
    """

    name: str
    kind: str
    grants: tuple[str, ...]
    reason: str
    figures: Mapping[str, Figure]

    def figure(self, metric: str) -> Figure:
        """Return a figure, one without a value where there is none."""
        return self.figures.get(metric, UNTOUCHED)


@dataclass(frozen=True)
class Revival:
    """The models of one branch.

    Attributes:
        title: the group where there are several, and the branch.
        group, branch: where.
        trials: cells of the group.
        lines: stages, revivals, oracles, controls.
        growth: lines that watched rounds, by form: how many rounds, and the line.
    """

    title: str
    group: str
    branch: str
    trials: int
    lines: tuple[Line, ...]
    growth: Mapping[str, tuple[tuple[int, Line], ...]]

    @property
    def quiet(self) -> bool:
        """Whether nothing was pruned there."""
        return self.branch in CONTROLS

    @property
    def heading(self) -> str:
        """The title as a sentence begins."""
        return self.title[:1].upper() + self.title[1:] + (", where nothing was pruned" if self.quiet else "")

    @property
    def measures(self) -> tuple[str, ...]:
        """The metrics that are known of any line; of the mask only if not all of it was recognised by everybody."""
        known = {name: {line.figure(name).value for line in self.lines} - {None} for name in COLUMNS}
        return tuple(name for name, values in known.items() if values and not (name in OF_MASK and values == {1.0}))

    @property
    def best_control(self) -> Line | None:
        """The control that revives best, false calls considered; None where no control gave an answer."""
        known = [line for line in self.lines if line.kind == "control" and line.figure(ERASED).value is not None]
        best = lambda line: revived_rightly(line.figure(ERASED).value, line.figure(PRECISION).value)  # noqa: E731
        return max(known, key=best) if known else None

    @property
    def silent(self) -> Mapping[str, tuple[str, ...]]:
        """The attacks that gave no answer, by the reason."""
        found: dict[str, tuple[str, ...]] = {}
        for line in self.lines:
            if line.figure(ERASED).value is None:
                found[line.reason] = (*found.get(line.reason, ()), line.name)
        return found

    def of_kind(self, kind: str) -> tuple[Line, ...]:
        """Return the lines of a kind that say anything."""
        return tuple(line for line in self.lines if line.kind == kind and line.figure(ERASED).value is not None)


def revivals(summary: Row) -> list[Revival]:
    """Return the tables that there are, branches where nothing was pruned last."""
    places: dict[tuple[str, str], list[Row]] = {}
    for row in summary.get("revivals", []):
        places.setdefault((row["group"], row["branch"]), []).append(row)
    several = len({group for group, _ in places}) > 1
    found = []
    for (group, branch), own in places.items():
        title = f"{group}, after {branch}" if several else f"after {branch}"
        lines = tuple(_line(row, quiet=branch in CONTROLS) for row in own)
        found.append(Revival(title, group, branch, own[0]["cells"], lines, _growth(own, lines)))
    return sorted(found, key=lambda revival: revival.quiet)


def _growth(rows: Sequence[Row], lines: Sequence[Line]) -> dict[str, tuple[tuple[int, Line], ...]]:
    """Return the lines that watched rounds by their form; of several that watched as many the first."""
    growth: dict[str, dict[int, Line]] = {}
    for row, line in zip(rows, lines, strict=True):
        if row["rounds"]:
            growth.setdefault(row["series"], {}).setdefault(row["rounds"], line)
    return {series: tuple(sorted(points.items())) for series, points in growth.items()}


def count(line: Line, trials: int) -> str:
    """Return n: of one run how many images of the erased class and of others, of several runs how many."""
    erased, retained = line.figure(ERASED), line.figure(RETAINED)
    if trials == 1:
        return f"{erased.n} + {retained.n}"
    return f"{erased.n}" + (f" of {trials}" if erased.n < trials else "")


def text(line: Line, metric: str, trials: int) -> str:
    """Return a figure for a reader, with its own n where that is another than the line's."""
    figure = line.figure(metric)
    shown = formats.amount(metric, figure.value)
    other = metric in OF_WEIGHTS if trials == 1 else figure.n != line.figure(ERASED).n
    return f"{shown} (n = {figure.n:,})" if other and figure.value is not None else shown


def silence(revival: Revival) -> list[str]:
    """Return a sentence per reason for which attacks gave no answer."""
    return [
        f"No answer: {formats.listed(names)}{f' ({reason})' if reason else ''}."
        for reason, names in revival.silent.items()
    ]


def name_of(line: Line) -> str:
    """Return the line's name, marked where it was given a part of the truth."""
    return f"{line.name} {ORACLE}" if line.kind == "oracle" else line.name


def _line(row: Row, *, quiet: bool) -> Line:
    figures = {
        name: Figure(entry["value"], entry["ci"], entry["n"], entry["failed"], None)
        for name, entry in row["figures"].items()
    }
    name = UNPRUNED if quiet and row["model"] == STAGES["pruned"] else row["model"]
    return Line(name, row["kind"], tuple(row["grants"]), row["reason"], figures)
