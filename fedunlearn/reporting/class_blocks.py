"""Attacks on the forgotten class against unlearning methods: one block per group of cells, out of a summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedunlearn.judging.alarms import BOTH, LEVEL
from fedunlearn.judging.metric_rows import PRIMARY, SEVERAL
from fedunlearn.names import CONTROLS, RETRAINED, TRUNK

Row = Mapping[str, Any]
FINDS = "forgotten-classes"
SHARES = "distribution-error"  # what is left to score where no whole class was forgotten
MANY = 20  # figures from which on they are shown in blocks
METRICS = {
    PRIMARY[FINDS]: "the forgotten class ranked first",
    SEVERAL: "exactly the forgotten classes named",
    SHARES: "distance of the claimed class shares from those of what was forgotten",
}


@dataclass(frozen=True)
class Figure:
    """A rate or a mean: what an attack scores after a method, or how often it raises a false alarm.

    Attributes:
        value: None where no trial gave an answer.
        ci: 95 % interval.
        n, failed: trials with and without an answer.
        clear: whether it is above chance, or a false-alarm rate above the nominal level, after Holm's correction;
            None where that was not tested.
    """

    value: float | None
    ci: Sequence[float | None]
    n: int
    failed: int
    clear: bool | None


@dataclass(frozen=True)
class Line:
    """An attack: its figures after every branch and on every control, None where it was not tried."""

    attack: str
    after: tuple[Figure | None, ...]
    alarms: tuple[Figure | None, ...]


@dataclass(frozen=True)
class Block:
    """What the attacks on one group of cells found.

    Attributes:
        group: the group's label, empty where there is only one.
        metric: the name of what is scored.
        chance: of a random answer.
        trials: cells of the group.
        branches, controls: the columns; methods first, retrained models behind them.
        lines: one per attack and observer.
    """

    group: str
    metric: str
    chance: float | None
    trials: int
    branches: tuple[str, ...]
    controls: tuple[str, ...]
    lines: tuple[Line, ...]


def blocks(summary: Row | None) -> list[Block]:
    """Return a block per group with attacks on the forgotten class; none without a summary."""
    if summary is None:
        return []
    groups = summary["groups"]
    single = len(groups) == 1 and groups[0]["label"] == "all cells"
    made = (_block(summary, group, "" if single else group["label"]) for group in groups)
    return [block for block in made if block is not None]


def in_blocks(summary: Row) -> bool:
    """Return whether there are so many figures that only blocks keep them readable."""
    rows = [row for row in summary["rows"] if row["finds"] == FINDS and row["branch"] not in CONTROLS]
    return len([row for row in rows if row["metric"] == PRIMARY[FINDS]]) > MANY


def _block(summary: Row, group: Row, label: str) -> Block | None:
    own = [row for row in summary["rows"] if row["group"] == group["label"] and row["finds"] == FINDS]
    own = [row for row in own if row["branch"] not in (*CONTROLS, TRUNK)]
    metric = SEVERAL if group.get("forgotten_classes", 0) > 1 else PRIMARY[FINDS]
    if all(row["value"] is None for row in own if row["metric"] == metric):
        metric = SHARES
    rows = [row for row in own if row["metric"] == metric]
    if not any(row["value"] is not None for row in rows):
        return None
    alarms = [row for row in summary["alarms"] if row["group"] == group["label"] and row["on"] != BOTH]
    found = list(dict.fromkeys(row["branch"] for row in rows))
    branches = sorted(found, key=lambda name: RETRAINED.index(name) + 1 if name in RETRAINED else 0)
    controls = [name for name in CONTROLS if any(row["on"] == name for row in alarms)]
    attacks = list(dict.fromkeys((row["attack"], row["observer"]) for row in rows))
    several = len({observer for _, observer in attacks}) > 1
    after = {(row["attack"], row["observer"], row["branch"]): _scored(row) for row in rows}
    on = {(row["attack"], row["observer"], row["on"]): _alarm(row) for row in alarms}
    lines = tuple(
        Line(
            f"{attack}, {observer}" if several else attack,
            tuple(after.get((attack, observer, branch)) for branch in branches),
            tuple(on.get((attack, observer, control)) for control in controls),
        )
        for attack, observer in attacks
    )
    chances = [row["chance"] for row in rows if row["chance"] is not None]
    chance = sum(chances) / len(chances) if chances else None
    return Block(label, metric, chance, group["cells"], tuple(branches), tuple(controls), lines)


def _scored(row: Row) -> Figure:
    clear = None if row["p_holm"] is None else row["p_holm"] < LEVEL
    return Figure(row["value"], row["ci"], row["n"], row["failed"], clear)


def _alarm(row: Row) -> Figure:
    return Figure(row["rate"], row["ci"], row["n"], row["failed"], row["above_nominal"])
