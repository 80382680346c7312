"""What every attack finds on every probe, side by side: numbers for the terminal, the page and leakage.csv."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedunlearn.judging.groups import Group, group_cells
from fedunlearn.judging.metric import LOWER_IS_BETTER
from fedunlearn.judging.references import labels_of
from fedunlearn.judging.summary import summarise
from fedunlearn.names import PROBE
from fedunlearn.reporting.picture_words import counting

Row = Mapping[str, Any]
FILE = "leakage.csv"
UNIFORM = "uniform-guess"  # the label attack that looks at nothing; it is the baseline already
SHOWN = {"labels": ("irec", "exact"), "images": ("psnr", "rebuilt-share")}  # a cell's two figures
SETTINGS = (
    "after", "algorithm", "source", "samples", "equal_labels", "batch_size", "local_epochs", "learning_rate",
    "clients", "skipped",
)  # fmt: skip
MEASURED = ("metric", "value", "n", "cells", "failed", "ci_low", "ci_high", "chance", "baseline", "best", "reason")
COLUMNS = (
    "group",
    "probe",
    *SETTINGS,
    "attack",
    "observer",
    "finds",
    "label_source",
    "labels_right",
    *MEASURED,
    "counting",
)


@dataclass(frozen=True)
class Line:
    """One probe in one group of cells.

    Attributes:
        group, probe: which.
        n: updates (labels) or images behind every figure.
        baseline: the two figures of the trivial answer.
        cells: those of each attack, None where it was not run.
        counting: how many equations for how many unknowns, in words.
    """

    group: str
    probe: str
    n: int
    baseline: tuple[float | None, float | None]
    cells: tuple[tuple[Row, Row] | None, ...]
    counting: str


@dataclass(frozen=True)
class Leakage:
    """All that was found of one kind: the attacks' names and label sources, and a line per probe.

    Attributes:
        finds: `labels` or `images`.
        attacks: name and label source (None for label attacks) of each column.
        lines: one per group and probe.
        skipped: of which probe whom was left out and why, in words.
    """

    finds: str
    attacks: tuple[tuple[str, str | None], ...]
    lines: tuple[Line, ...]
    skipped: tuple[str, ...]

    @property
    def counted(self) -> bool:
        """Whether any line says how much there was to go by."""
        return any(line.counting for line in self.lines)


def leakages(cells: Sequence[Row], summary: Row | None) -> list[Leakage]:
    """Return the tables that there are; none for runs without probes."""
    rows = leakage_rows(cells, summary)
    skipped = tuple(
        f"{row['group']}{', ' if row['group'] else ''}{row['probe']}: {row['skipped']}"
        for row in {(row["group"], row["probe"]): row for row in rows if row["skipped"]}.values()
    )
    return [_leakage(finds, [row for row in rows if row.get("finds") == finds], skipped)
            for finds in SHOWN if any(row.get("finds") == finds for row in rows)]  # fmt: skip


def leakage_rows(cells: Sequence[Row], summary: Row | None) -> list[dict[str, Any]]:
    """Return a row per group, probe, attack and metric, with the keys `COLUMNS`; the best attacks are marked.

    Args:
        cells: results.json of each cell.
        summary: over them, or None for a single run.
    """
    groups = [group for group in group_cells(cells) if _probes(group)]
    if not groups:
        return []
    measured = [row for row in (summary or summarise(cells))["rows"] if row["branch"].startswith(PROBE)]
    rows = []
    for group in groups:
        label = "" if len(groups) == 1 and group.label == "all cells" else group.label
        by_branch: dict[str, list[dict[str, Any]]] = {}
        own = _rows_of(group)
        for row in measured:
            if row["group"] == group.label:
                key = (row["attack"], row["observer"], row["branch"])
                by_branch.setdefault(row["branch"], []).append(_measurement(row, own[key]))
        for branch, probe in _probes(group).items():
            described = {"group": label, "probe": probe["name"]} | _settings(probe)
            found = [described | row for row in by_branch.get(branch, [])]
            _mark_best(found)
            rows += found or [described]
    return rows


def write_leakage(folder: Path, cells: Sequence[Row], summary: Row | None) -> None:
    """Write `leakage.csv` when the run has probes; atomic."""
    rows = leakage_rows(cells, summary)
    if not rows:
        return
    temporary = folder / (FILE + ".part")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(rows)
    os.replace(temporary, folder / FILE)


def _probes(group: Group) -> dict[str, Row]:
    return {probe["branch"]: probe for results in group.cells for probe in results.get("probes", [])}


def _settings(probe: Row) -> dict[str, Any]:
    lists = {
        "clients": " ".join(map(str, probe["clients"])),
        "skipped": "; ".join(f"client {client}: {why}" for client, why in probe["skipped"].items()),
    }
    return {name: probe.get(name) for name in SETTINGS} | lists


def _measurement(row: Row, own: Sequence[Row]) -> dict[str, Any]:
    """Return a row of the summary with what only the cells' own rows tell: counts, and intervals of single cells."""
    metrics = [entry["metrics"][row["metric"]] for entry in own if row["metric"] in entry["metrics"]]
    low, high = metrics[0]["ci"] if len(metrics) == 1 else row["ci"]
    return {
        **{key: row[key] for key in ("attack", "observer", "finds", "label_source", "metric", "value", "failed")},
        **{key: row[key] for key in ("chance", "baseline")},
        "n": sum(metric["n"] for metric in metrics),
        "labels_right": _labels_right(own),
        "cells": row["n"],
        "ci_low": low,
        "ci_high": high,
        "best": "",
        "reason": next((entry["reason"] for entry in own if entry.get("reason")), ""),
        "counting": next(filter(None, map(counting, own)), ""),
    }


