"""FedAU: clients that will ask train a second head while they learn; the server merges it into the first.

Source: Gu, Zhu, Zhang, Zhao, Han, Fan and Yang, "Unlearning during Learning: An Efficient Federated Machine Unlearning
Method", IJCAI 2024 (arXiv 2405.15474). Beside the head A that everybody trains, a client concerned trains an auxiliary
head B on the same features, with labels of its own: where samples or clients go, random ones for the forgotten
samples and the true ones for the rest (`W <- (1 - alpha) * W + alpha * mean_i B_i`); where a class goes, that class for
every sample (`W <- W - mean_i B_i`); biases likewise.

Scopes: all. Who takes part: those that hold forgotten data, during learning and with one reply afterwards. Needs from
the server: nothing stored, but its own trunk, whose training must know the request: it serves one request in a run.
There are no rounds of unlearning. The second head costs its clients one more forward pass per batch while they learn,
which the reported cost of unlearning leaves out. The replies are statistics.

Of a client that leaves, every label of B is random: such a head knows nothing, and mixed in it would destroy the first.
As in the authors' code, B then starts every round from the mean of A and of itself, the first one from A; and alpha is
0.5 there by default, 0.9 as in that code for samples. Even so it costs the others more than any other scope does.

Deviations: only head A trains what is below the heads, so the trunk's model is bit for bit that of ordinary training
(up to rounding where linear models are trained all at once, which this trunk is not); in the paper both losses do. Head
B takes its steps after the client's own, in the same batches and with the same step sizes, on the features of the
client's trained model in evaluation mode; in the paper both heads share their steps. It starts at zero and not at
random, so that nothing is subtracted that was not learnt (under client scope at A). A random label is the true one with
probability 1 / K. The labels of several forgotten classes take turns. Head B stays with its client until the server
asks for it; a client that took part in no round has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from fedunlearn.errors import QuorumLost
from fedunlearn.federation import Federation, Task, Update, Weights
from fedunlearn.learning import CLIENT_TASKS, LocalClient, LocalTraining
from fedunlearn.randomness import rng
from fedunlearn.requests import UnlearningRequest
from fedunlearn.settings import Settings
from fedunlearn.unlearning.base import UNLEARNERS, History, OwnTrunkUnlearner
from fedunlearn.unlearning.local import step
from fedunlearn.unlearning.phases import ask, install, method_task

HEAD = ("head.weight", "head.bias")
MEMORY = 0.5  # how much of the second head a client that leaves takes into its next round; the rest is the first's
ALPHA = {"sample": 0.9, "client": 0.5}  # where none is given


class FedAUSettings(Settings):
    """Hyper-parameters of FedAU."""

    alpha: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Share of the second head in the new one; absent: 0.9 for samples, 0.5 for clients.",
    )


@UNLEARNERS.register("fedau")
class FedAU(OwnTrunkUnlearner):
    """Merge a second head, trained during learning on labels of its own, into the model's head."""

    Settings = FedAUSettings
    takes_part = "holders"
    foresees = True
    _foreseen = ""

    @property
    def extra_rounds(self) -> int:
        """None: the heads are there already."""
        return 0

    def prepare(self, request: UnlearningRequest, federation: Federation, history: History) -> tuple[Weights, History]:
        """Train as ever, while the clients that `request` concerns train their second heads."""
        ordinary = history.training.task()
        memory = MEMORY if request.scope == "client" else 1.0
        learning = {"ordinary": ordinary.name, "classes": list(request.whole_classes), "memory": memory}
        task = Task("fedau", {**ordinary.settings, "auxiliary": learning}, ordinary.reply)
        weights, calls = history.initial, range(1, len(history.rounds) + 1)
        federation.open_request(request.samples)
        for _ in calls:
            updates = history.training.collect(federation, weights, task, "all")
            weights, federation.state = federation.aggregate(weights, updates, federation.state)
        federation.open_request({})
        self._foreseen = request.id
        return weights, replace(history, rounds=tuple((federation.journal_key, call) for call in calls))

    def forget(self, weights: Weights, request: UnlearningRequest, federation: Federation, history: History) -> Weights:
        """Return the model with the second heads merged into its head."""
        if request.id != self._foreseen:
            raise ValueError(f'the trunk was trained for request "{self._foreseen}", not for "{request.id}"')
        task = method_task("fedau-head", self.settings, history.training, reply="statistics")
        replies = ask(task, weights, federation.holders("forget"), federation, "forget")
        heads = [reply.payload for reply in replies if reply.payload]
        if not heads:
            raise QuorumLost(f"branch {federation.branch}: no client concerned took part in training: no second head")
        return install(merge(weights, heads, self._share(request)), federation)

    def _share(self, request: UnlearningRequest) -> float | None:
        """Return alpha, or None where the second heads are subtracted."""
        if request.scope == "class":
            return None
        alpha: float | None = self.settings.alpha
        return ALPHA[request.scope] if alpha is None else alpha


