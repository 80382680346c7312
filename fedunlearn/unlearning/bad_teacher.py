"""Bad teaching: a student learns from the old model on retained data and from a random one on forgotten data.

Source: Chundawat, Tarun, Mandal and Kankanhalli, "Can Bad Teaching Induce Forgetting? Unlearning in Deep Networks
Using an Incompetent Teacher", AAAI 2023 (arXiv 2205.08096). The student descends T^2 * KL(teacher || student),
averaged over the samples of a batch that mixes forgotten data with a share of the retained ones.

Scopes: all. Who takes part: the clients that hold forgotten data, then the retained ones in ordinary rounds. Needs
from the server: the random teacher, drawn once and sent to all, so that the clients pull towards the same function
(more than one unlearning round: the model before, too).

Deviations: a client that forgets all its data (client scope) has only the bad teacher; the ordinary rounds bring the
others back. The loss is divided by the number of samples, not also by that of classes, and carries T^2. The retained
share is drawn anew in every unlearning round. The student is in training mode, the teachers in evaluation mode.
Defaults suit small federations; the source's: Adam at 1e-4 for one epoch.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field

from fedunlearn.federation import Task, Update, Weights
from fedunlearn.learning import CLIENT_TASKS, LocalClient
from fedunlearn.storage import part
from fedunlearn.unlearning.base import UNLEARNERS, History
from fedunlearn.unlearning.distillation import divergence, original, original_teacher, teacher
from fedunlearn.unlearning.local import answer, one_pass, optimiser, parts, read, step
from fedunlearn.unlearning.phases import HoldersUnlearner, LocalSettings, method_task
from fedunlearn.unlearning.server_draws import BAD_TEACHER

BAD = "bad/"


class BadTeacherSettings(LocalSettings):
    """Hyper-parameters of bad teaching."""

    epochs: int = Field(default=5, ge=1, description="Local passes per unlearning round.")
    optimiser: Literal["sgd", "adam"] = Field(default="adam", description="Of the local steps.")
    learning_rate: float = Field(default=2e-3, gt=0, description="Of the local steps.")
    temperature: float = Field(default=1.0, gt=0, description="Of both distributions in the divergence.")
    retain_share: float = Field(default=0.3, ge=0, le=1, description="Share of its retained data a client uses.")


@UNLEARNERS.register("bad-teacher")
class BadTeacher(HoldersUnlearner):
    """Learn from the old model on retained data, from a random one on forgotten data."""

    Settings = BadTeacherSettings

    def task(self, before: Weights, history: History) -> Task:
        """Return the distillation, with its teachers."""
        attachments = {f"{BAD}{name}": array for name, array in history.fresh(BAD_TEACHER).items()}
        attachments |= original(before, self.settings)
        return method_task("bad-teacher", self.settings, history.training, attachments=attachments)


@CLIENT_TASKS.register("bad-teacher")
def distil(client: LocalClient, settings: Mapping[str, Any]) -> Update:
    """Imitate the teacher that each sample has; sends the weights, and the loss before the first step."""
    chosen = read(BadTeacherSettings, settings)
    model, good, bad = client.model, original_teacher(client), teacher(client, part(client.attachments, BAD))
    draws, moved = client.rng("unlearning"), optimiser(model, chosen)
    forget, retain = parts(client)
    share = draws.permutation(retain)[: math.ceil(chosen.retain_share * len(retain))]
    pupils = np.concatenate([forget, share])
    losses = []
    for _ in range(chosen.epochs):
        for positions in one_pass(draws, pupils, chosen.batch_size):
            images, _ = client.take(positions)
            forgotten = torch.from_numpy(client.forgets[positions]).to(client.device)
            target = torch.where(forgotten[:, None], bad(images), good(images))
            losses.append(step(moved, divergence(model(images), target, chosen.temperature)))
    return answer(client, first_loss=losses[0], loss=losses[-1])
