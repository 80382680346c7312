"""Subtract the forgotten clients' stored updates, then repair the damage by distillation on the server's own images.

Source: C. Wu, Zhu and Mitra, "Federated Unlearning with Knowledge Distillation", arXiv 2201.09441.
theta' = theta_T - sum_t p_{i,t} Delta_{i,t}, with p the client's weight in the mean of round t (1 / N for equal
clients); the student starts there and imitates the old model's soft labels, KL(teacher || student) at temperature T.

Scope: client, whole: a stored update cannot be divided, so a client that asks to forget a part of its data loses all of
its updates. Who takes part: the server alone. Needs from the server: every client's update and the model of every round
(rounds x (clients + 1) x model size on disk), and images of its own, without labels (`data.public`). They are disjoint
from the clients' data; if the forgotten ones were among them, the teacher would teach them again.

Deviations: no ordinary rounds follow; the paper lets training go on. Buffers are not subtracted; the student's
batch-norm statistics follow the public images. A client that keeps a part of its data goes on training; a later request
of its subtracts its stored updates once more.
"""

import numpy as np
import torch
from pydantic import Field

from fedunlearn.errors import FedUnlearnError
from fedunlearn.federation import Federation, Weights
from fedunlearn.models import load_weights, to_weights
from fedunlearn.requests import UnlearningRequest
from fedunlearn.settings import Settings
from fedunlearn.unlearning.base import UNLEARNERS, History, Unlearner
from fedunlearn.unlearning.distillation import divergence
from fedunlearn.unlearning.local import one_pass, step
from fedunlearn.unlearning.phases import install
from fedunlearn.unlearning.server_draws import server_rng
from fedunlearn.unlearning.stored import read_round
from fedunlearn.unlearning.vectors import flatten, moved


class KdSubtractSettings(Settings):
    """Hyper-parameters of the distillation."""

    epochs: int = Field(default=10, ge=0, description="Passes over the public images; 0: subtract only.")
    batch_size: int = Field(default=32, ge=1, description="Images per step.")
    learning_rate: float = Field(default=1e-3, gt=0, description="Of Adam.")
    temperature: float = Field(default=3.0, gt=0, description="Divides the logits of teacher and student.")


@UNLEARNERS.register("kd-subtract")
class KdSubtract(Unlearner):
    """Subtract the forgotten clients' stored updates, then distil from the old model on public images."""

    Settings = KdSubtractSettings
    scopes = frozenset({"client"})
    limits = "it takes out the stored updates of whole clients"
    takes_part = "server"
    stores = "updates"

    def forget(self, weights: Weights, request: UnlearningRequest, federation: Federation, history: History) -> Weights:
        """Return the student.

        Raises:
            FedUnlearnError: when the server has no images.
        """
        images = history.proxy()
        if not len(images):
            raise FedUnlearnError("kd-subtract distils on the server's own images, and data.public leaves it none")
        brought_in = np.zeros_like(flatten(weights, history.parameters))
        for branch, call in history.rounds:
            stored = read_round(history, branch, call)
            brought_in += stored.contribution(lambda client: client in request.samples, history.parameters)
        skewed = moved(weights, -brought_in, history.parameters)
        draws = server_rng(federation, history)
        return install(distil(weights, skewed, images, draws, self.settings, history), federation)


def distil(
    teacher: Weights,
    student: Weights,
    images: np.ndarray,
    draws: np.random.Generator,
    settings: KdSubtractSettings,
    history: History,
) -> Weights:
    """Return `student` after imitating `teacher` on float32 `images` (n, C, H, W), visited in the order of `draws`."""
    old, new = history.model().to(history.device), history.model().to(history.device)
    load_weights(old, teacher)
    load_weights(new, student)
    old.eval()
    mover = torch.optim.Adam(new.parameters(), settings.learning_rate)
    for _ in range(settings.epochs):
        for batch in one_pass(draws, np.arange(len(images)), settings.batch_size):
            seen = torch.from_numpy(images[batch]).to(history.device)
            with torch.no_grad():
                wanted = old(seen)
            step(mover, divergence(new(seen), wanted, settings.temperature))
    return to_weights(new)
