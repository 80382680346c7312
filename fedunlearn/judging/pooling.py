"""Cells that differ only in which class is to be forgotten, as one group: its trials are seeds and classes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fedunlearn.judging.groups import SEEDS, Group, Results, cell_labels

REQUESTS = "requests"


def pooled(groups: Sequence[Group]) -> list[Group]:
    """Return the groups in the order in which they first occur, those that differ in nothing but classes made one."""
    members: dict[str, list[Group]] = {}
    for group in groups:
        members.setdefault(json.dumps(_of_any_class(group.values), sort_keys=True), []).append(group)
    values = [_of_any_class(own[0].values) for own in members.values()]
    if len({json.dumps(own.get(REQUESTS)) for own in values}) == 1:  # says nothing about any of them
        values = [{key: value for key, value in own.items() if key != REQUESTS} for own in values]
    labels = cell_labels(values)
    return [
        Group(own, label or "all cells", tuple(results for group in same for results in group.cells))
        for own, label, same in zip(values, labels, members.values(), strict=True)
    ]


def seeds_of(results: Results) -> str:
    """Return what cells share that were trained from the same seeds."""
    cell = results.get("cell", {})
    return json.dumps([cell.get(name, results["seed"]) for name in SEEDS])


def _of_any_class(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a group's values without the classes that its requests name."""
    requests = values.get(REQUESTS)
    if not isinstance(requests, list):
        return dict(values)
    return dict(values) | {REQUESTS: [_unnamed(request) for request in requests]}


def _unnamed(request: Mapping[str, Any]) -> dict[str, Any]:
    target = request.get("target", {})
    count = {"classes": len(target["classes"])} if "classes" in target else {}
    return {**request, "target": {**target, **count}}
