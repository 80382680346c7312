"""Revived models in the terminal: a line each, the controls below what they have to be exceeded by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from fedunlearn.reporting import formats
from fedunlearn.reporting.revivals import (
    COLUMNS,
    ERASED,
    ORACLE,
    RETAINED,
    SECTIONS,
    Line,
    Revival,
    count,
    name_of,
    revivals,
    silence,
    text,
)

WIDE = 110  # characters; a narrower terminal goes without intervals
NARROW = (ERASED, RETAINED, "class-false-positive-rate", "class-precision", "sign-accuracy")
NAME = 30  # characters of a model's name, as they wrap
READING = (
    "n: images of the erased class + of the others, of several runs how many gave an answer; in brackets a figure's "
    f"own. {ORACLE}: was told, or kept, a part of the truth. More measures, intervals, and what happens where nothing "
    "was pruned: report.html"
)


def revival_tables(summary: Mapping[str, Any], width: int) -> Iterable[RenderableType]:
    """Yield a table per branch on which something was pruned, and how to read them."""
    found = [revival for revival in revivals(summary) if not revival.quiet]
    for revival in found:
        yield Text(f"What was pruned: {revival.heading}", style="bold")
        yield _table(revival, wide=width >= WIDE)
        for sentence in silence(revival):
            yield Text(sentence, style="dim")
    if found:
        yield Text(READING, style="dim")


def _table(revival: Revival, *, wide: bool) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("model", overflow="fold", max_width=NAME)
    table.add_column("n", justify="right", no_wrap=True)
    shown = [metric for metric in (NARROW if not wide else COLUMNS) if metric in revival.measures]
    shown = [metric for metric in shown if not metric.startswith(("mask", "kept"))]
    for metric in shown:
        table.add_column(COLUMNS[metric][0], justify="right", no_wrap=True)
    for kind, heading in SECTIONS.items():
        lines = revival.of_kind(kind)
        if lines:
            table.add_row(f"[cyan]{heading}")
        for line in lines:
            figures = [_cell(line, metric, revival.trials, wide=wide) for metric in shown]
            table.add_row(f"  {escape(name_of(line))}", count(line, revival.trials), *figures)
    return table


def _cell(line: Line, metric: str, trials: int, *, wide: bool) -> str:
    figure = line.figure(metric)
    bounded = wide and metric in (ERASED, RETAINED) and None not in figure.ci
    interval = f" [dim]{formats.span(metric, figure.ci)}[/]" if bounded else ""
    shown = text(line, metric, trials).replace("(n = ", "(")
    return f"[bold]{shown}[/]{interval}" if metric == ERASED else f"{shown}{interval}"
