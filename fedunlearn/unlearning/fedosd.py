"""FedOSD: unlearn along the steepest direction that no retained client objects to, recover without turning back.

Source: Pan, Wang, Li, Zheng, Wang, Tang and Zhao, "Federated Unlearning with Gradient Descent and Conflict Mitigation",
AAAI 2025 (arXiv 2412.20200). The leaving client descends the bounded unlearning loss UCE = -log(1 - p_y / 2). With G_r
the retained clients' gradients as rows and g_u that of UCE, the server steps against
d = g_u - G_r' (G_r G_r')^+ G_r g_u, stretched to the length of g_u: orthogonal to all of G_r, nearest to g_u. In the
recovery every retained client's change is projected orthogonally to theta - theta_o, its length kept, so that the model
does not drift back to theta_o.

Scopes: client as in the paper; class and sample by extension (clients may then be on both sides, each with its own part
of the data). Who takes part: the holders of forgotten data and the retained clients of each round, both in every
unlearning step. Needs from the server: nothing.

Deviations: unlearning gradients are those of the mean loss over all of a client's data under the view, in evaluation
mode, and means are weighted by numbers of samples; the paper's clients send stochastic gradients and count alike. An
unlearning step takes two rounds, one for either side. Recovery projects the changes of ordinary rounds instead of
gradients, and steps by the weighted mean whatever strategy trained the model. Where g_u lies in the span of G_r there
is no such direction: unlearning ends, and the recovery begins. Defaults suit small federations; the source's: learning
rate 4e-4, 100 unlearning and 200 recovery rounds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from pydantic import Field
from scipy.linalg import pinvh
from torch import Tensor

from fedunlearn.aggregation import weighted_mean
from fedunlearn.federation import DataView, Federation, Update, Weights
from fedunlearn.learning import CLIENT_TASKS, LocalClient
from fedunlearn.requests import UnlearningRequest
from fedunlearn.settings import Settings
from fedunlearn.unlearning.base import UNLEARNERS, History, Unlearner
from fedunlearn.unlearning.local import read
from fedunlearn.unlearning.phases import ask, install, method_task
from fedunlearn.unlearning.stored import delta_of
from fedunlearn.unlearning.vectors import flatten, inner, moved, norm

SPANNED = 1e-6  # what is left of g_u, as a share of its length, below which it counts as lying in the others' span


class FedOsdSettings(Settings):
    """Hyper-parameters of FedOSD."""

    rounds: int = Field(default=10, ge=1, description="Unlearning steps, of two rounds each.")
    recovery_rounds: int | None = Field(
        default=None, ge=0, description="Rounds of projected training afterwards; absent: unlearning.rounds."
    )
    learning_rate: float = Field(default=0.2, gt=0, description="Of the unlearning steps.")
    batch_size: int = Field(default=256, ge=1, description="Samples of a gradient computed at once; memory only.")


@UNLEARNERS.register("fedosd")
class FedOsd(Unlearner):
    """Unlearn along the steepest direction orthogonal to the retained gradients, recover without turning back."""

    Settings = FedOsdSettings
    takes_part = "holders and retained"

    @property
    def recovery_rounds(self) -> int:
        """The rounds of projected training."""
        return self.rounds if self.settings.recovery_rounds is None else int(self.settings.recovery_rounds)

    @property
    def extra_rounds(self) -> int:
        """Two for every unlearning step, and the recovery."""
        return 2 * int(self.settings.rounds) + self.recovery_rounds

    def forget(self, weights: Weights, request: UnlearningRequest, federation: Federation, history: History) -> Weights:
        """Return the model after unlearning and recovery."""
        before, parameters = flatten(weights, history.parameters), history.parameters
        for _ in range(self.settings.rounds):
            leaving = self._gradients("uce", federation.holders("forget"), "forget", weights, federation, history)
            others = history.training.participants(federation)
            staying = self._gradients("cross-entropy", others, "retain", weights, federation, history)
            direction = steepest(_mean(leaving, parameters), [flatten(u.payload, parameters) for u in staying])
            if direction is None:
                break
            weights = install(moved(weights, -self.settings.learning_rate * direction, parameters), federation)
        for _ in range(self.recovery_rounds):
            updates = history.training.collect(federation, weights, history.training.task())
            weights = install(recovered(weights, updates, flatten(weights, parameters) - before, history), federation)
        return weights

    def _gradients(
        self,
        loss: str,
        clients: Sequence[int],
        view: DataView,
        weights: Weights,
        federation: Federation,
        history: History,
    ) -> list[Update]:
        task = method_task("mean-gradient", self.settings, history.training, reply="gradient")
        # One batch of everything, whatever the largest client has: so the federation counts all samples behind it.
        whole = max((federation.num_examples(client, view) for client in clients), default=1)
        task = replace(task, settings={**task.settings, "loss": loss, "batch-size": whole})
        return ask(task, weights, clients, federation, view)


def _mean(updates: Sequence[Update], parameters: frozenset[str]) -> np.ndarray:
    return flatten(weighted_mean([u.payload for u in updates], [u.num_examples for u in updates]), parameters)


def steepest(wanted: np.ndarray, kept: Sequence[np.ndarray]) -> np.ndarray | None:
    """Return the direction nearest to `wanted` (d,) that is orthogonal to all of `kept`, with the length of `wanted`.

    None where `wanted` is zero or lies in the span of `kept`.
    """
    rows = np.array([row / norm(row) for row in kept if norm(row)]).reshape(-1, len(wanted))
    inverse = pinvh(np.einsum("id,jd->ij", rows, rows), rtol=1e-12) if len(rows) else np.zeros((0, 0))
    direction = wanted
    for _ in range(2):  # once more for what rounding left of the rows, where they are nearly parallel
        shares = inverse @ np.einsum("id,d->i", rows, direction)
        direction = direction - np.einsum("i,id->d", shares, rows)
    length = norm(direction)
    return direction * (norm(wanted) / length) if length > SPANNED * norm(wanted) else None


def recovered(weights: Weights, updates: Sequence[Update], away: np.ndarray, history: History) -> Weights:
    """Return `weights` moved by the mean of the clients' changes, each projected orthogonally to `away` (d,)."""
    parameters, sizes = history.parameters, [update.num_examples for update in updates]
    step = np.zeros_like(away)
    for update, size in zip(updates, sizes, strict=True):
        step += size / sum(sizes) * beside(flatten(delta_of(update, weights, history), parameters), away)
    new, mean = moved(weights, step, parameters), weighted_mean([update.payload for update in updates], sizes)
    return {name: array if name in parameters else mean[name] for name, array in new.items()}


