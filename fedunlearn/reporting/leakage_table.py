"""The probes in the terminal: a line each, an attack per column; attacks that do not fit get a table of their own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import groupby

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from fedunlearn.reporting.formats import DASH
from fedunlearn.reporting.leakage import FILE, Leakage, Line

CELL = {"labels": 9, "images": 10}  # characters of a figure with its companion
COUNT = 4  # digits of the number of updates or images
NAME = 24  # characters of a probe's name at most
LISTED = 6  # probes with clients that were left out
TITLES = {
    "labels": "Labels behind the probes: IRec in % [updates with every count right, in %]; * best attack of the line",
    "images": "Pictures behind the probes: PSNR in dB [rebuilt recognisably, in %]; * best attack of the line",
}
NO_ATTACK = {"labels": "uniform\nguess", "images": "no\nattack"}
BASELINES = {"labels": "the uniform guess", "images": "the best of grey, mean true image, mean public image"}


def leakage_tables(found: Sequence[Leakage], width: int) -> Iterable[RenderableType]:
    """Yield tables that fit `width` characters, and who was left out."""
    for leakage in found:
        name = min(NAME, max(len("probe"), *(len(line.probe) for line in leakage.lines)))
        counted = max(len(_short(line.counting)) for line in leakage.lines)
        fixed = name + COUNT + CELL[leakage.finds] + 3 + (counted + 1 if counted else 0)
        for number, columns in enumerate(_parts(leakage, width - fixed)):
            yield Text(TITLES[leakage.finds] if number == 0 else f"{leakage.finds}, more attacks", style="bold")
            yield from _grouped(leakage, columns, name, counted)
        yield Text(f"no attack: {BASELINES[leakage.finds]}; intervals and settings: {FILE}", style="dim")
    if found and found[0].skipped:
        skipped = found[0].skipped
        more = [f"and {len(skipped) - LISTED} more, see {FILE}"] if len(skipped) > LISTED else []
        yield Text("\n".join(["left out", *(f"  {line}" for line in [*skipped[:LISTED], *more])]), style="dim")


def figures(finds: str, first: float | None, second: float | None, *, best: bool = False) -> str:
    """Return the two figures of a cell.

    Example:
        >>> figures("labels", 0.9923, 0.8, best=True), figures("images", 21.34, 1.0)
        ('99.2*[80]', '21.3 [100]')
    """
    if first is None:
        return DASH
    head = f"{100 * first:.3g}" if finds == "labels" else f"{first:.1f}"
    return f"{head}{'*' if best else ' '}[{DASH if second is None else f'{100 * second:.0f}'}]"


def _parts(leakage: Leakage, room: int) -> list[range]:
    """Return the columns of as few tables as have room for them."""
    parts, start, used = [], 0, 0
    for column in range(len(leakage.attacks)):
        wide = _width(leakage, column) + 1
        if used + wide > room and column > start:
            parts.append(range(start, column))
            start, used = column, 0
        used += wide
    return [*parts, range(start, len(leakage.attacks))]


def _width(leakage: Leakage, column: int) -> int:
    return max(CELL[leakage.finds], *map(len, _heading(*leakage.attacks[column]).splitlines()))


def _grouped(leakage: Leakage, columns: range, name: int, counted: int) -> Iterable[RenderableType]:
    """Yield the heading, then each group's name and lines; columns of fixed width keep them below each other."""
    table = partial(_table, leakage, columns, name, counted)
    yield table([], heading=True)
    for group, lines in groupby(leakage.lines, lambda line: line.group):
        if group:
            yield Text(group, style="cyan")
        yield table(list(lines), heading=False)


def _table(leakage: Leakage, columns: range, name: int, counted: int, lines: Sequence[Line], *, heading: bool) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), show_header=heading)
    table.add_column("probe", width=name, overflow="fold", vertical="bottom")
    table.add_column("n", width=COUNT, justify="right")
    table.add_column(NO_ATTACK[leakage.finds], width=CELL[leakage.finds], justify="right")
    for column in columns:
        name_above = Text(_heading(*leakage.attacks[column]), justify="right")
        table.add_column(name_above, width=_width(leakage, column), justify="right")
    if counted:
        table.add_column("equations :\nunknowns\n(rank)", width=counted, justify="right")
    for line in lines:
        cells = [_cell(leakage.finds, line, column) for column in columns]
        baseline = f"[dim]{escape(figures(leakage.finds, *line.baseline))}"
        table.add_row(escape(line.probe), str(line.n), baseline, *cells, *([_short(line.counting)] if counted else []))
    return table


def _cell(finds: str, line: Line, column: int) -> str:
    cell = line.cells[column]
    if cell is None:
        return ""
    best = bool(cell[0]["best"])
    text = escape(figures(finds, cell[0]["value"], cell[1]["value"], best=best))
    return f"[bold]{text}" if best else text


def _heading(name: str, source: str | None) -> str:
    """Return a column's name broken at its hyphens; below it the label source of image attacks."""
    lines = name.replace(" ", "\n").replace("-", "-\n")
    return lines if source is None else f"{lines}\nlabels:\n{source.replace('-', '-' + chr(10))}"


def _short(counting: str) -> str:
    """Return '15,826 equations for 12,288 unknowns (rank 12,012)' without its words."""
    return counting.replace(" equations for ", " : ").replace(" unknowns", "").replace("(rank ", "(")
