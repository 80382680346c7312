"""What a run was made with: versions, machine, settings that were decided by rule."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fedunlearn.stage import Stage

PACKAGES = ("fedunlearn", "torch", "numpy", "flwr", "ray", "scikit-learn", "flwr-datasets", "safetensors")


def manifest(stage: Stage) -> dict[str, Any]:
    """Return what is needed to run this again and to explain a difference: JSON values only."""
    federation = stage.scenario.federation
    return {
        "seed": stage.seed,
        "engine": federation.engine,
        "workers": federation.workers if federation.engine == "ray" else 1,
        "device": stage.site.device,
        "executor": stage.site.executor,
        "dataset": {"name": stage.dataset.name, "samples": len(stage.dataset)},
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "machine": {"system": platform.platform(), "processor": platform.machine(), "cores": os.cpu_count()},
    }


def write_manifest(folder: Path, stage: Stage) -> None:
    """Write `manifest.json`."""
    (folder / "manifest.json").write_text(json.dumps(manifest(stage), indent=2) + "\n")
