"""PGA: the client that leaves climbs its loss inside a ball around what the other clients have learnt.

Source: Halimi, Kadhe, Rawat and Baracaldo, "Federated Unlearning: How to Efficiently Erase a Client in FL?", 2022
(arXiv 2207.05521). The reference is the model without client i's last contribution, w_ref = (theta_T - p_i * theta_i) /
(1 - p_i) with theta_i its last local model: the mean of the other clients' last models. From there the client ascends
cross-entropy on its data; after every step it projects back onto |w - w_ref| <= delta, delta^2 being a third of the
mean squared distance from w_ref to ten random initialisations. It stops early when far enough from theta_i.

Scope: client; w_ref needs others who hold none of the forgotten data. Who takes part: the clients that leave, then the
retained ones in ordinary rounds. Needs from the server: every client's update and the model of the latest round in
which one that leaves took part together with others. Who will leave is not known beforehand, so its cost counts all
rounds: an upper bound (rounds x (clients + 1) x model size on disk), as the latest round of every client would do.

Deviations: w_ref and theta_i are taken relative to the model now, w_ref = theta - (mean change of the stored round -
mean change of the others in it); right after that round, with the weighted mean as strategy, that is the formula above.
A client that never took part ascends from the model now. Several clients that leave share one reference without any of
them, and their answers are averaged; each gets its own theta_i and nobody else's, which the bytes of the round do not
count. The early stop is given as a share of delta, which suits small federations; the source's: a squared distance of
2.2 from theta_i, which suits one network. Batch-norm statistics are frozen.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from fedunlearn.federation import Federation, Task, Update, Weights
from fedunlearn.learning import CLIENT_TASKS, LocalClient
from fedunlearn.requests import UnlearningRequest
from fedunlearn.storage import part
from fedunlearn.unlearning.base import UNLEARNERS, History
from fedunlearn.unlearning.local import answer, one_pass, optimiser, parts, read
from fedunlearn.unlearning.phases import HoldersUnlearner, LocalSettings, method_task
from fedunlearn.unlearning.server_draws import DISTANT
from fedunlearn.unlearning.stored import StoredRound, read_round
from fedunlearn.unlearning.vectors import flatten, inner, moved


class PgaSettings(LocalSettings):
    """Hyper-parameters of projected gradient ascent."""

    epochs: int = Field(default=5, ge=1, description="Most local passes per unlearning round.")
    clip: float = Field(default=5.0, gt=0, description="Longest gradient; a longer one is cut to this length.")
    radius: float = Field(
        default=1 / 3, gt=0, description="delta^2 as a share of the mean squared distance to random initialisations."
    )
    stop: float = Field(
        default=0.2, gt=0, description="Ascent ends farther than this from the client's last model, in units of delta."
    )


@UNLEARNERS.register("pga")
class ProjectedGradientAscent(HoldersUnlearner):
    """Climb the loss on the leaving client's data, inside a ball around what the others have learnt."""

    Settings = PgaSettings
    scopes = frozenset({"client"})
    limits = "its reference is the mean of clients that hold no forgotten data"
    stores = "updates"
    view = "forget"

    def task(self, before: Weights, history: History) -> Task:
        """Return the ascent, without the reference."""
        return method_task("pga", self.settings, history.training)

    def forget(self, weights: Weights, request: UnlearningRequest, federation: Federation, history: History) -> Weights:
        """Return the model after the unlearning rounds and the recovery."""
        leaving = federation.holders("forget")
        stored = latest_together(leaving, federation, history)
        reference, own = reference_models(weights, stored, leaving, history)
        inits = [history.fresh(number) for number in DISTANT]
        radius = math.sqrt(self.settings.radius * mean_square_distance(reference, inits, history.parameters))
        task = self.task(weights, history)
        attachments = {f"reference/{name}": array for name, array in reference.items()}
        task = replace(task, settings={**task.settings, "radius": radius}, attachments=attachments)
        federation.private |= own  # unlike attachments, each of these goes to its own client alone
        unlearned = self.unlearn(task, reference, request, federation, history)
        federation.private = {client: kept for client, kept in federation.private.items() if client not in own}
        return unlearned


def latest_together(leaving: Sequence[int], federation: Federation, history: History) -> StoredRound | None:
    """Return the latest stored round in which one of `leaving` took part beside others, if there is one.

    Clients that left earlier are not in it.
    """
    for branch, call in reversed(history.rounds):
        stored = read_round(history, branch, call).only(lambda client: federation.num_examples(client, "all") > 0)
        took_part = stored.deltas.keys() & leaving
        if took_part and len(took_part) < len(stored.deltas):
            return stored
    return None


def reference_models(
    weights: Weights, stored: StoredRound | None, leaving: Sequence[int], history: History
) -> tuple[Weights, dict[int, Weights]]:
    """Return w_ref, and each leaving client's last local model (the model now if it was not in that round)."""
    if stored is None:
        return weights, dict.fromkeys(leaving, weights)
    parameters = history.parameters
    mean = stored.mean(parameters)
    own = {
        client: moved(weights, flatten(stored.deltas[client], parameters) - mean, parameters)
        if client in stored.deltas
        else weights
        for client in leaving
    }
    return moved(weights, -stored.residual(lambda client: client in leaving, parameters), parameters), own


def mean_square_distance(model: Weights, others: Sequence[Weights], parameters: frozenset[str]) -> float:
    """Return the mean squared Euclidean distance from `model` to each of `others`."""
    here = flatten(model, parameters)
    ways = [flatten(other, parameters) - here for other in others]
    return float(np.mean([inner(way, way) for way in ways]))


@CLIENT_TASKS.register("pga")
def ascend(client: LocalClient, settings: Mapping[str, Any]) -> Update:
    """Projected ascent on what is to be forgotten; sends the weights, the steps taken, and 1 if it stopped early.

    The reference is attached, the client's own last model is its private part.
    """
    local, radius, model = read(PgaSettings, settings), float(settings["radius"]), client.model.eval()
    parameters = dict(model.named_parameters())
    reference, own = (
        {name: torch.tensor(array, device=client.device) for name, array in model.items()}
        for model in (part(client.attachments, "reference/"), client.private or {})
    )
    mover, draws, (forgotten, _) = optimiser(model, local), client.rng("unlearning"), parts(client)
    steps = 0
    for _ in range(local.epochs):
        for batch in one_pass(draws, forgotten, local.batch_size):
            mover.zero_grad()
            (-model.loss(*client.take(batch))).backward()
            torch.nn.utils.clip_grad_norm_(parameters.values(), local.clip)
            mover.step()
            steps += 1
            project(parameters, reference, radius)
            if distance(parameters, own) > local.stop * radius:
                return answer(client, steps=steps, stopped=1.0)
    return answer(client, steps=steps, stopped=0.0)


def distance(parameters: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """Return the Euclidean distance between equally named tensors."""
    return math.sqrt(sum(float((p.detach().double() - other[name]).square().sum()) for name, p in parameters.items()))


@torch.no_grad()
def project(parameters: Mapping[str, Tensor], centre: Mapping[str, Tensor], radius: float) -> None:
    """Move `parameters` in place to the nearest point of the ball of `radius` around `centre`."""
    away = distance(parameters, centre)
    if away > radius:
        for name, parameter in parameters.items():
            parameter.copy_(centre[name] + (parameter - centre[name]) * (radius / away))
