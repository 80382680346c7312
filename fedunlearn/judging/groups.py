"""Cells of a matrix that differ only in their seed are trials of one group."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Results = Mapping[str, Any]
SPELLING = {"fedsgd": "FedSGD", "fedavg": "FedAvg"}  # values whose readers expect capitals


@dataclass(frozen=True)
class Group:
    """Cells with the same matrix values but for the seed.

    Attributes:
        values: the matrix values, without `seed`.
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
        members.setdefault(json.dumps(_without_seed(results), sort_keys=True), []).append(results)
    return [
        Group(_without_seed(group[0]), cell_label(_without_seed(group[0])) or "all cells", tuple(group))
        for group in members.values()
    ]


def cell_label(values: Mapping[str, Any]) -> str:
    """Return matrix values for a reader; a name is shown alone, a number with its key.

    Example:
        >>> cell_label({"federation.algorithm": "fedsgd", "seed": 3})
        'FedSGD, seed 3'
        >>> cell_label({"federation": {"algorithm": "fedavg", "local-epochs": 2}})
        'FedAvg, local epochs 2'
    """
    return ", ".join(_words(key, value) for key, value in _flat(values.items()))


def _flat(items: Iterable[tuple[str, Any]]) -> Iterable[tuple[str, Any]]:
    for key, value in items:
        if isinstance(value, Mapping):
            yield from _flat(value.items())
        else:
            yield key, value


def _words(key: str, value: Any) -> str:
    short = key.rpartition(".")[2].replace("-", " ")
    if isinstance(value, str):
        return SPELLING.get(value, value)
    if isinstance(value, list | tuple):
        value = " + ".join(str(entry) for entry in value)
    return f"{short} {value}"


def _without_seed(results: Results) -> dict[str, Any]:
    return {key: value for key, value in results.get("cell", {}).items() if key != "seed"}
