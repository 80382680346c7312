"""Revived models and claimed pictures as the page's templates print them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedunlearn.reporting import formats, inversions, revivals
from fedunlearn.reporting.class_blocks import Figure
from fedunlearn.reporting.inversions import FRESH, PUBLIC, Inversion, parted
from fedunlearn.reporting.pair_bars import pair_bars
from fedunlearn.reporting.revival_charts import growth_chart, revival_bars
from fedunlearn.reporting.revivals import SECTIONS, Revival

OPEN = 4  # tables that are not folded
Printed = Mapping[str, Any]


def revival_page(revival: Revival, place: int) -> Printed:
    """Return the chart, the sections of the table and the curve of one branch; after the first few it is folded."""
    chart, measures = revival_bars(revival), revival.measures
    sections = [
        {"heading": heading, "lines": [_revived(line, revival, measures) for line in revival.of_kind(kind)]}
        for kind, heading in SECTIONS.items()
    ]
    return {
        "title": revival.heading,
        "folded": revival.quiet or place >= OPEN,
        "trials": revival.trials,
        "bars": pair_bars(chart),
        "caption": chart.caption,
        "columns": tuple(revivals.COLUMNS[metric] for metric in measures),
        "sections": [section for section in sections if section["lines"]],
        "growth": growth_chart(revival),
        "silence": revivals.silence(revival),
    }


def overview_page(found: Sequence[Inversion]) -> list[Printed]:
    """Return of every group with several attacks a table of attacks by models: accuracy, below it coverage."""
    groups: dict[str, list[Inversion]] = {}
    for inversion in found:
        groups.setdefault(inversion.group, []).append(inversion)
    several = len(groups) > 1
    return [
        {"title": f"{group}: all attacks" if several else "All attacks"} | _overview(own)
        for group, own in groups.items()
        if len(own) > 1
    ]


def _overview(own: Sequence[Inversion]) -> dict[str, Any]:
    names = {line.name: line.reference for inversion in own for line in inversion.lines}
    models = sorted(names, key=lambda name: not names[name])
    rows = []
    for inversion in own:
        lines = {line.name: line for line in inversion.lines}
        known = [
            line for line in inversion.lines if line.name not in (PUBLIC, FRESH) and line.figure("attack-accuracy").n
        ]
        counts = [inversions.count(line, inversion.trials) for line in known]
        cells = [_both(lines.get(name), inversion) for name in models]
        rows.append({"attack": inversion.attack, "n": counts[0] if counts else "0", "cells": cells})
    return {"models": [{"name": name, "reference": names[name]} for name in models], "rows": rows}


def _both(line: inversions.Line | None, inversion: Inversion) -> Printed:
    if line is None:
        return {"text": "", "below": "", "words": ""}
    texts = {name: inversions.text(line, name, inversion.trials) for name in inversions.COLUMNS}
    words = ", ".join(f"{inversions.COLUMNS[name][0]} {text}" for name, text in texts.items())
    n = inversions.count(line, inversion.trials)
    return {"text": texts["attack-accuracy"], "below": texts["coverage"], "words": f"{words}; n = {n}"}


def inversion_page(inversion: Inversion, place: int) -> Printed:
    """Return the table of one attack, and the chart of what was forgotten where that is known; the later are folded."""
    chart = parted(inversion)
    return {
        "title": inversion.title,
        "folded": place >= OPEN,
        "trials": inversion.trials,
        "bars": pair_bars(chart) if chart else None,
        "caption": chart.caption if chart else "",
        "columns": tuple(inversions.COLUMNS.values()),
        "lines": [_inverted(line, inversion) for line in inversion.lines],
        "evaluator": inversion.evaluator,
    }


def _revived(line: revivals.Line, revival: Revival, measures: tuple[str, ...]) -> Printed:
    given = f"given: {formats.listed(line.grants)}" if line.grants else ""
    figures = [_figure(revivals.text(line, name, revival.trials), name, line.figure(name)) for name in measures]
    n = revivals.count(line, revival.trials)
    return {"name": revivals.name_of(line), "n": n, "note": given, "figures": figures}


def _inverted(line: inversions.Line, inversion: Inversion) -> Printed:
    return {
        "name": line.name,
        "reference": line.reference,
        "n": inversions.count(line, inversion.trials),
        "note": line.reason,
        "figures": [
            _figure(inversions.text(line, name, inversion.trials), name, line.figure(name))
            for name in inversions.COLUMNS
        ],
    }


def _figure(text: str, metric: str, figure: Figure) -> Printed:
    return {"text": text, "interval": "" if None in figure.ci else formats.span(metric, figure.ci)}
