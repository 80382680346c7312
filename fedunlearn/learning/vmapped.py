"""Many clients at once: their batches stacked, one batched gradient per local step."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from fedunlearn.federation import Failure, Order
from fedunlearn.learning.batches import StackedBatches
from fedunlearn.learning.client import Samples
from fedunlearn.learning.stacked import StackedModel, Tensors, trim
from fedunlearn.learning.training import LocalTraining, sgd_step
from fedunlearn.models import Classifier
from fedunlearn.wire import Stack

CHUNK_FLOATS = 1 << 21  # of weights, pixels and shuffles in one call: with 8 MiB the work stays in the cache


class VmapExecutor:
    """The tasks "train" and "gradient" for models of linear layers only.

    A client's result does not depend, to the last bit, on the clients that share its call or its chunk: every
    batch is padded to a length fixed for the scenario, padding has weight zero, and a client with no step left
    takes part in no further one. The loop's results agree up to rounding.

    Args:
        model: a linear-only classifier; its own weights are not used.
        samples: the data set.
        seed: the scenario's.
        device: where the model is.
        largest: the number of samples of the scenario's largest client; no batch is longer.
    """

    tasks: ClassVar[frozenset[str]] = frozenset({"train", "gradient"})

    def __init__(self, model: Classifier, samples: Samples, seed: int, device: str, largest: int) -> None:
        self._samples = samples
        self._seed = seed
        self._device = device
        self._largest = largest
        self._model = StackedModel(model)

    def run(
        self, order: Order, settings: Mapping[str, Any], held: Mapping[int, np.ndarray]
    ) -> tuple[list[Stack], list[Failure]]:
        """Return the updates of the clients in `held` (client -> sample ids, none empty), one stack per chunk.

        Raises:
            ValueError: for settings that cannot be used.
        """
        training = order.task.name == "train"
        local = LocalTraining.read(settings, *(["learning-rate"] if training else []))
        broadcast = {name: torch.tensor(array, device=self._device) for name, array in order.weights.items()}
        wide = self._model.widen(broadcast)
        # The largest first: the clients that still have a step to do are then always the first of their chunk.
        clients = sorted(held, key=lambda client: -len(held[client]))
        epochs = local.local_epochs if training else 1
        size = self._clients_per_chunk(broadcast, local.batch_size, epochs * len(held[clients[0]]))
        given = (
            len(job.samples) for job in order.jobs.values() if job.samples
        )  # a probe may ask for more than is held
        length = min(local.batch_size, max(self._largest, *given, 0))
        stacks = []
        for start in range(0, len(clients), size):
            began = time.perf_counter()
            chunk = {client: held[client] for client in clients[start : start + size]}
            batches = StackedBatches(self._seed, order.call, chunk, local.batch_size, length, epochs)
            tensors, losses = (self._train if training else self._gradient)(batches, wide, local)
            payload = {name: t.contiguous().numpy(force=True) for name, t in trim(tensors, broadcast).items()}
            seconds = (time.perf_counter() - began) / len(chunk)
            metrics = {"loss": losses.tolist(), "seconds": [seconds] * len(chunk)}
            stacks.append(Stack(order.task.reply, list(chunk), payload, metrics))
        return stacks, []

    def _clients_per_chunk(self, broadcast: Tensors, batch_size: int, visits: int) -> int:
        weights = sum(tensor.numel() for tensor in broadcast.values())
        pixels = self._samples.images(np.zeros(1, np.int64)).size * batch_size
        return max(1, CHUNK_FLOATS // (weights + pixels + 2 * visits))

    def _gradient(self, batches: StackedBatches, wide: Tensors, local: LocalTraining) -> tuple[Tensors, np.ndarray]:
        """Return every client's gradient at the broadcast, and the losses."""
        repeated = _repeat(wide, len(batches))
        gradients, losses = self._model.gradients(repeated, *self._batch(batches, 0, len(batches)))
        if local.weight_decay:
            gradients = {name: g.add(wide[name], alpha=local.weight_decay) for name, g in gradients.items()}
        return gradients, losses.double().numpy(force=True)

    def _train(self, batches: StackedBatches, wide: Tensors, local: LocalTraining) -> tuple[Tensors, np.ndarray]:
        """Return every client's weights after its local steps, and the mean losses that it saw."""
        repeated = _repeat(wide, len(batches))
        weights = {name: tensor.clone() for name, tensor in repeated.items()}
        velocities = [torch.zeros_like(tensor) for tensor in weights.values()] if local.momentum else []
        sums, seen = np.zeros(len(batches)), np.zeros(len(batches))
        for step in range(batches.steps[0]):
            active = int(np.count_nonzero(batches.steps > step))
            images, labels, shares = self._batch(batches, step, active)
            own = {name: tensor[:active] for name, tensor in weights.items()}
            # In the first step all weights are the broadcast: one copy of them stays in the cache.
            gradients, losses = self._model.gradients(own if step else repeated, images, labels, shares)
            moving = [velocity[:active] for velocity in velocities]
            sgd_step(list(own.values()), list(gradients.values()), moving, list(wide.values()), local)
            counts = np.count_nonzero(shares.numpy(force=True), axis=1)
            sums[:active] += losses.numpy(force=True) * counts
            seen[:active] += counts
        return weights, sums / seen

    def _batch(self, batches: StackedBatches, step: int, active: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return images (active, length, C, H, W), labels and shares in the mean loss (active, length) of a step."""
        ids, real = batches.at(step, active)
        images = torch.from_numpy(self._samples.images(ids.ravel())).unflatten(0, ids.shape)
        labels = torch.from_numpy(self._samples.labels(ids.ravel())).unflatten(0, ids.shape)
        shares = torch.from_numpy((real / real.sum(axis=1, keepdims=True)).astype(np.float32))
        return images.to(self._device), labels.to(self._device), shares.to(self._device)


def _repeat(tensors: Tensors, times: int) -> Tensors:
    """Return views (times, ...) that repeat each tensor without copying it."""
    return {name: tensor.expand(times, *tensor.shape) for name, tensor in tensors.items()}