def merge(weights: Weights, heads: Sequence[Weights], alpha: float | None) -> Weights:
    """Return the model with the mean of second heads mixed into its head (share `alpha`), or subtracted (None)."""
    merged = dict(weights)
    for name in HEAD:
        learnt = weights[name].astype(np.float64)
        mean = np.mean([head[name] for head in heads], axis=0, dtype=np.float64)
        new = learnt - mean if alpha is None else (1 - alpha) * learnt + alpha * mean
        merged[name] = new.astype(weights[name].dtype)
    return merged


@CLIENT_TASKS.register("fedau")
def learn(client: LocalClient, settings: Mapping[str, Any]) -> Update:
    """Train as ever; a client that will forget something then trains its second head, and keeps it for itself."""
    own = settings["auxiliary"]
    update = CLIENT_TASKS[own["ordinary"]](client, settings)
    if not client.forgets.any():
        return update
    local = LocalTraining.read(settings, "learning-rate")
    if own["ordinary"] == "gradient":
        batches = [client.draw_batch(local.batch_size)]
    else:
        batches = client.epoch_batches(local.batch_size, local.local_epochs)
    labels = torch.from_numpy(false_labels(client, own["classes"])).to(client.device)
    head = train_head(client, local, batches, labels, starting_head(client, own["memory"]))
    return replace(update, private=head)


def starting_head(client: LocalClient, memory: float) -> Weights:
    """Return where the second head starts a round: what is kept of it (at first nothing), the rest from the first."""
    first = {name: client.weights[name] for name in HEAD}
    if client.private is None:
        return first if memory < 1 else {name: np.zeros_like(array) for name, array in first.items()}
    return {name: (1 - memory) * array + memory * client.private[name] for name, array in first.items()}


def train_head(
    client: LocalClient, local: LocalTraining, batches: Sequence[np.ndarray], labels: Tensor, start: Weights
) -> Weights:
    """Return the second head after one step per batch (of positions) on the features of the client's model."""
    model = client.model.eval()
    head = [torch.tensor(start[name], device=client.device).requires_grad_() for name in HEAD]
    descent = torch.optim.SGD(head, local.learning_rate, local.momentum, weight_decay=local.weight_decay)
    for positions in batches:
        images, _ = client.take(positions)
        with torch.no_grad():
            features = model.features(images)
        step(descent, F.cross_entropy(F.linear(features, *head), labels[positions]))
    return {name: tensor.numpy(force=True) for name, tensor in zip(HEAD, head, strict=True)}


def false_labels(client: LocalClient, classes: Sequence[int]) -> np.ndarray:
    """Return what the second head is taught, int64 (n,): the forgotten classes in turn, or random labels.

    Those are drawn for what is forgotten, the same in every round; the rest keep theirs.
    """
    true = client.samples.labels(client.sample_ids)
    if classes:
        return np.resize(np.array(classes, np.int64), len(true))
    draws = rng(client.seed, "unlearning", 0, client.client_id)
    return np.where(client.forgets, draws.integers(len(client.weights["head.bias"]), size=len(true)), true)


@CLIENT_TASKS.register("fedau-head")
def hand_over(client: LocalClient, settings: Mapping[str, Any]) -> Update:
    """Send the second head, or nothing where the client took part in no round."""
    return Update(client.client_id, "statistics", client.private or {}, len(client.sample_ids))
