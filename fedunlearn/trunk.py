"""The trunk: ordinary training up to the first request. Trained once, kept as a checkpoint, shared by branches."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from fedunlearn.federation import Federation, Weights, weights_sha256
from fedunlearn.monitor import Row
from fedunlearn.stage import Stage


@dataclass(frozen=True)
class Trunk:
    """The model when the first request arrives.

    Attributes:
        weights: the global model.
        rounds: (journal key, call) of every round.
        rows: what the monitor saw, one row per round.
        reused: whether it was read from a checkpoint instead of trained.
    """

    weights: Weights
    rounds: tuple[tuple[str, int], ...]
    rows: list[Row]
    reused: bool


def train_or_load(stage: Stage, federation: Federation, folder: Path, rows: list[Row]) -> Trunk:
    """Train the trunk on `federation`, or go on from the checkpoint in `folder` that an equal trunk left.

    Args:
        stage: data, model and training.
        federation: at call 0; afterwards at the trunk's last call, with the server optimiser's state.
        folder: where the checkpoint is or will be.
        rows: the monitor's rows, which training fills.
    """
    path = folder / "checkpoint.safetensors"
    count = stage.scenario.trunk_rounds
    rounds = tuple((federation.journal_key, call + 1) for call in range(count))
    if path.exists():
        weights, state, kept = _read(path)
        federation.calls, federation.state = count, state
        return Trunk(weights, rounds, kept, reused=True)
    weights = stage.training.run(federation, stage.fresh(0), count)
    _write(path, weights, federation.state, rows)
    return Trunk(weights, rounds, list(rows), reused=False)


def _write(path: Path, weights: Weights, state: Weights | None, rows: list[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {f"w/{name}": array for name, array in weights.items()}
    arrays |= {f"s/{name}": array for name, array in (state or {}).items()}
    head = {"names": json.dumps(list(weights)), "stateful": json.dumps(state is not None), "rows": json.dumps(rows)}
    partial = path.with_suffix(".partial")
    save_file({name: np.asarray(array, order="C") for name, array in arrays.items()}, partial, metadata=head)
    os.replace(partial, path)


def _read(path: Path) -> tuple[Weights, Weights | None, list[Row]]:
    with safe_open(path, framework="numpy") as file:
        head, arrays = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    weights = {name: arrays[f"w/{name}"] for name in json.loads(head["names"])}
    state = {key.removeprefix("s/"): array for key, array in arrays.items() if key.startswith("s/")}
    return weights, state if json.loads(head["stateful"]) else None, json.loads(head["rows"])


def save_model(folder: Path, name: str, weights: Weights) -> str:
    """Keep a branch's final model as `<folder>/<name>.safetensors`; return its SHA-256."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({key: np.asarray(array, order="C") for key, array in weights.items()}, folder / f"{name}.safetensors")
    return weights_sha256(weights)
