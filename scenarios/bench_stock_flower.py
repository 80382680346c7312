"""Stock Flower with the benchmark's client work: one SuperNode per client, Flower's own FedAvg, its own simulation.

Runs in a process of its own (`python bench_stock_flower.py FOLDER CLIENTS WORKERS ROUNDS`): FOLDER holds `images.npy`
(clients, 10, 64), `labels.npy` (clients, 10) and `weights.npz`. Each line on its input lets one round go; each
line on its output is the seconds that it took. At the end the global model lies in `result.npz`.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections import OrderedDict
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")  # read when flwr is imported
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")

import numpy as np
import torch
from bench_workloads import LEARNING_RATE, in_memory
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from torch import nn
from torch.nn import functional as F

from fedunlearn.federation import Weights
from fedunlearn.stage import Stage

client_app = ClientApp()


def _mlp() -> nn.Module:
    layers = [("fc1", nn.Linear(64, 128)), ("act1", nn.ReLU()), ("head", nn.Linear(128, 10))]
    return nn.Sequential(OrderedDict(layers))


@lru_cache(maxsize=1)
def _data(folder: str) -> tuple[np.ndarray, np.ndarray]:
    return np.load(f"{folder}/images.npy", mmap_mode="r"), np.load(f"{folder}/labels.npy", mmap_mode="r")


@client_app.train()
def train(message: Message, context: Context) -> Message:
    """Take one SGD step on the client's only batch."""
    torch.set_num_threads(1)
    images, labels = _data(str(message.content["config"]["folder"]))
    client = int(context.node_config["partition-id"])
    model = _mlp()
    model.load_state_dict(cast(ArrayRecord, message.content["arrays"]).to_torch_state_dict())
    optimiser = torch.optim.SGD(model.parameters(), LEARNING_RATE)
    batch, targets = torch.from_numpy(images[client].copy()), torch.from_numpy(labels[client].copy())
    loss = F.cross_entropy(model(batch), targets)
    loss.backward()
    optimiser.step()
    metrics = MetricRecord({"num-examples": len(targets), "loss": loss.item()})
    reply = RecordDict({"arrays": ArrayRecord(model.state_dict()), "metrics": metrics})
    return Message(reply, reply_to=message)


class StockFlower:
    """A contender: starts the process of the module's description, and lets one round go per call."""

    def __init__(self, stage: Stage, workers: int, rounds: int, folder: Path) -> None:
        folder.mkdir(parents=True)
        images, labels = in_memory(stage, np.concatenate(stage.held))
        np.save(folder / "images.npy", images.reshape(len(stage.held), 10, 64))
        np.save(folder / "labels.npy", labels.reshape(len(stage.held), 10))
        self._names = list(stage.fresh(0))
        _save(folder / "weights.npz", dict(zip(_mlp().state_dict(), stage.fresh(0).values(), strict=True)))
        self._result = folder / "result.npz"
        numbers = map(str, (len(stage.held), workers, rounds))
        command = [sys.executable, __file__, str(folder), *numbers]
        self._errors = folder / "stderr.txt"
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, bufsize=1
            )

    def __call__(self) -> float:
        """Let one round go; return its seconds."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("go\n")
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"stock Flower ended: {self._errors.read_text()[-2000:]}")
        return float(line)

    def finish(self) -> Weights:
        """Wait for the end; return the global model."""
        self._process.communicate(timeout=120)
        with np.load(self._result) as arrays:
            return dict(zip(self._names, (arrays[name] for name in arrays.files), strict=True))


def _save(file: Path, arrays: Mapping[str, np.ndarray]) -> None:
    np.savez(file, allow_pickle=False, **arrays)


def main(folder: str, clients: int, workers: int, rounds: int) -> None:
    """Run the federation; see the module's description."""
    from flwr.simulation import run_simulation

    logging.getLogger("flwr").setLevel(logging.ERROR)
    server = ServerApp()
    with np.load(f"{folder}/weights.npz") as archive:
        initial = ArrayRecord({name: torch.from_numpy(archive[name]) for name in archive.files})

    @server.main()
    def serve(grid: Grid, context: Context) -> None:
        began = 0.0

        def between(round: int, arrays: ArrayRecord) -> None:
            nonlocal began
            if round:
                print(time.perf_counter() - began, flush=True)
            if round < rounds:
                sys.stdin.readline()
            began = time.perf_counter()

        while len(list(grid.get_node_ids())) < clients:
            time.sleep(0.1)
        strategy = FedAvg(fraction_evaluate=0.0, min_train_nodes=clients, min_available_nodes=clients)
        config = ConfigRecord({"folder": folder})
        result = strategy.start(grid, initial, rounds, train_config=config, evaluate_fn=between)
        _save(Path(folder) / "result.npz", {name: array.numpy() for name, array in result.arrays.items()})

    backend: Any = {
        "init_args": {"num_cpus": workers, "log_to_driver": False, "logging_level": logging.ERROR},
        "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
    }
    run_simulation(server, client_app, clients, backend_config=backend)


if __name__ == "__main__":
    import bench_stock_flower  # under its own name, so that Ray's workers import it instead of copying it

    bench_stock_flower.main(sys.argv[1], *map(int, sys.argv[2:]))
