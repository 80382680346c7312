"""The limits: the same client work as bare PyTorch, with the data in memory and nothing between client and server."""

from __future__ import annotations

import multiprocessing
from collections import OrderedDict
from multiprocessing.connection import Connection

import numpy as np
import torch
from bench_workloads import LEARNING_RATE
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
        mean, std = stage.site.pixel_stats
        for number in range(processes):
            clients = range(number, len(stage.held), processes)
            images = {c: (stage.dataset.images(stage.held[c]) - np.float32(mean)) / np.float32(std) for c in clients}
            labels = {c: stage.dataset.labels(stage.held[c]) for c in clients}
            here, there = context.Pipe()
            context.Process(target=_raw_worker, args=(there, stage.seed, images, labels), daemon=True).start()
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


def _raw_worker(pipe: Connection, seed: int, images: dict[int, np.ndarray], labels: dict[int, np.ndarray]) -> None:
    """Answer (call, weights) with (number of clients, sums of their weights in float64), for ever."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    model = _lenet()
    optimiser = torch.optim.SGD(model.parameters(), LEARNING_RATE)
    data = {c: (torch.from_numpy(images[c]), torch.from_numpy(labels[c])) for c in images}
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
        held = np.concatenate(stage.held)
        mean, std = stage.site.pixel_stats
        pixels = (stage.dataset.images(held) - np.float32(mean)) / np.float32(std)
        self._images = torch.from_numpy(pixels.reshape(len(held), -1))
        self._labels = torch.from_numpy(stage.dataset.labels(held))
        self._rows = np.arange(len(held)).reshape(len(stage.held), BATCH)
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
        means = [stack.numpy().mean(axis=0, dtype=np.float64) for stack in clients.values()]
        self.weights = {name: mean.astype(np.float32) for name, mean in zip(self._names, means, strict=True)}
