"""SCRUB: a student that leaves its teacher on forgotten data and stays with it on retained data.

Source: Kurmanji, P. Triantafillou, Hayes and E. Triantafillou, "Towards Unbounded Machine Unlearning", NeurIPS 2023
(arXiv 2302.09880). The teacher is the model before unlearning. In the first `msteps` epochs a pass over the
forgotten data ascends KL_T(teacher || student); in every epoch a pass over the retained data descends
gamma * CE + alpha * KL_T. KL_T carries T^2. Optionally every step also descends
smoothing * sum over tensors of |theta - theta_teacher|_F.

Scopes: class and sample. Not client: a client that forgets all its data has no descent, and at the teacher the
ascent has a gradient of zero. For the same reason the very first ascent pass does nothing here (public code starts
it from rounding noise); it is the retained data that move the student away first. Who takes part: the clients that
hold forgotten data, then the retained ones in ordinary rounds. Needs from the server: nothing (more than one
unlearning round: the model before, sent along).

Deviations: a constant learning rate, since the passes are few; ascent steps are taken in evaluation mode, so that
batch normalisation keeps the statistics of all data; ascent ends for good when a batch diverges by more than
`divergence-limit`, because the divergence has no upper bound. A client that holds nothing but forgotten data sends
back what it was sent, in the first unlearning round and with weight decay 0; in later rounds the model has left the
teacher, and such a client ascends. Defaults suit small federations; the source's: learning rate 5e-4, 10 epochs, weight
decay 0.1, smoothing 0.5.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from fedunlearn.federation import Task, Update, Weights
from fedunlearn.learning import CLIENT_TASKS, LocalClient
from fedunlearn.unlearning.base import UNLEARNERS, History
from fedunlearn.unlearning.distillation import divergence, original, original_teacher
from fedunlearn.unlearning.local import answer, evaluation_mode, one_pass, optimiser, parts, read, step
from fedunlearn.unlearning.phases import HoldersUnlearner, LocalSettings, method_task


class ScrubSettings(LocalSettings):
    """Hyper-parameters of SCRUB."""

    epochs: int = Field(default=5, ge=1, description="Local passes over the retained data per unlearning round.")
    batch_size: int = Field(default=16, ge=1, description="Samples per local step.")
    optimiser: Literal["sgd", "adam"] = Field(default="adam", description="Of the local steps.")
    learning_rate: float = Field(default=3e-3, gt=0, description="Of the local steps.")
    msteps: int = Field(default=3, ge=1, description="Epochs that begin with a pass of ascent on the forgotten data.")
    gamma: float = Field(default=1.0, ge=0, description="Weight of the cross-entropy on retained data.")
    alpha: float = Field(default=0.5, ge=0, description="Weight of the divergence on retained data.")
    smoothing: float = Field(default=0.0, ge=0, description="Weight of the distance to the teacher, tensor by tensor.")
    temperature: float = Field(default=2.0, gt=0, description="Of both distributions in the divergence.")
    divergence_limit: float = Field(
        default=20.0, gt=0, description="Ascent ends when a batch's divergence (nats, times T^2) is larger."
    )


@UNLEARNERS.register("scrub")
class Scrub(HoldersUnlearner):
    """Leave the old model on forgotten data, stay with it on retained data."""

    Settings = ScrubSettings
    scopes = frozenset({"class", "sample"})
    limits = "without retained data a client never leaves its teacher, where the ascent has no gradient"

    def task(self, before: Weights, history: History) -> Task:
        """Return the alternation of ascent and descent."""
        attachments = original(before, self.settings)
        return method_task("scrub", self.settings, history.training, attachments=attachments)


@CLIENT_TASKS.register("scrub")
def scrub(client: LocalClient, settings: Mapping[str, Any]) -> Update:
    """Alternate ascent on forgotten and descent on retained data; sends the weights."""
    chosen = read(ScrubSettings, settings)
    model, old = client.model, original_teacher(client)
    draws, moved = client.rng("unlearning"), optimiser(model, chosen)
    forget, retain = parts(client)
    ascents, stopped = 0, False
    for epoch in range(chosen.epochs):
        if epoch < chosen.msteps and not stopped:
            batches = one_pass(draws, forget, chosen.batch_size)
            steps, stopped = leave(client, batches, old, moved, chosen)
            ascents += steps
        stay(client, one_pass(draws, retain, chosen.batch_size), old, moved, chosen)
    return answer(client, stopped=float(stopped), steps=float(ascents))


def leave(
    client: LocalClient, batches: Iterable[np.ndarray], old: nn.Module, moved: torch.optim.Optimizer, s: ScrubSettings
) -> tuple[int, bool]:
    """Ascend the divergence from `old`; return how many steps were taken, and whether the limit ended them."""
    steps = 0
    with evaluation_mode(client.model):
        for positions in batches:
            images, _ = client.take(positions)
            distance = divergence(client.model(images), old(images), s.temperature)
            if float(distance.detach()) > s.divergence_limit:
                return steps, True
            step(moved, s.smoothing * apart(client.model, old) - distance)
            steps += 1
    return steps, False


def stay(
    client: LocalClient, batches: Iterable[np.ndarray], old: nn.Module, moved: torch.optim.Optimizer, s: ScrubSettings
) -> None:
    """Descend cross-entropy and the divergence from `old`."""
    for positions in batches:
        images, labels = client.take(positions)
        logits = client.model(images)
        fit = nn.functional.cross_entropy(logits, labels)
        distance = divergence(logits, old(images), s.temperature)
        step(moved, s.gamma * fit + s.alpha * distance + s.smoothing * apart(client.model, old))


def apart(model: nn.Module, other: nn.Module) -> Tensor:
    """Return the sum of the parameter tensors' Frobenius distances; its gradient where they meet is 0."""
    pairs = zip(model.parameters(), other.parameters(), strict=True)
    return torch.stack([torch.linalg.vector_norm(mine - its) for mine, its in pairs]).sum()
