"""A suite of methods in the terminal: a line each, as many columns as there is room for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from fedunlearn.reporting.suite import Suite
from fedunlearn.reporting.suite_columns import Cell, Column, Row, columns, reading, rows


def suite_tables(found: Sequence[Suite], width: int) -> Iterable[RenderableType]:
    """Yield a table of at most `width` characters for each suite, what its columns are, and how to read it."""
    for suite in found:
        lines, kept, spread = rows(suite), list(range(len(columns(suite)))), True
        while _width(suite, lines, kept, spread=spread) > width and len(kept) > 1:
            if spread:
                spread = False
            else:
                kept.remove(min(kept, key=lambda place: columns(suite)[place].dispensable))
        yield Text(f"The methods, {suite.title}", style="bold")
        yield _table(suite, lines, kept, spread=spread)
        yield Text(reading(suite), style="dim")


def _table(suite: Suite, lines: Sequence[Row], kept: Sequence[int], *, spread: bool) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("method", overflow="fold")
    for place in kept:
        table.add_column(columns(suite)[place].heading, justify="right", no_wrap=True)
    for line in lines:
        style = "dim" if line.reference else "bold" if line.best else ""
        name = f"{line.name}{'*' if line.best else ''}"
        table.add_row(escape(name), *(_text(line.cells[place], spread=spread) for place in kept), style=style)
    return table


def _width(suite: Suite, lines: Sequence[Row], kept: Sequence[int], *, spread: bool) -> int:
    """Return the characters of a table with these columns, a space behind each."""
    names = max(len(line.name) + line.best for line in lines)
    return names + 1 + sum(1 + _wide(columns(suite)[p], [line.cells[p] for line in lines], spread) for p in kept)


def _wide(column: Column, cells: Sequence[Cell], spread: bool) -> int:
    return max(len(column.heading), *(len(_text(cell, spread=spread)) for cell in cells))


def _text(cell: Cell, *, spread: bool) -> str:
    return f"{cell.text} \u00b1{cell.spread}" if spread and cell.spread else cell.text