def _labels_right(own: Sequence[Row]) -> float | str:
    """Return the share of the labels that image attacks used rightly; empty for other attacks."""
    counts = [row.get("details", {}).get("labels-right", (0, 0)) for row in own]
    total = sum(images for _, images in counts)
    return sum(right for right, _ in counts) / total if total else ""


def _rows_of(group: Group) -> dict[tuple[str, str, str], list[Row]]:
    """Return the attack rows of a group's cells by attack, observer and branch."""
    found: dict[tuple[str, str, str], list[Row]] = {}
    for results in group.cells:
        for label, row in zip(labels_of(results["attacks"]), results["attacks"], strict=True):
            found.setdefault((label, row["observer"], row["branch"]), []).append(row)
    return found


def _mark_best(rows: Sequence[dict[str, Any]]) -> None:
    """Mark the best attacks of each metric, unless all are equal."""
    for metric in {row["metric"] for row in rows}:
        rivals = [row for row in rows if row["metric"] == metric and row["attack"] != UNIFORM]
        values = [row["value"] for row in rivals if row["value"] is not None]
        if len(set(values)) > 1:
            top = (min if metric in LOWER_IS_BETTER else max)(values)
            for row in rivals:
                row["best"] = "yes" if row["value"] == top else ""


def _leakage(finds: str, rows: Sequence[Row], skipped: tuple[str, ...]) -> Leakage:
    observers = {row["observer"] for row in rows}
    name = lambda row: row["attack"] if len(observers) == 1 else f"{row['attack']}, {row['observer']}"  # noqa: E731
    attacks = {name(row): row["label_source"] for row in rows if row["attack"] != UNIFORM}
    lines: dict[tuple[str, str], dict[str, dict[str, Row]]] = {}
    for row in rows:
        lines.setdefault((row["group"], row["probe"]), {}).setdefault(name(row), {})[row["metric"]] = row
    return Leakage(
        finds,
        tuple(attacks.items()),
        tuple(_line(group, probe, SHOWN[finds], found, list(attacks)) for (group, probe), found in lines.items()),
        skipped,
    )


def _line(
    group: str, probe: str, shown: tuple[str, str], found: Mapping[str, Mapping[str, Row]], attacks: Sequence[str]
) -> Line:
    first, second = shown
    own = list(found.values())
    baselines = [
        next((row[name]["baseline"] for row in own if row[name]["baseline"] is not None), None) for name in shown
    ]
    return Line(
        group,
        probe,
        max(row[first]["n"] for row in own),
        (baselines[0], baselines[1]),
        tuple((found[name][first], found[name][second]) if name in found else None for name in attacks),
        next((row[first]["counting"] for row in own if row[first]["counting"]), ""),
    )
