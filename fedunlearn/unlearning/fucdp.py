"""FUCDP: prune the channels that tell the forgotten class from the others, then train on the rest of the data.

Source: Wang, Guo, Xie and Qi, "Federated Unlearning via Class-Discriminative Pruning", WWW 2022 (arXiv 2110.11794).
Clients send, for every channel c of a convolution and every class j, the mean A[c, j] over their images of class j
of avgpool(ReLU(channel)). Channels are words, classes are documents: with C channels in the layer and K classes,

    TF  = A[c, u] / sum_c A[c, u] * log(C * e)
    IDF = log(K / (1 + #{j : A[c, j] >= mean_j A[c, j]}))

The channels with the highest TF * IDF over all layers are pruned, then ordinary rounds follow.

Scope: class. Who takes part: all clients that hold data, also those without the class, send activations, and with them
their exact numbers of images of every class; the retained ones train. Needs from the server: nothing. Only for models
with convolutions. The replies are statistics.

Deviations: a pruned channel's filter and bias are set to zero, and so are gain and bias of a normalisation layer
right behind it; shapes are kept. The server sets pruned channels to zero again after every recovery round (clients
may move them); ordinary training after the recovery does not. Where a normalisation layer follows a convolution, its
output is what activations are taken from. Several forgotten classes: a channel counts with its highest score. Every
layer keeps at least one channel, for else nothing would pass through it any more. Activations are taken in evaluation
mode; a class of which nobody holds samples is no document.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from fedunlearn.errors import ScenarioError
from fedunlearn.federation import Federation, Update, Weights
from fedunlearn.learning import CLIENT_TASKS, LocalClient
from fedunlearn.requests import UnlearningRequest
from fedunlearn.settings import Settings
from fedunlearn.unlearning.base import UNLEARNERS, History, Unlearner
from fedunlearn.unlearning.local import read
from fedunlearn.unlearning.phases import ask, install, method_task


class FucdpSettings(Settings):
    """Hyper-parameters of FUCDP."""

    sparsity: float = Field(default=0.2, gt=0, lt=1, description="Share of all convolutions' channels to prune.")
    batch_size: int = Field(default=128, ge=1, description="Images that a client looks at together.")
    recovery_rounds: int | None = Field(
        default=None, ge=0, description="Ordinary rounds on retained data afterwards; absent: all of the rounds."
    )


@UNLEARNERS.register("fucdp")
class ClassDiscriminativePruning(Unlearner):
    """Prune the channels that tell the forgotten class from the others, then train on retained data."""

    Settings = FucdpSettings
    scopes = frozenset({"class"})
    limits = "it prunes what tells a whole class from the others"
    takes_part = "everyone"

    @property
    def extra_rounds(self) -> int:
        """The recovery rounds; the round of activations is beside them."""
        given: int | None = self.settings.recovery_rounds
        return self.rounds if given is None else given

    def forget(self, weights: Weights, request: UnlearningRequest, federation: Federation, history: History) -> Weights:
        """Return the pruned model after its recovery.

        Raises:
            ScenarioError: when the model has no convolution.
            QuorumLost: when nobody who holds the forgotten data answers.
        """
        layers = convolutions(history.model())
        if not layers:
            raise ScenarioError('unlearning.methods: "fucdp" prunes channels of convolutions; this model has none')
        task = method_task("fucdp", self.settings, history.training, reply="statistics")
        found = pooled(ask(task, weights, federation.holders("all"), federation, "all"))
        held = np.flatnonzero(found["counts"])
        columns = np.flatnonzero(np.isin(held, request.target)).tolist()
        scores = {name: np.max([tf_idf(found[name][:, held], u) for u in columns], axis=0) for name in layers}
        pruned = highest(scores, self.settings.sparsity)
        weights = install(zeroed(weights, layers, pruned), federation)
        for _ in range(self.extra_rounds):
            trained = history.training.run(federation, weights, 1)
            weights = federation.publish(zeroed(trained, layers, pruned))
        return weights


@dataclass(frozen=True)
class Convolution:
    """A convolution and what belongs to its channels.

    Attributes:
        tensors: names in the weights whose first axis are the channels.
        output: the module that computes the channels' maps.
    """

    tensors: tuple[str, ...]
    output: nn.Module


def convolutions(model: nn.Module) -> dict[str, Convolution]:
    """Return the model's convolutions by name; one that is followed by a normalisation layer has that as its output."""
    leaves = [(name, module) for name, module in model.named_modules() if not list(module.children())]
    found = {}
    for (name, module), (next_name, follower) in pairwise([*leaves, ("", nn.Identity())]):
        if isinstance(module, nn.Conv2d):
            owners: dict[str, nn.Module] = {name: module}
            if isinstance(follower, nn.BatchNorm2d | nn.GroupNorm):
                owners[next_name] = follower
            tensors = [f"{owner}.{part}" for owner, of in owners.items() for part, _ in of.named_parameters()]
            found[name] = Convolution(tuple(tensors), list(owners.values())[-1])
    return found