def beside(change: np.ndarray, away: np.ndarray) -> np.ndarray:
    """Return `change` (d,) projected orthogonally to `away` (d,), its length kept; zero if it is parallel to `away`."""
    if not norm(away):
        return change
    unit = away / norm(away)
    rest = change - inner(change, unit) * unit
    return rest * (norm(change) / norm(rest)) if norm(rest) > SPANNED * norm(change) else np.zeros_like(change)


@CLIENT_TASKS.register("mean-gradient")
def mean_gradient(client: LocalClient, settings: Mapping[str, Any]) -> Update:
    """Send the gradient of the mean loss over all data of the view, and the buffers as they were."""
    chunk, model, size = read(FedOsdSettings, settings).batch_size, client.model.eval(), len(client.sample_ids)
    parameters = dict(model.named_parameters())
    sums = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    for start in range(0, size, chunk):
        images, labels = client.take(np.arange(start, min(start + chunk, size)))
        loss = uce(model(images), labels) if settings["loss"] == "uce" else model.loss(images, labels)
        gradients = torch.autograd.grad(loss * (len(labels) / size), list(parameters.values()))
        for total, gradient in zip(sums.values(), gradients, strict=True):
            total += gradient
    payload = client.weights | {name: total.numpy(force=True) for name, total in sums.items()}
    return Update(client.client_id, "gradient", payload, size)


def uce(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean unlearning loss -log(1 - p_y / 2) of logits (n, K): 0 at p_y = 0, log 2 at p_y = 1."""
    share = torch.softmax(logits, 1).gather(1, labels[:, None])
    return -torch.log1p(-share / 2).mean()
