"""Puts a cell's results together in the published layout (`reporting/results.schema.json`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedunlearn.federation import Spent
from fedunlearn.monitor import Row
from fedunlearn.probes import Probe
from fedunlearn.scenario import Cell
from fedunlearn.stage import Stage

SCHEMA = "fedunlearn-results/1"


@dataclass(frozen=True)
class Carrier:
    """The engine that carries the rounds: its name, and how many processes do the clients' work."""

    name: str
    workers: int


def assemble(
    cell: Cell,
    stage: Stage,
    carrier: Carrier,
    branches: list[dict[str, Any]],
    rows: list[Row],
    requests: list[dict[str, Any]],
    probes: Sequence[Probe],
    attacks: list[dict[str, Any]],
    failures: list[dict[str, str]],
    left_out: Mapping[str, str],
    timing: dict[str, Any],
) -> dict[str, Any]:
    """Return results.json as a dict.

    Args:
        cell: the scenario and its place in the matrix.
        stage: the run's data and model.
        carrier: the engine.
        branches: one summary per branch, the trunk's first.
        rows: one per round.
        requests: the ledger's rows.
        probes: the single rounds that were watched beside the run.
        attacks: the judged attacks.
        failures: the branches that could not be finished, and why.
        left_out: the branches that cannot exist for these requests, and why.
        timing: from `time_spent`.
    """
    return {
        "schema": SCHEMA,
        "scenario": cell.scenario.model_dump(mode="json", by_alias=True, exclude_none=True),
        "cell": cell.values,
        "seed": stage.seed,
        "engine": carrier.name,
        "workers": carrier.workers,
        "federation": _federation(stage),
        "rounds": rows,
        "requests": requests,
        "branches": branches,
        "probes": [probe.to_json() for probe in probes],
        "attacks": attacks,
        "failures": failures,
        "left_out": [{"branch": branch, "reason": reason} for branch, reason in left_out.items()],
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


def time_spent(branches: Sequence[Spent], carrier: Carrier, recording: float, total: float) -> dict[str, float | None]:
    """Return where the time went, in seconds.

    `efficiency` is client compute over (wall time of the rounds times workers), `recording_s` what the tape and
    TensorBoard took while rounds went on; rounds that were read from the journal count in neither.
    """
    client = sum(spent.executed_client_seconds for spent in branches)
    wall = sum(spent.round_seconds for spent in branches)
    return {
        "total_s": total,
        "client_s": client,
        "overhead_s": max(total - client / carrier.workers, 0.0),
        "efficiency": client / (wall * carrier.workers) if wall else None,
        "recording_s": recording,
    }
