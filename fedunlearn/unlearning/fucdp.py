"""FUCDP: prune the channels that tell the forgotten class from the others, then train on the rest of the data.

Source: Wang, Guo, Xie and Qi, "Federated Unlearning via Class-Discriminative Pruning", WWW 2022 (arXiv 2110.11794).
Clients send, for every channel c of a convolution and every class j, the mean A[c, j] over their images of class j
of avgpool(ReLU(channel)). Channels are words, classes are documents: with C channels in the layer and K classes,

    TF  = A[c, u] / sum_c A[c, u] * log(C * e)
    IDF = log(K / (1 + #{j : A[c, j] >= mean_j A[c, j]}))

The channels with the highest TF * IDF over all layers are pruned, then ordinary rounds follow.

Scope: class. Who takes part: all clients that hold data, also those without the class, send activations, and with them
their exact numbers of images of every class; the retained ones train. Needs from the server: nothing. The replies are
statistics.

Deviations: a pruned channel's filter and bias are set to zero, and so are gain and bias of a normalisation layer
right behind it; shapes are kept. The server sets pruned channels to zero again after every recovery round (clients
may move them), or to what a defence put there; ordinary training after the recovery does not. Where a normalisation
layer follows a convolution, its output is what activations are taken from. Several forgotten classes: a channel counts
with its highest score. Every layer keeps at least one channel, for else nothing would pass through it any more.
Activations are taken in evaluation mode; a class of which nobody holds samples is no document. The source prunes
convolutions only. Hidden linear layers are pruned too where a model has nothing else, or where `layers` names them:
their units are the channels, with ReLU(unit) as the activation and nothing to average over.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from pydantic import Field
from torch import Tensor, nn

from fedunlearn.errors import ScenarioError
from fedunlearn.federation import Federation, Update, Weights
from fedunlearn.learning import CLIENT_TASKS, LocalClient
from fedunlearn.requests import UnlearningRequest
from fedunlearn.settings import Settings
from fedunlearn.unlearning.base import UNLEARNERS, History, Unlearner
from fedunlearn.unlearning.class_statistics import class_means, pooled
from fedunlearn.unlearning.local import read
from fedunlearn.unlearning.masks import chosen, prune, recover
from fedunlearn.unlearning.phases import ask, method_task


class FucdpSettings(Settings):
    """Hyper-parameters of FUCDP."""

    sparsity: float = Field(default=0.2, gt=0, lt=1, description="Share of all these layers' channels to prune.")
    layers: tuple[str, ...] = Field(
        default=(),
        strict=False,
        description="Names of layers; absent: all convolutions, or without any the hidden linear layers.",
    )
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
            ScenarioError: when the model has neither convolutions nor hidden units.
            QuorumLost: when nobody who holds the forgotten data answers.
        """
        layers = prunable(history.model(), self.settings.layers)
        task = method_task("fucdp", self.settings, history.training, reply="statistics")
        found = pooled(ask(task, weights, federation.holders("all"), federation, "all"))
        held = np.flatnonzero(found["counts"])
        columns = np.flatnonzero(np.isin(held, request.target)).tolist()
        scores = {name: np.max([tf_idf(found[name][:, held], u) for u in columns], axis=0) for name in layers}
        masks = channel_masks(weights, layers, highest(scores, self.settings.sparsity))
        return recover(prune(weights, masks, federation), masks, self.extra_rounds, federation, history)


@dataclass(frozen=True)
class Channels:
    """A layer whose channels, or units, can be pruned.

    Attributes:
        tensors: names in the weights whose first axis are the channels.
        output: the module that computes the channels' maps.
    """

    tensors: tuple[str, ...]
    output: nn.Module


def prunable(model: nn.Module, names: tuple[str, ...] = ()) -> dict[str, Channels]:
    """Return the layers to prune by name: those named, or all convolutions, or without any the hidden linear layers.

    One that is followed by a normalisation layer has that as its output.

    Raises:
        ScenarioError: when there are none, or a name is wrong.
    """
    leaves = [(name, module) for name, module in model.named_modules() if not list(module.children())]
    convolutions, linear = {}, {}
    for (name, module), (next_name, follower) in pairwise([*leaves, ("", nn.Identity())]):
        owners: dict[str, nn.Module] = {name: module}
        if isinstance(follower, nn.BatchNorm2d | nn.GroupNorm):
            owners[next_name] = follower
        tensors = tuple(f"{owner}.{part}" for owner, of in owners.items() for part, _ in of.named_parameters())
        if isinstance(module, nn.Conv2d):
            convolutions[name] = Channels(tensors, list(owners.values())[-1])
        elif isinstance(module, nn.Linear) and name != "head":
            linear[name] = Channels(tensors, module)
    if names:
        return chosen(convolutions | linear, names, "fucdp")
    if not (found := convolutions or linear):
        raise ScenarioError('unlearning.methods: "fucdp" prunes channels and hidden units; this model has none')
    return found


@CLIENT_TASKS.register("fucdp")
def activations(client: LocalClient, settings: Mapping[str, Any]) -> Update:
    """Send each layer's mean channel activations (C, K) by class, and "counts" (K,) of the images behind them."""
    own = read(FucdpSettings, settings)
    outputs = {name: layer.output for name, layer in prunable(client.model, own.layers).items()}
    return class_means(client, outputs, channel_activations, own.batch_size)


def channel_activations(inputs: Tensor, output: Tensor) -> Tensor:
    """Return (n, C): the mean of every channel's map above zero, or a unit's output above zero."""
    above = output.relu()
    return above.mean((2, 3)) if above.ndim == 4 else above


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


def channel_masks(weights: Weights, layers: Mapping[str, Channels], channels: Mapping[str, np.ndarray]) -> Weights:
    """Return, for every tensor of the layers, bool in its shape: what belongs to the `channels` (C,) of each layer."""
    return {
        tensor: np.broadcast_to(
            np.expand_dims(channels[name], tuple(range(1, weights[tensor].ndim))), weights[tensor].shape
        )
        for name, layer in layers.items()
        for tensor in layer.tensors
    }
