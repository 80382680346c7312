"""Many clients at once: their batches stacked, one vmapped gradient per local step."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, grad_and_value, vmap
from torch.nn import functional as F

from fedunlearn.federation import Failure, Order
from fedunlearn.learning.batches import StackedBatches
from fedunlearn.learning.client import Samples
from fedunlearn.learning.training import LocalTraining, sgd_step
from fedunlearn.models import Classifier
from fedunlearn.wire import Stack

CHUNK_FLOATS = 1 << 24  # of weights, gradients, pixels and shuffles held at once: 64 MiB

Tensors = dict[str, Tensor]


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

        def loss(parameters: Tensors, images: Tensor, labels: Tensor, shares: Tensor) -> Tensor:
            logits = functional_call(model, parameters, (images,))
            return (F.cross_entropy(logits, labels, reduction="none") * shares).sum()

        self._from_one_model = vmap(grad_and_value(loss), in_dims=(None, 0, 0, 0))
        self._from_own_models = vmap(grad_and_value(loss), in_dims=(0, 0, 0, 0))

    def run(
        self, order: Order, settings: Mapping[str, Any], held: Mapping[int, np.ndarray]
    ) -> tuple[list[Stack], list[Failure]]:
        """Return the updates of the clients in `held` (client -> sample ids, none empty), one stack per chunk.

        Raises:
            ValueError: for settings that cannot be used.
        """
        kernel = self._train if order.task.name == "train" else self._gradient
        local = LocalTraining.read(settings, *(["learning-rate"] if kernel == self._train else []))
        broadcast = {name: torch.tensor(array, device=self._device) for name, array in order.weights.items()}
        # The largest first: the clients that still have a step to do are then always the first of their chunk.
        clients = sorted(held, key=lambda client: -len(held[client]))
        size = self._clients_per_chunk(broadcast, local, len(held[clients[0]]))
        stacks = []
        for start in range(0, len(clients), size):
            began = time.perf_counter()
            chunk = clients[start : start + size]
            batches = StackedBatches(
                self._seed,
                order.call,
                {client: held[client] for client in chunk},
                local.batch_size,
                min(local.batch_size, self._largest),
                local.local_epochs,
            )
            tensors, losses = kernel(batches, broadcast, local)
            payload = {name: tensor.numpy(force=True) for name, tensor in tensors.items()}
            seconds = (time.perf_counter() - began) / len(chunk)
            metrics = {"loss": losses.tolist(), "seconds": [seconds] * len(chunk)}
            stacks.append(Stack(order.task.reply, chunk, payload, metrics))
        return stacks, []

    def _clients_per_chunk(self, broadcast: Tensors, local: LocalTraining, most_samples: int) -> int:
        weights = sum(tensor.numel() for tensor in broadcast.values())
        pixels = self._samples.images(np.zeros(1, np.int64)).size * local.batch_size
        shuffles = 6 * most_samples * local.local_epochs
        return max(1, CHUNK_FLOATS // (2 * weights + pixels + shuffles))

    def _gradient(
        self, batches: StackedBatches, broadcast: Tensors, local: LocalTraining
    ) -> tuple[Tensors, np.ndarray]:
        """Return every client's gradient at the broadcast, and the losses."""
        images, labels, shares = self._batch(batches, 0, len(batches))
        gradients, losses = self._from_one_model(broadcast, images, labels, shares)
        if local.weight_decay:
            gradients = {name: g.add(broadcast[name], alpha=local.weight_decay) for name, g in gradients.items()}
        return gradients, losses.double().numpy(force=True)

    def _train(self, batches: StackedBatches, broadcast: Tensors, local: LocalTraining) -> tuple[Tensors, np.ndarray]:
        """Return every client's weights after its local steps, and the mean losses that it saw."""
        steps = batches.steps if local.max_steps is None else np.minimum(batches.steps, local.max_steps)
        parameters = {name: tensor.expand(len(batches), *tensor.shape).clone() for name, tensor in broadcast.items()}
        velocities = [torch.zeros_like(parameter) for parameter in parameters.values()] if local.momentum else []
        sums, seen = np.zeros(len(batches)), np.zeros(len(batches))
        for step in range(steps[0]):
            active = int(np.count_nonzero(steps > step))
            images, labels, shares = self._batch(batches, step, active)
            going = {name: parameter[:active] for name, parameter in parameters.items()}
            if step == 0:
                gradients, losses = self._from_one_model(broadcast, images, labels, shares)
            else:
                gradients, losses = self._from_own_models(going, images, labels, shares)
            sgd_step(
                list(going.values()),
                list(gradients.values()),
                [velocity[:active] for velocity in velocities],
                list(broadcast.values()),
                local,
            )
            counts = np.count_nonzero(shares.numpy(force=True), axis=1)
            sums[:active] += losses.numpy(force=True) * counts
            seen[:active] += counts
        return parameters, sums / seen

    def _batch(self, batches: StackedBatches, step: int, active: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return images (active, length, C, H, W), labels and shares in the mean loss (active, length) of a step."""
        ids, real = batches.at(step, active)
        images = torch.from_numpy(self._samples.images(ids.ravel()))
        labels = torch.from_numpy(self._samples.labels(ids.ravel()))
        shares = torch.from_numpy((real / real.sum(axis=1, keepdims=True)).astype(np.float32))
        images, labels = images.reshape(*ids.shape, *images.shape[1:]), labels.reshape(ids.shape)
        return images.to(self._device), labels.to(self._device), shares.to(self._device)
