"""The figures of one attack on the forgotten class, which is marked: score bars, class shares, prototypes."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from fedunlearn.judging.references import label_of
from fedunlearn.reporting import formats
from fedunlearn.reporting.artefacts import load_arrays, pixels, png
from fedunlearn.reporting.bars import class_bars, share_bars

Row = Mapping[str, Any]
MOST = 20  # prototypes of a branch; the forgotten classes first


@dataclass(frozen=True)
class Panel:
    """One drawing with a heading and a sentence below; `quiet` on the controls."""

    heading: str
    drawing: Markup
    note: str
    quiet: bool = False


@dataclass(frozen=True)
class Prototype:
    """A picture that an attack made of a class, as data URI, and whether the class was forgotten."""

    picture: str
    caption: str
    forgotten: bool


@dataclass(frozen=True)
class Prototypes:
    """Those of one branch; `quiet` on the controls."""

    heading: str
    tiles: tuple[Prototype, ...]
    quiet: bool


def short_names(names: Sequence[str], count: int) -> list[str]:
    """Return class names that fit below a bar: the names when all are short, else the class numbers."""
    if len(names) == count and max(map(len, names)) <= 4:
        return list(names)
    return [str(k) for k in range(count)]


def class_panels(rows: Sequence[Row], names: Sequence[str]) -> tuple[Panel, ...]:
    """Return the score bars of every branch on one scale, then the class shares that were claimed."""
    known = [row for row in rows if None not in row["details"]["scores"]]
    every = [score for row in known for score in row["details"]["scores"]]
    panels = []
    for row in known:
        details = row["details"]
        control = bool(details.get("control"))
        limits = (min(every), max(every))
        short = short_names(names, len(details["scores"]))
        label = f"Scores of {label_of(row)} after {row['branch']}"
        chart = class_bars(details["scores"], short, [] if control else details["true"], limits, label)
        named = formats.names_of(details["named"], names)
        if control:
            note = f"false alarm: names {named}" if details["named"] else "names no class, rightly"
        else:
            note = f"names {named}; forgotten: {formats.names_of(details['true'], names)}"
        panels.append(Panel(f"after {row['branch']}", chart, note, control))
    return (*panels, *(_shares(row, names) for row in known if "shares" in row["details"]))


def _shares(row: Row, names: Sequence[str]) -> Panel:
    told, metric = row["details"]["shares"], row["metrics"]["distribution-error"]
    short = short_names(names, len(told["true"]))
    chart = share_bars(told["true"], told["claimed"], short, f"Class shares claimed by {label_of(row)}")
    off, chance = (formats.amount("distribution-error", metric[key]) for key in ("value", "chance"))
    note = f"off by {off} (the shares of all data: {chance}, n = {metric['n']})"
    return Panel(f"class shares, {row['branch']}", chart, note, bool(row["details"].get("control")))


def prototypes(folder: Path, rows: Sequence[Row], names: Sequence[str]) -> tuple[Prototypes, ...]:
    """Return the pictures that an attack made of the classes, branch by branch; none where it made none.

    Args:
        folder: of the cell, where the arrays lie.
        rows: the attack's, one per branch.
        names: of the classes.
    """
    found = []
    for row in rows:
        details = row["details"]
        if not (folder / details.get("array", "missing")).is_file():
            continue
        pictures = load_arrays(folder, details["array"]).get("prototypes")
        if pictures is not None:
            control = bool(details.get("control"))
            tiles = _tiles(pictures, names, [] if control else details["true"])
            found.append(Prototypes(f"after {row['branch']}", tiles, control))
    return tuple(found)


def _tiles(pictures: np.ndarray, names: Sequence[str], true: Sequence[int]) -> tuple[Prototype, ...]:
    order = sorted(range(len(pictures)), key=lambda k: k not in true)[:MOST]
    return tuple(Prototype(_uri(pictures[k]), _name(k, names), k in true) for k in sorted(order))


def _name(k: int, names: Sequence[str]) -> str:
    return names[k] if k < len(names) and names[k] != str(k) else f"class {k}"


def _uri(image: np.ndarray) -> str:
    return "data:image/png;base64," + base64.b64encode(png(pixels(image))).decode()
