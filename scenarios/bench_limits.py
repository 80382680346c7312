"""The limits: the same client work as bare PyTorch, with the data in memory and nothing between client and server."""

from __future__ import annotations

import multiprocessing
from collections import OrderedDict
from multiprocessing.connection import Connection

import numpy as np
import torch
from bench_workloads import LEARNING_RATE, in_memory
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from fedunlearn.federation import Weights
from fedunlearn.learning import epoch_batches
from fedunlearn.stage import Stage

BATCH = 10


class RawLoop:
    """A contender: every client's epoch with `nn.Module` and `torch.optim.SGD`, in processes that stay.

    Visits the samples in fedunlearn's order, so that both end with the same weights.
    """

    def __init__(self, stage: Stage, processes: int) -> None:
        self._names = list(stage.fresh(0))
        self.weights: Weights = stage.fresh(0)
        self._calls = 0
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        for number in range(processes):
            data = {c: in_memory(stage, stage.held[c]) for c in range(number, len(stage.held), processes)}
            here, there = context.Pipe()
            context.Process(target=_raw_worker, args=(there, stage.seed, data), daemon=True).start()
            self._pipes.append(here)

    def __call__(self) -> None:
        """Do one round."""
        self._calls += 1
        for pipe in self._pipes:
            pipe.send((self._calls, list(self.weights.values())))
        sums = [pipe.recv() for pipe in self._pipes]
        clients = sum(count for count, _ in sums)
        totals = [sum(parts) for parts in zip(*(arrays for _, arrays in sums), strict=True)]
        self.weights = {
            name: (total / clients).astype(np.float32) for name, total in zip(self._names, totals, strict=True)
        }


def _lenet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def _raw_worker(pipe: Connection, seed: int, arrays: dict[int, tuple[np.ndarray, np.ndarray]]) -> None:
    """Answer (call, weights) with (number of clients, sums of their weights in float64), for ever."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    model = _lenet()
    optimiser = torch.optim.SGD(model.parameters(), LEARNING_RATE)
    data = {client: (torch.from_numpy(images), torch.from_numpy(labels)) for client, (images, labels) in arrays.items()}
    while True:
        try:
            call, weights = pipe.recv()
        except EOFError:  # the benchmark has ended
            return
        broadcast = [torch.from_numpy(array) for array in weights]
        sums = [np.zeros(array.shape) for array in weights]
        for client, (x, y) in data.items():
            with torch.no_grad():
                for parameter, sent in zip(model.parameters(), broadcast, strict=True):
                    parameter.copy_(sent)
            for batch in map(torch.from_numpy, epoch_batches(seed, call, client, len(y), BATCH, 1)):
                optimiser.zero_grad()
                F.cross_entropy(model(x[batch]), y[batch]).backward()
                optimiser.step()
            for total, parameter in zip(sums, model.parameters(), strict=True):
                total += parameter.detach().numpy()
        pipe.send((len(data), sums))


class VmapLimit:
    """A contender: one SGD step of every client in one functional vmap, stacking and averaging included."""

    def __init__(self, stage: Stage) -> None:
        images, labels = map(torch.from_numpy, in_memory(stage, np.concatenate(stage.held)))
        self._images, self._labels = images.flatten(start_dim=1), labels
        self._rows = np.arange(len(labels)).reshape(len(stage.held), BATCH)
        self._draws = np.random.default_rng(0)
        self._names = list(stage.fresh(0))
        self.weights: Weights = stage.fresh(0)
        layers = [("0", nn.Linear(64, 128)), ("1", nn.ReLU()), ("2", nn.Linear(128, 10))]
        model = nn.Sequential(OrderedDict(layers))
        self._keys = [name for name, _ in model.named_parameters()]

        def loss(parameters: dict[str, Tensor], images: Tensor, labels: Tensor) -> Tensor:
            return F.cross_entropy(functional_call(model, parameters, (images,)), labels)

        self._gradients = vmap(grad(loss), in_dims=(0, 0, 0))

    def __call__(self) -> None:
        """Do one round."""
        batches = torch.from_numpy(self._draws.permuted(self._rows, axis=1))
        arrays = zip(self._keys, self.weights.values(), strict=True)
        clients = {key: torch.from_numpy(array).expand(len(batches), *array.shape).clone() for key, array in arrays}
        gradients = self._gradients(clients, self._images[batches], self._labels[batches])
        for key, parameter in clients.items():
            parameter.sub_(gradients[key], alpha=LEARNING_RATE)
        averages = [_average(stack.numpy()) for stack in clients.values()]
        self.weights = dict(zip(self._names, averages, strict=True))


def _average(stack: np.ndarray) -> np.ndarray:
    """Return the mean over clients as fedunlearn defines it: in float64, one client after the other."""
    total = np.zeros(stack.shape[1:])
    for array in stack:
        total += array
    return (total / len(stack)).astype(stack.dtype)
