"""Claimed pictures of classes in the terminal: attacks by models, what they are held against first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from fedunlearn.reporting import formats
from fedunlearn.reporting.inversions import COLUMNS, SURROGATE, Inversion, count, inversions, text

WIDE = 110  # characters; a narrower terminal goes without intervals
NAME = 22  # characters of a model's name, as they wrap
PARTED = "attack-accuracy"
READING = (
    "n: pictures / private samples, of several runs how many gave an answer. forgotten | else: the accuracy of "
    f"pictures of what was forgotten, and of all else. {SURROGATE} More measures and intervals: report.html"
)


def inversion_tables(summary: Mapping[str, Any], width: int) -> Iterable[RenderableType]:
    """Yield a table per attack, and how to read them."""
    found = inversions(summary)
    for inversion in found:
        yield Text(f"Pictures of classes, {inversion.title}", style="bold")
        yield _table(inversion, wide=width >= WIDE)
    if found:
        yield Text(READING, style="dim")


def _table(inversion: Inversion, *, wide: bool) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("model", overflow="fold", max_width=NAME)
    for heading in ("n", *(heading.replace("ddcs-", "ddcs-\n") for heading, _ in COLUMNS.values())):
        table.add_column(heading.replace("KNN distance", "KNN\ndistance"), justify="right", no_wrap=True)
    table.add_column("forgotten\n| else", justify="right", no_wrap=True)
    for line in inversion.lines:
        figures = []
        for metric in COLUMNS:
            ends = line.figure(metric).ci
            bounds = f" [dim]{formats.span(metric, ends)}[/]" if wide and None not in ends else ""
            figures.append(f"{text(line, metric, inversion.trials)}{bounds}")
        parts = (formats.percent(line.figure(f"{part}-{PARTED}").value) for part in ("forgotten", "others"))
        name = f"[dim]{escape(line.name)}" if line.reference else escape(line.name)
        table.add_row(name, count(line, inversion.trials), *figures, " | ".join(parts))
    return table
