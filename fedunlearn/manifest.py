"""What a run was made with: versions, machine, settings that were decided by rule."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fedunlearn.errors import BadInput
from fedunlearn.results import Carrier
from fedunlearn.stage import Stage

PACKAGES = ("fedunlearn", "torch", "numpy", "flwr", "ray", "scikit-learn", "flwr-datasets", "safetensors")
DECISIVE = (
    "seed",
    "training_seed",
    "device",
    "executor",
    "dataset",
    "versions",
)  # what the numbers depend on beside the scenario


def manifest(stage: Stage, carrier: Carrier) -> dict[str, Any]:
    """Return what is needed to run this again and to explain a difference: JSON values only."""
    return {
        "seed": stage.seed,
        "training_seed": stage.learning_seed,
        "engine": carrier.name,
        "workers": carrier.workers,
        "device": stage.site.device,
        "executor": stage.site.executor,
        # the prepared folder's name holds a digest of the source
        "dataset": {"prepared": Path(stage.site.dataset).name, "samples": len(stage.dataset)},
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "machine": {"system": platform.platform(), "processor": platform.machine(), "cores": os.cpu_count()},
    }


def write_manifest(folder: Path, stage: Stage, carrier: Carrier) -> None:
    """Write `manifest.json`, or make sure that the run which is resumed was begun with the same.

    Raises:
        BadInput: when data, versions, device or executor are no longer what they were.
    """
    path, now = folder / "manifest.json", manifest(stage, carrier)
    if path.exists():
        before = json.loads(path.read_text())
        for key in DECISIVE:
            if before.get(key) != now[key]:
                was, is_ = json.dumps(before.get(key)), json.dumps(now[key])
                raise BadInput(f"{path}: the run was begun with {key} = {was}, now it is {is_}; start a new run")
    path.write_text(json.dumps(now, indent=2) + "\n")
