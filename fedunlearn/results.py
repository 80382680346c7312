"""Puts a cell's results together in the published layout (`reporting/results.schema.json`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fedunlearn.federation import Federation
from fedunlearn.monitor import Row
from fedunlearn.scenario import Cell, FederationSettings
from fedunlearn.stage import Stage

SCHEMA = "fedunlearn-results/1"


def assemble(
    cell: Cell,
    stage: Stage,
    branches: list[dict[str, Any]],
    rows: list[Row],
    requests: list[dict[str, Any]],
    attacks: list[dict[str, Any]],
    timing: dict[str, Any],
) -> dict[str, Any]:
    """Return results.json as a dict.

    Args:
        cell: the scenario and its place in the matrix.
        stage: the run's data and model.
        branches: one summary per branch, the trunk's first.
        rows: one per round.
        requests: the ledger's rows.
        attacks: the judged attacks.
        timing: from `time_spent`.
    """
    settings = cell.scenario.federation
    return {
        "schema": SCHEMA,
        "scenario": cell.scenario.model_dump(mode="json", by_alias=True, exclude_none=True),
        "cell": cell.values,
        "seed": stage.seed,
        "engine": settings.engine,
        "workers": workers_of(settings),
        "federation": _federation(stage),
        "rounds": rows,
        "requests": requests,
        "branches": branches,
        "attacks": attacks,
        "timing": timing,
    }


def _federation(stage: Stage) -> dict[str, Any]:
    labels, classes = stage.dataset.all_labels, stage.dataset.num_classes
    counts = [np.bincount(labels[ids], minlength=classes).tolist() for ids in stage.held[:50]]
    splits = ("train", "validation", "test", "public", "judge")
    initial = stage.fresh(0)
    return {
        "clients": len(stage.held),
        "classes": list(stage.dataset.class_names),
        "image_shape": list(stage.dataset.image_shape),
        "samples": {name: len(getattr(stage.splits, name)) for name in splits},
        "parameters": sum(initial[name].size for name in stage.parameters),
        "executor": stage.site.executor,
        "device": stage.site.device,
        "clients_per_node": stage.scenario.federation.clients_per_node,
        "client_class_counts": counts,
    }


def workers_of(settings: FederationSettings) -> int:
    """Return how many processes do the clients' work."""
    return settings.workers if settings.engine == "ray" else 1


def time_spent(
    worked: Sequence[Federation], settings: FederationSettings, recording: float, total: float
) -> dict[str, float | None]:
    """Return where the time went, in seconds.

    `efficiency` is client compute over (wall time of the rounds times workers), `recording_s` what the tape and
    TensorBoard took while rounds went on; rounds that were read from the journal count in neither.
    """
    workers = workers_of(settings)
    client = sum(federation.executed_client_seconds for federation in worked)
    wall = sum(federation.round_seconds for federation in worked)
    return {
        "total_s": total,
        "client_s": client,
        "overhead_s": max(total - client / workers, 0.0),
        "efficiency": client / (wall * workers) if wall else None,
        "recording_s": recording,
    }
