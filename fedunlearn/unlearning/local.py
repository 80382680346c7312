"""What the methods' client halves have in common: whose turn it is in a batch, and which optimiser moves."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from fedunlearn.federation import Update
from fedunlearn.learning import LocalClient
from fedunlearn.models import to_weights
from fedunlearn.settings import Settings
from fedunlearn.unlearning.phases import LocalSettings

S = TypeVar("S", bound=Settings)


def read(kind: type[S], settings: Mapping[str, Any]) -> S:
    """Return the method's settings that `method_task` put into a task."""
    return kind.model_validate_json(json.dumps(settings["method"]), by_alias=True, by_name=False)


def parts(client: LocalClient) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions, in the client's view, of what it forgets and of what it retains."""
    return np.flatnonzero(client.forgets), np.flatnonzero(~client.forgets)


def one_pass(draws: np.random.Generator, positions: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    """Yield shuffled batches that visit every position once; the last may be smaller, no positions give none."""
    shuffled = draws.permutation(positions)
    return (shuffled[start : start + batch_size] for start in range(0, len(shuffled), batch_size))


def endless(draws: np.random.Generator, positions: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    """Yield batches for ever, pass after pass, each newly shuffled; nothing at all for no positions."""
    while len(positions):
        yield from one_pass(draws, positions, batch_size)


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Normalise batches by the running statistics and leave those alone; afterwards `model` is in training mode.

    Gradients flow as always. Call the model in training mode first where one loss needs both: that changes the
    statistics in place, which the backward pass would otherwise find altered.
    """
    model.eval()
    try:
        yield
    finally:
        model.train()


def optimiser(model: nn.Module, settings: LocalSettings) -> torch.optim.Optimizer:
    """Return the optimiser of a client's local steps over all parameters of `model`."""
    if settings.optimiser == "adam":
        return torch.optim.Adam(model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    momentum, decay = settings.momentum, settings.weight_decay
    return torch.optim.SGD(model.parameters(), settings.learning_rate, momentum=momentum, weight_decay=decay)


def step(moved: torch.optim.Optimizer, loss: Tensor) -> float:
    """Go one step down `loss`; return its value."""
    moved.zero_grad()
    loss.backward()
    moved.step()
    return float(loss.detach())


def answer(client: LocalClient, **metrics: float) -> Update:
    """Return the client's model as its answer."""
    return Update(client.client_id, "weights", to_weights(client.model), len(client.sample_ids), metrics)
