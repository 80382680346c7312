"""Clients one after the other on one resident model."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import numpy as np

from fedunlearn.federation import Failure, Order, Update
from fedunlearn.learning.client import CLIENT_TASKS, LocalClient, Samples
from fedunlearn.learning.limits import TookTooLong, time_limit
from fedunlearn.models import Classifier, load_weights
from fedunlearn.randomness import rng
from fedunlearn.wire import Stack, stack

T = TypeVar("T")


def attempt(clients: Sequence[int], seconds: float, work: Callable[[], T]) -> T | list[Failure]:
    """Return what `work` returns; if it raises or takes longer than `seconds`, one `Failure` for each of `clients`."""
    try:
        with time_limit(seconds):
            return work()
    except TookTooLong as late:
        reason = str(late)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
    return [Failure(client, reason) for client in clients]


class LoopExecutor:
    """Any client half, one client at a time.

    Args:
        model: loaded with the broadcast for each client.
        samples: the data set.
        seed: the scenario's.
        device: where the model is.
        client_timeout: seconds per client.
    """

    def __init__(self, model: Classifier, samples: Samples, seed: int, device: str, client_timeout: float) -> None:
        self._model = model
        self._samples = samples
        self._seed = seed
        self._device = device
        self._client_timeout = client_timeout

    def run(
        self, order: Order, settings: Mapping[str, Any], held: Mapping[int, np.ndarray]
    ) -> tuple[list[Stack], list[Failure]]:
        """Return the updates of the clients in `held` (client -> sample ids) and the failures."""
        load_weights(self._model, order.weights)
        tensors = self._model.state_dict().values()
        broadcast = [tensor.clone() for tensor in tensors]
        updates: list[Update] = []
        failures: list[Failure] = []
        for client, ids in held.items():
            for tensor, sent in zip(tensors, broadcast, strict=True):
                tensor.copy_(sent)
            outcome = attempt([client], self._client_timeout, partial(self._perform, order, settings, client, ids))
            if isinstance(outcome, Update):
                updates.append(outcome)
            else:
                failures += outcome or [Failure(client, "returned nothing")]
        return stack(updates), failures

    def _perform(self, order: Order, settings: Mapping[str, Any], client: int, ids: np.ndarray) -> Update | None:
        began = time.perf_counter()
        self._model.train()
        self._model.draws = rng(self._seed, "diffusion", order.call, client)
        local = LocalClient(
            client, order.call, self._seed, self._model, order.weights, ids, self._samples, self._device,
            order.private.get(client), order.current.get(client), order.task.attachments,
        )  # fmt: skip
        update = CLIENT_TASKS[order.task.name](local, settings)
        if update is None:
            return None
        return replace(update, metrics={**update.metrics, "seconds": time.perf_counter() - began})
