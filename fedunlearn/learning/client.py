"""What a client half works with, and the registry of client halves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from fedunlearn.federation import Update, Weights
from fedunlearn.learning.batches import draw_batch, epoch_batches
from fedunlearn.models import Classifier
from fedunlearn.randomness import rng
from fedunlearn.registry import Registry


class Samples(Protocol):
    """Where images and labels come from (`fedunlearn.data.Dataset`)."""

    def images(self, ids: np.ndarray) -> np.ndarray:
        """Return a fresh float32 array (n, C, H, W) in [0, 1]."""
        ...

    def labels(self, ids: np.ndarray) -> np.ndarray:
        """Return a fresh int64 array (n,)."""
        ...


@dataclass
class LocalClient:
    """One client at work; made anew for every order, so nothing is left over from the one before.

    Attributes:
        client_id: its number in the partition.
        call: the branch's call counter.
        seed: the scenario's.
        model: holds the broadcast weights, in training mode; the half may change it as it likes.
        weights: the broadcast; not to be changed.
        sample_ids: sorted ids of the samples in its view.
        samples: where they come from.
        device: where tensors go.
        private: what this client kept for itself in its latest earlier round (`Update.private`), or None.
        asked: sorted ids that the open request asks this client to forget, or None.
        attachments: arrays that the server sent beside the model (`Task.attachments`); not to be changed.
    """

    client_id: int
    call: int
    seed: int
    model: Classifier
    weights: Weights
    sample_ids: np.ndarray
    samples: Samples
    device: str = "cpu"
    private: Weights | None = None
    asked: np.ndarray | None = None
    attachments: Weights = field(default_factory=dict)

    @cached_property
    def forgets(self) -> np.ndarray:
        """bool (n,): which samples of the view the open request asks to forget."""
        return np.isin(self.sample_ids, () if self.asked is None else self.asked, assume_unique=True)

    @cached_property
    def images(self) -> Tensor:
        """float32 (n, C, H, W) in [0, 1]: all samples of the view, converted when first asked for."""
        return torch.from_numpy(self.samples.images(self.sample_ids)).to(self.device)

    @cached_property
    def labels(self) -> Tensor:
        """int64 (n,)."""
        return torch.from_numpy(self.samples.labels(self.sample_ids)).to(self.device)

    def take(self, positions: np.ndarray) -> tuple[Tensor, Tensor]:
        """Return images and labels at these positions of the view, reading nothing else."""
        ids = self.sample_ids[positions]
        images, labels = self.samples.images(ids), self.samples.labels(ids)
        return torch.from_numpy(images).to(self.device), torch.from_numpy(labels).to(self.device)

    def rng(self, stream: str) -> np.random.Generator:
        """Return this client's generator of a stream, for this call."""
        return rng(self.seed, stream, self.call, self.client_id)

    def draw_batch(self, batch_size: int) -> np.ndarray:
        """Return the positions of this call's FedSGD batch."""
        return draw_batch(self.seed, self.call, self.client_id, len(self.sample_ids), batch_size)

    def epoch_batches(self, batch_size: int, epochs: int) -> list[np.ndarray]:
        """Return the positions of this call's local steps."""
        return epoch_batches(self.seed, self.call, self.client_id, len(self.sample_ids), batch_size, epochs)


ClientHalf = Callable[[LocalClient, Mapping[str, Any]], Update]
CLIENT_TASKS: Registry[ClientHalf] = Registry("client task")
