"""Cells of a matrix that differ only in their seeds are trials of one group."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Results = Mapping[str, Any]
SEEDS = ("seed", "training-seed")
SPELLING = {"fedsgd": "FedSGD", "fedavg": "FedAvg"}  # values whose readers expect capitals


@dataclass(frozen=True)
class Group:
    """Cells with the same matrix values but for the seeds.

    Attributes:
        values: the matrix values, without the seeds.
        label: the same for a reader.
        cells: the results of the cells.
    """

    values: dict[str, Any]
    label: str
    cells: tuple[Results, ...]


def group_cells(cells: Sequence[Results]) -> list[Group]:
    """Return the groups in the order in which they first occur."""
    members: dict[str, list[Results]] = {}
    for results in cells:
        members.setdefault(json.dumps(_without_seeds(results), sort_keys=True), []).append(results)
    values = [_without_seeds(group[0]) for group in members.values()]
    labels = cell_labels(values)
    return [
        Group(own, label or "all cells", tuple(group))
        for own, label, group in zip(values, labels, members.values(), strict=True)
    ]


def cell_labels(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a short label for the matrix values of each cell, a long one where the short ones would be the same.

    Example:
        >>> cell_labels([{"federation": {"algorithm": "fedsgd", "rounds": 9}}, {"federation": {"algorithm": "fedavg"}}])
        ['FedSGD', 'FedAvg']
        >>> cell_labels([{"federation": {"algorithm": "fedsgd", "rounds": rounds}} for rounds in (5, 9)])
        ['FedSGD, rounds 5', 'FedSGD, rounds 9']
    """
    short = [cell_label(values) for values in cells]
    if len(set(short)) == len(short):
        return short
    return [cell_label(values, whole=True) for values in cells]


def cell_label(values: Mapping[str, Any], *, whole: bool = False) -> str:
    """Return matrix values for a reader; of a table of values that vary together only the names, unless `whole`.

    Example:
        >>> cell_label({"federation.algorithm": "fedsgd", "seed": 3})
        'FedSGD, seed 3'
        >>> cell_label({"federation": {"local-epochs": 2}})
        'local epochs 2'
        >>> cell_label({"defences": [{"name": "head-noise", "settings": {"scale": 0.3}}]}, whole=True)
        'head-noise scale 0.3'
    """
    return ", ".join(_words(key, value, whole) for key, value in _flat(values.items(), whole))


def _flat(items: Iterable[tuple[str, Any]], whole: bool) -> Iterable[tuple[str, Any]]:
    for key, value in items:
        if not isinstance(value, Mapping):
            yield key, value
        elif not whole and any(isinstance(entry, str) for entry in value.values()):
            yield from ((name, entry) for name, entry in value.items() if isinstance(entry, str))
        else:
            yield from _flat(value.items(), whole)


def _words(key: str, value: Any, whole: bool) -> str:
    short = key.rpartition(".")[2].replace("-", " ")
    if isinstance(value, str):
        return SPELLING.get(value, value)
    if isinstance(value, list | tuple):
        if not value:
            return f"no {short.removesuffix('s')}"
        if all(isinstance(entry, Mapping) and "name" in entry for entry in value):  # defences, attacks
            return " + ".join(_named(entry, whole) for entry in value)
        value = " + ".join(str(entry) for entry in value)
    return f"{short} {value}"


def _named(entry: Mapping[str, Any], whole: bool) -> str:
    settings = entry.get("settings", {}) if whole else {}
    return " ".join([entry["name"], *(_words(key, value, whole) for key, value in settings.items())])


def _without_seeds(results: Results) -> dict[str, Any]:
    return {key: value for key, value in results.get("cell", {}).items() if key not in SEEDS}
