"""What goes to the clients and what comes back: plain, immutable values without behaviour."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

Weights = dict[str, np.ndarray]  # a model's parameters and buffers, in the model's own order
DataView = Literal["all", "retain", "forget"]
Kind = Literal["weights", "gradient", "statistics"]


@dataclass(frozen=True)
class Task:
    """What clients are asked to do: a registered client half, its settings (JSON values), and arrays beside the model.

    `reply` says what comes back: `weights` and `gradient` have exactly the model's names, shapes and dtypes
    (a gradient reply carries the client's buffers beside the parameter gradients); `statistics` are free.
    `attachments` go to every client of the round: a mask, a second model, whatever the client half expects.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    reply: Kind = "weights"
    attachments: Weights = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Job:
    """One client's part of a round: settings over the task's own, and which of its data it uses.

    `forget` is what the open request asks to forget, `retain` is the rest, `all` is both. What earlier
    requests removed is in none of them. Where `samples` are given, the client works on those (sorted ids) instead:
    a probe watches what a client would send for a batch of the experimenter's choice.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    view: DataView = "retain"
    samples: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Update:
    """What one client sent back.

    Attributes:
        client_id: 0..N-1, the client's number in the partition.
        kind: what `payload` holds.
        payload: arrays by name.
        num_examples: from the server's partition table, never from the client.
        metrics: what the client measured (its loss, its seconds).
        private: what the client keeps for its own next round; never taped.
    """

    client_id: int
    kind: Kind
    payload: Weights
    num_examples: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    private: Weights | None = None


@dataclass(frozen=True)
class Failure:
    """A client that gave no usable update, and why."""

    client_id: int
    reason: str


Outcome = Update | Failure


@dataclass(frozen=True)
class Order:
    """One round as it is handed to the engine.

    `past` and `current` are sorted sample ids by client: what earlier requests removed and what the open
    request asks to forget. Clients that hold none of either are absent from both. `private` is what clients kept for
    themselves in an earlier round.
    """

    call: int
    task: Task
    weights: Weights
    jobs: Mapping[int, Job]
    past: Mapping[int, np.ndarray] = field(default_factory=dict)
    current: Mapping[int, np.ndarray] = field(default_factory=dict)
    private: Mapping[int, Weights] = field(default_factory=dict)

    def digest(self) -> str:
        """Return the SHA-256 of everything that decides what the clients answer."""
        jobs = [[client, dict(job.settings), job.view, job.samples] for client, job in sorted(self.jobs.items())]
        head = json.dumps([self.call, self.task.name, self.task.reply, dict(self.task.settings), jobs], sort_keys=True)
        sha = hashlib.sha256(head.encode())
        for name, excluded in (("past", self.past), ("current", self.current)):
            for client in sorted(set(excluded) & set(self.jobs)):
                sha.update(f"{name}:{client}:{excluded[client].tolist()}".encode())
        for client in sorted(set(self.private) & set(self.jobs)):
            sha.update(f"private:{client}:{weights_sha256(self.private[client])}".encode())
        if self.task.attachments:
            sha.update(f"attachments:{weights_sha256(self.task.attachments)}".encode())
        sha.update(weights_sha256(self.weights).encode())
        return sha.hexdigest()


def weights_sha256(weights: Weights) -> str:
    """Return the SHA-256 over names, dtypes, shapes and bytes, in the model's order."""
    sha = hashlib.sha256()
    for name, array in weights.items():
        sha.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
        sha.update(np.asarray(array, order="C").data)
    return sha.hexdigest()
