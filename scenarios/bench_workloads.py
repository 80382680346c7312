"""The client work that the benchmark repeats on every engine."""

import os
from pathlib import Path

import numpy as np
from flwr.serverapp import Grid
from sklearn.datasets import load_digits

from fedunlearn.data.cache import cache_root
from fedunlearn.federation import Federation, Weights
from fedunlearn.scenario import Scenario
from fedunlearn.scenario.messages import validate
from fedunlearn.stage import Stage, set_stage
from server.grid_engine import grid_engine

ROOT = Path(__file__).resolve().parent.parent
LEARNING_RATE = 0.1


class Rounds:
    """A contender: fedunlearn's federation on a grid, one round per call."""

    def __init__(self, stage: Stage, grid: Grid, num_nodes: int) -> None:
        self._stage = stage
        self._federation = Federation(grid_engine(stage, grid, num_nodes), stage.held)
        self.weights: Weights = stage.fresh(0)

    def __call__(self) -> None:
        """Do one round."""
        self.weights = self._stage.training.run(self._federation, self.weights, 1)


def lenet_stage(clients: int, folder: Path) -> tuple[Stage, str]:
    """Return LeNet on Fashion-MNIST, one epoch of 200 images per client, and what to call it.

    Without the data in `FEDUNLEARN_DATA` (or ../shared/data), the built-in mnist-5k stands in for it.
    """
    images = Path(os.environ.get("FEDUNLEARN_DATA", ROOT.parent / "shared" / "data")) / "fashion_mnist"
    if images.is_dir():
        data, name, each = {"path": str(images), "format": "parquet"}, "Fashion-MNIST", 200
    else:
        data, name, each = {"name": "mnist-5k"}, "mnist-5k (Fashion-MNIST was not found)", min(200, 4800 // clients)
    return _stage(data, "lenet", clients, each, "all", folder), f"{each} images each of {name}"


def mlp_stage(clients: int, per_round: int | str, folder: Path) -> Stage:
    """Return an MLP 64-128-10 on the digits, which repeat until every client has a single batch of ten."""
    archive = cache_root() / f"bench-digits-{clients}.npz"  # kept: what is prepared from it is found by its date
    if not archive.exists():
        digits = load_digits()
        rows = np.arange(clients * 10 + 64) % len(digits.target)
        archive.parent.mkdir(parents=True, exist_ok=True)
        np.savez(archive, images=(digits.images[rows] / 16).astype(np.float32), labels=digits.target[rows])
    return _stage({"path": str(archive), "format": "npz"}, "mlp", clients, 10, per_round, folder)


def in_memory(stage: Stage, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return these samples' images (n, C, H, W), normalised as fedunlearn's models do it, and their labels (n,)."""
    mean, std = (np.asarray(value, np.float32) for value in stage.site.pixel_stats)
    return (stage.dataset.images(ids) - mean) / std, stage.dataset.labels(ids)


def _stage(data: dict, model: str, clients: int, each: int, per_round: int | str, folder: Path) -> Stage:
    parts = {"train": clients * each, "test": 64, "public": 0, "validation": 0, "judge": 0}
    federation = {
        "algorithm": "fedavg",
        "clients": clients,
        "clients-per-round": per_round,
        "batch-size": 10,
        "learning-rate": LEARNING_RATE,
    }
    tables = {"data": data | parts, "partition": {"kind": "iid"}, "model": {"name": model}, "federation": federation}
    return set_stage(validate(Scenario, tables), folder)
