"""Attacks on the forgotten class in the terminal: a line each, a method per column; what does not fit goes below."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from fedunlearn.reporting.class_blocks import METRICS, SHARES, Block, Figure, blocks
from fedunlearn.reporting.formats import DASH, percent

NAME = 24  # characters of an attack's name, as they wrap
LONGEST = 11  # characters of a heading's lines
READING = (
    "Figures in percent of trials, without those that gave no answer (none answered: {dash}; some did: in brackets). "
    "*: above chance, !: more false alarms than the attack's nominal level, both after Holm's correction. "
    "Intervals and every other measure: summary.csv"
)


def class_tables(summary: Mapping[str, Any], width: int) -> Iterable[RenderableType]:
    """Yield tables of at most `width` characters for every group, and how to read them."""
    found = blocks(summary)
    for block in found:
        yield Text(_title(block), style="bold")
        name = min(NAME, max(len("attack"), *(len(line.attack) for line in block.lines)))
        for columns in _parts(block, width - name - 1):
            yield _table(block, columns, name)
    if found:
        yield Text(READING.format(dash=DASH), style="dim")


def _title(block: Block) -> str:
    where = f", {block.group}" if block.group else ""
    chance = (
        DASH if block.chance is None else f"{block.chance:.2f}" if block.metric == SHARES else percent(block.chance)
    )
    return (
        f"{METRICS[block.metric][0].upper()}{METRICS[block.metric][1:]}{where}: {block.trials} trials, chance {chance}"
    )


def _columns(block: Block) -> list[tuple[str, list[Figure | None], bool]]:
    """Return heading, figures and whether they are false alarms of every column."""
    after = [(name, [line.after[place] for line in block.lines], False) for place, name in enumerate(block.branches)]
    on = [
        (f"alarms {name}", [line.alarms[place] for line in block.lines], True)
        for place, name in enumerate(block.controls)
    ]
    return [*after, *on]


def _parts(block: Block, room: int) -> list[list[int]]:
    """Return the columns of as few tables as have room for them."""
    parts: list[list[int]] = [[]]
    used = 0
    for place, (heading, figures, alarms) in enumerate(_columns(block)):
        cells = (len(_text(figure, block, alarms=alarms)) for figure in figures)
        wide = 1 + max(*map(len, _heading(heading).split("\n")), *cells)
        if used + wide > room and parts[-1]:
            parts.append([])
            used = 0
        parts[-1].append(place)
        used += wide
    return parts


def _table(block: Block, columns: Sequence[int], name: int) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0))
    shown = [_columns(block)[place] for place in columns]
    deepest = max(_heading(heading).count("\n") for heading, _, _ in shown)
    table.add_column("\n" * deepest + "attack", overflow="fold", min_width=name, max_width=name)
    for heading, _, alarms in shown:
        lowered = "\n" * (deepest - _heading(heading).count("\n")) + _heading(heading)
        table.add_column(lowered, justify="right", no_wrap=True, style="dim" if alarms else "")
    for number, line in enumerate(block.lines):
        table.add_row(
            escape(line.attack),
            *(_text(figures[number], block, alarms=alarms) for _, figures, alarms in shown),
        )
    return table


def _heading(name: str) -> str:
    """Return a name on lines that are short where its hyphens and spaces allow it.

    Example:
        >>> _heading("retrain-other-init"), _heading("alarms control"), _heading("finetune")
        ('retrain-\\nother-init', 'alarms\\ncontrol', 'finetune')
    """
    lines = [""]
    for word in name.replace("-", "- ").split():
        joined = f"{lines[-1]}{'' if lines[-1].endswith('-') or not lines[-1] else ' '}{word}"
        lines = [*lines[:-1], joined] if len(joined) <= LONGEST else [*lines, word]
    return "\n".join(line for line in lines if line)


def _text(figure: Figure | None, block: Block, *, alarms: bool) -> str:
    if figure is None:
        return ""
    if figure.value is None:
        return DASH
    shown = f"{figure.value:.2f}" if block.metric == SHARES and not alarms else f"{100 * figure.value:.0f}"
    shown = f"({shown})" if figure.failed else shown
    return shown + (" " if not figure.clear else "!" if alarms else "*")
