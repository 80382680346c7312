"""Claimed pictures of classes out of a summary: one table per group of cells and attack, a line per model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fedunlearn.names import CONTROLS, RETRAINED, TRUNK
from fedunlearn.reporting import formats
from fedunlearn.reporting.class_blocks import Figure
from fedunlearn.reporting.pair_bars import Bars, PairChart, counted

Row = Mapping[str, Any]
COLUMNS = {  # heading and meaning of every figure
    "attack-accuracy": ("accuracy", "pictures that the judge's own classifier takes for the class"),
    "coverage": ("coverage", "private samples that some picture comes close to"),
    "ddcs-surrogate": ("ddcs-surrogate", "by how much single private samples are given away, 0 to 1"),
    "knn-distance": ("KNN distance", "squared distance to the nearest private sample of the class: smaller is closer"),
}
BARS = ("attack-accuracy", "coverage", "ddcs-surrogate")
SURROGATE = "ddcs-surrogate is a surrogate of this project's own, not the published DDCS."
PUBLIC, FRESH, BEFORE = "public pictures", "fresh samples", "before forgetting"
UNTOUCHED = Figure(None, (None, None), 0, 0, None)


@dataclass(frozen=True)
class Line:
    """A model, or what asks no model; `reference` for all that a method has to be held against."""

    name: str
    reference: bool
    reason: str
    figures: Mapping[str, Figure]

    def figure(self, metric: str) -> Figure:
        """Return a figure, one without a value where there is none."""
        return self.figures.get(metric, UNTOUCHED)


@dataclass(frozen=True)
class Inversion:
    """What one attack shows of every model.

    Attributes:
        title: the group where there are several, and the attack, with its observer where several have it.
        group, attack: which.
        trials: cells of the group.
        lines: references, then methods.
        evaluator: how good the judge's own classifier is, in words; empty where it is not known.
    """

    title: str
    group: str
    attack: str
    trials: int
    lines: tuple[Line, ...]
    evaluator: str


def inversions(summary: Row) -> list[Inversion]:
    """Return a table per group and attack."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in summary.get("class_images", []):
        found.setdefault((row["group"], row["attack"]), []).append(row)
    several = len({group for group, _ in found}) > 1
    return [
        Inversion(
            f"{group}, {attack}" if several else attack,
            group,
            attack,
            own[0]["cells"],
            (*_beside(own), *_lines(own)),
            _evaluator(own),
        )
        for (group, attack), own in found.items()
    ]


def count(line: Line, trials: int) -> str:
    """Return n: of one run pictures and private samples, of several runs how many."""
    pictures, samples = line.figure("attack-accuracy"), line.figure("coverage")
    if trials == 1:
        return f"{pictures.n} / {samples.n}" if samples.n and line.name != FRESH else f"{pictures.n}"
    return f"{pictures.n}" + (f" of {trials}" if pictures.n < trials else "")


def text(line: Line, metric: str, trials: int) -> str:
    """Return a figure for a reader, with its own n where it gave fewer answers than the line's."""
    figure = line.figure(metric)
    shown = formats.amount(metric, figure.value)
    fewer = trials > 1 and figure.value is not None and figure.n != line.figure("attack-accuracy").n
    return f"{shown} (n = {figure.n})" if fewer else shown


def parted(inversion: Inversion) -> PairChart | None:
    """Return what was forgotten beside all else, model by model; None where that is not known of any model."""
    known = [line for line in inversion.lines if line.figure("forgotten-attack-accuracy").value is not None]
    known += [
        line for line in inversion.lines if line not in known and line.figure("forgotten-coverage").value is not None
    ]
    if not known:
        return None
    lines = []
    for reference, heading in ((True, "Held against"), (False, "After forgetting")):
        for place, line in enumerate(line for line in known if line.reference == reference):
            pairs = tuple((line.figure(f"forgotten-{name}"), line.figure(f"others-{name}")) for name in BARS)
            lines.append(Bars(line.name, pairs, "" if place else heading))
    panels = tuple((name, COLUMNS[name][0]) for name in BARS)
    what = "Pictures of what was forgotten"
    return PairChart(
        what, inversion.title, panels, ("forgotten", "all else"), tuple(lines), None, _caption(inversion, known)
    )


def _caption(inversion: Inversion, known: list[Line]) -> str:
    numbers = {
        (part, name): counted([line.figure(f"{part}-{name}") for line in known])
        for part in ("forgotten", "others")
        for name in ("attack-accuracy", "coverage")
    }
    if inversion.trials > 1:
        said = f"Means over runs, n = {numbers['forgotten', 'attack-accuracy']}."
    else:
        said = (
            f"Accuracy: n = {numbers['forgotten', 'attack-accuracy']} pictures of what was forgotten, "
            f"{numbers['others', 'attack-accuracy']} of all else. Coverage and ddcs-surrogate: "
            f"n = {numbers['forgotten', 'coverage']} and {numbers['others', 'coverage']} private samples."
        )
    return f"{said} Thin lines: 95 % intervals. {SURROGATE}"


def _lines(rows: list[Row]) -> list[Line]:
    """Return a line per branch: before, the controls, the retrained models, then the methods."""
    order = (TRUNK, *CONTROLS, *RETRAINED)
    place = {row["branch"]: order.index(row["branch"]) if row["branch"] in order else len(order) for row in rows}
    return [
        Line(BEFORE if row["branch"] == TRUNK else row["branch"], row["branch"] in order, row["reason"], _figures(row))
        for row in sorted(rows, key=lambda row: place[row["branch"]])
    ]


def _figures(row: Row) -> dict[str, Figure]:
    return {
        name: Figure(entry["value"], entry["ci"], entry["n"], entry["failed"], None)
        for name, entry in row["figures"].items()
    }


def _beside(rows: list[Row]) -> list[Line]:
    """Return what asks no model: public pictures at random, and fresh samples of the classes."""
    lines = []
    for row in rows:
        found = row["figures"]
        public = {name: Figure(found[name]["baseline"], (None, None), found[name]["n"], 0, None) for name in COLUMNS}
        fresh = {name: found.get(f"held-out-{name}") for name in COLUMNS}
        held_out = {
            name: Figure(entry["value"], entry["ci"], entry["n"], 0, None) for name, entry in fresh.items() if entry
        }
        lines = [Line(PUBLIC, True, "", public), Line(FRESH, True, "", held_out)]
        lines = [line for line in lines if any(figure.value is not None for figure in line.figures.values())]
        if lines:
            break
    return lines


def _evaluator(rows: list[Row]) -> str:
    told = next((row["evaluator"] for row in rows if row["evaluator"]), None)
    if told is None:
        return ""
    right = formats.percent(told["accuracy"])
    return f"The judge's own classifier is right on {right} of n = {told['tested-on']:,} samples that it never saw."