@CLIENT_TASKS.register("fucdp")
@torch.no_grad()
def activations(client: LocalClient, settings: Mapping[str, Any]) -> Update:
    """Send each convolution's mean channel activations (C, K) by class, and "counts" (K,) of the images behind them."""
    model, size = client.model.eval(), read(FucdpSettings, settings).batch_size
    classes = model.head.out_features
    maps: dict[str, Tensor] = {}
    sums: dict[str, Tensor] = {}
    counts = np.bincount(client.samples.labels(client.sample_ids), minlength=classes)

    def watch(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def keep(module: nn.Module, inputs: Any, output: Tensor) -> None:
            maps[name] = output.relu().mean((2, 3)).double()

        return keep

    with ExitStack() as hooks:
        for name, layer in convolutions(model).items():
            hooks.enter_context(layer.output.register_forward_hook(watch(name)))
        for positions in np.array_split(np.arange(len(client.sample_ids)), -(-len(client.sample_ids) // size)):
            images, labels = client.take(positions)
            model(images)
            by_class = nn.functional.one_hot(labels, classes).double()
            sums = {name: sums.get(name, torch.zeros(())) + of.T @ by_class for name, of in maps.items()}
    payload = {name: (of.numpy(force=True) / np.maximum(counts, 1)).astype(np.float32) for name, of in sums.items()}
    return Update(client.client_id, "statistics", payload | {"counts": counts}, len(client.sample_ids))


def pooled(updates: Sequence[Update]) -> Weights:
    """Return the clients' activations as means over the images of all of them, and the "counts" behind those."""
    counts = np.sum([update.payload["counts"] for update in updates], axis=0)
    names = [name for name in updates[0].payload if name != "counts"]
    sums = {name: sum(u.payload[name].astype(np.float64) * u.payload["counts"] for u in updates) for name in names}
    return {name: of / np.maximum(counts, 1) for name, of in sums.items()} | {"counts": counts}


def tf_idf(activation: np.ndarray, forgotten: int) -> np.ndarray:
    """Return each channel's score (C,) for the class in column `forgotten` of `activation` (C, K), not negative."""
    channels, classes = activation.shape
    column = activation[:, forgotten]
    frequency = column / max(column.sum(), np.finfo(np.float64).tiny) * math.log(channels * math.e)
    documents = (activation >= activation.mean(1, keepdims=True)).sum(1)
    scores: np.ndarray = frequency * np.log(classes / (1 + documents))
    return scores


def highest(scores: Mapping[str, np.ndarray], share: float) -> dict[str, np.ndarray]:
    """Return, by layer, bool (C,): the `share` of all layers' channels with the highest scores, at least one.

    Equal scores fall to the earlier layer and channel. Every layer keeps a channel, its lowest.
    """
    channels = [(name, channel) for name, of in scores.items() for channel in range(len(of))]
    chosen = {name: np.zeros(len(of), bool) for name, of in scores.items()}
    wanted = max(round(share * len(channels)), 1)
    for place in np.argsort(-np.concatenate(list(scores.values())), kind="stable"):
        name, channel = channels[place]
        if wanted and np.count_nonzero(~chosen[name]) > 1:
            chosen[name][channel] = True
            wanted -= 1
    return chosen


def zeroed(weights: Weights, layers: Mapping[str, Convolution], channels: Mapping[str, np.ndarray]) -> Weights:
    """Return `weights` with everything that belongs to the chosen channels set to zero."""
    masks = {tensor: channels[name] for name, layer in layers.items() for tensor in layer.tensors}
    return {name: _without(array, masks[name]) if name in masks else array for name, array in weights.items()}


def _without(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    kept = array.copy()
    kept[rows] = 0
    return kept
