"""UNSIR: impair with noise on which the model errs as much as it can, then repair on retained data.

Source: Tarun, Chundawat, Mandal and Kankanhalli, "Fast Yet Effective Machine Unlearning", IEEE TNNLS 2023
(arXiv 2111.08947). For each forgotten class u the server, which needs its model alone, optimises pictures n_u to
minimise -CE(f(n), u) + penalty * mean |n|^2. Impair: clients train on their retained data joined with the noise,
each picture labelled with the class that it was made for. Repair: they train on their retained data.

Scope: class; the noise is made for whole classes. Who takes part: the retained clients; nobody touches forgotten
data. Needs from the server: nothing.

Deviations: noise lives in the model's normalised space and is sent as pictures, not clipped to [0, 1]. A client uses
all its retained data, not 1000 samples per class. Repair is the federation's ordinary training, not a separate
schedule. With a request for a part of a class, the rest of it is retained data like any other. While impairing, noise
counts in the batch-norm statistics; repairing replaces it there. Defaults suit small federations; the source's:
learning rate 0.02, 20 batches of 256 noise pictures.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field

from fedunlearn.federation import Federation, Update, Weights
from fedunlearn.learning import CLIENT_TASKS, LocalClient
from fedunlearn.models import Classifier, load_weights
from fedunlearn.requests import UnlearningRequest
from fedunlearn.unlearning.base import UNLEARNERS, History, Unlearner
from fedunlearn.unlearning.local import answer, one_pass, optimiser, read, step
from fedunlearn.unlearning.phases import LocalSettings, average, method_task
from fedunlearn.unlearning.server_draws import server_rng


class UnsirSettings(LocalSettings):
    """Hyper-parameters of UNSIR; `rounds` impair, `recovery-rounds` repair."""

    optimiser: Literal["sgd", "adam"] = Field(default="adam", description="Of the local impair steps.")
    learning_rate: float = Field(default=0.01, gt=0, description="Of the local impair steps.")
    noise_images: int = Field(default=64, ge=1, description="Noise pictures per forgotten class.")
    noise_steps: int = Field(default=40, ge=1, description="Adam steps of the noise.")
    noise_learning_rate: float = Field(default=0.1, gt=0, description="Of Adam on the noise.")
    noise_penalty: float = Field(default=0.1, ge=0, description="Weight of the noise's mean squared norm.")
    noise_share: float = Field(
        default=0.5, gt=0, description="In a local pass: noise pictures per retained sample and forgotten class."
    )


@UNLEARNERS.register("unsir")
class Unsir(Unlearner):
    """Impair with noise on which the model errs as much as it can, then repair on retained data."""

    Settings = UnsirSettings
    scopes = frozenset({"class"})
    limits = "its noise stands for whole classes"

    @property
    def extra_rounds(self) -> int:
        """The impairing rounds and the repairing ones."""
        given: int | None = self.settings.recovery_rounds
        impairing: int = self.settings.rounds
        return max(self.rounds, impairing) if given is None else impairing + given

    def forget(self, weights: Weights, request: UnlearningRequest, federation: Federation, history: History) -> Weights:
        """Return the model after noise, impairing and repairing."""
        model = history.model().to(history.device)
        load_weights(model, weights)
        draws = server_rng(federation, history)
        shape = history.proxy().shape[1:]  # of pictures; none of them is used
        noise = {str(u): error_maximising_noise(model, u, shape, self.settings, draws) for u in request.target}
        task = method_task("unsir", self.settings, history.training, attachments=noise)
        for _ in range(self.settings.rounds):
            weights = average(history.training.collect(federation, weights, task), federation)
        return history.training.run(federation, weights, self.extra_rounds - self.settings.rounds)


def error_maximising_noise(
    model: Classifier, label: int, shape: Sequence[int], settings: UnsirSettings, draws: np.random.Generator
) -> np.ndarray:
    """Return pictures, float32 (noise_images, *shape), that `model` takes for anything rather than class `label`.

    `model` must hold the weights to err with; it is put into evaluation mode.
    """
    model.eval().requires_grad_(False)
    start = draws.standard_normal((settings.noise_images, *shape)).astype(np.float32)
    noise = torch.from_numpy(start).to(model.mean.device).requires_grad_()
    labels = torch.full((len(noise),), label, device=noise.device)
    moved = torch.optim.Adam([noise], settings.noise_learning_rate)
    for _ in range(settings.noise_steps):
        size = noise.square().flatten(1).sum(1).mean()
        step(moved, settings.noise_penalty * size - model.loss(model.mean + model.std * noise, labels))
    pictures: np.ndarray = (model.mean + model.std * noise).numpy(force=True)
    return pictures


@CLIENT_TASKS.register("unsir")
def impair(client: LocalClient, settings: Mapping[str, Any]) -> Update:
    """Train on the client's own data joined with noise; sends the weights.

    Every attachment holds noise pictures; its name is the class that they were made for, and their label.
    """
    chosen = read(UnsirSettings, settings)
    classes = sorted(client.attachments, key=int)  # attachments may travel in any order
    noise = np.concatenate([client.attachments[u] for u in classes])
    made_for = np.concatenate([np.full(len(client.attachments[u]), int(u)) for u in classes])
    draws, moved = client.rng("unlearning"), optimiser(client.model, chosen)
    own = len(client.sample_ids)
    for _ in range(chosen.epochs):
        picked = draws.integers(0, len(noise), len(classes) * math.ceil(chosen.noise_share * own))
        for batch in one_pass(draws, np.concatenate([np.arange(own), own + picked]), chosen.batch_size):
            images, labels = client.take(batch[batch < own])
            which = batch[batch >= own] - own
            images = torch.cat([images, torch.from_numpy(noise[which]).to(client.device)])
            labels = torch.cat([labels, torch.from_numpy(made_for[which]).to(client.device)])
            loss = step(moved, client.model.loss(images, labels))
    return answer(client, loss=loss)
