"""NegGrad+: descend on the retained data and climb on the forgotten ones, in one step.

Source: Kurmanji, P. Triantafillou, Hayes and E. Triantafillou, "Towards Unbounded Machine Unlearning", NeurIPS 2023
(arXiv 2302.09880). Minimises
`alpha * (CE(D_r) + anchor * |theta - theta_o|^2) - (1 - alpha) * CE(D_f)`,
batches of the forgotten data D_f repeated over each pass of the retained data D_r.

Scopes: all. Who takes part: under class and sample scope the holders of forgotten data, each with its own two parts.
Under client scope one part lies with the target and the other with the rest, so both work in every unlearning round,
each on its own terms, and the server adds the mean change of the one side to that of the other: with one full-batch
step each, the step of the formula. Then all that retain data. Needs from the server: nothing.

Deviations: the holders' models are averaged. The ascent rests while the stop rule of `neggrad` holds. Batch-norm
statistics follow the retained data only; the forgotten ones are normalised by them. `alpha` is 0.9 by default, not
0.95: a client of a small federation takes few steps. With alpha = 0 it climbs as `neggrad` does but is not that method
bit for bit: it takes as many steps as passes over the retained data have batches, and answers are weighted by all of a
client's samples.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from fedunlearn.aggregation import weighted_mean
from fedunlearn.errors import QuorumLost
from fedunlearn.federation import Federation, Task, Update, Weights
from fedunlearn.learning import CLIENT_TASKS, LocalClient
from fedunlearn.requests import UnlearningRequest
from fedunlearn.unlearning.base import UNLEARNERS, History
from fedunlearn.unlearning.local import answer, endless, evaluation_mode, optimiser, parts, read, step
from fedunlearn.unlearning.neggrad import NegGradSettings, StopRule
from fedunlearn.unlearning.phases import HoldersUnlearner, ask, install, method_task, with_partners


class NegGradPlusSettings(NegGradSettings):
    """Hyper-parameters of NegGrad+."""

    epochs: int = Field(default=5, ge=1, description="Passes over the retained data per unlearning round.")
    alpha: float = Field(default=0.9, ge=0, le=1, description="Weight of the retained data against the forgotten.")
    anchor: float = Field(
        default=0.0, ge=0, description="Lambda: weight of the squared distance from the model before."
    )


@UNLEARNERS.register("neggrad-plus")
class NegGradPlus(HoldersUnlearner):
    """Descend on the retained data and climb on the forgotten ones, in one step."""

    Settings = NegGradPlusSettings

    def task(self, before: Weights, history: History) -> Task:
        """Return the joint steps; the model before goes along where the distance from it counts."""
        origin = before if self.settings.anchor else {}
        return method_task("neggrad-plus", self.settings, history.training, attachments=origin)

    def forget(self, weights: Weights, request: UnlearningRequest, federation: Federation, history: History) -> Weights:
        """Return the model after the unlearning rounds and the recovery."""
        if request.scope != "client":
            return super().forget(weights, request, federation, history)
        task, targets = self.task(weights, history), federation.holders("forget")
        for _ in range(self.settings.rounds):
            updates = ask(task, weights, with_partners(request, federation, history), federation, "all")
            climbed = [update for update in updates if update.client_id in targets]
            descended = [update for update in updates if update.client_id not in targets]
            if not descended:
                raise QuorumLost(f"branch {federation.branch}, call {federation.calls}: no retained client answered")
            weights = install(add_changes(weights, climbed, descended), federation)
        return history.training.run(federation, weights, self.recovery_rounds)


def add_changes(weights: Weights, *sides: Sequence[Update]) -> Weights:
    """Return `weights` moved by the mean change of each side, weighted within it by numbers of samples."""
    means = [weighted_mean([u.payload for u in side], [u.num_examples for u in side]) for side in sides]
    moved = {}
    for name, array in weights.items():
        changes = [mean[name].astype(np.float64) - array for mean in means]
        moved[name] = (array + np.sum(changes, axis=0)).astype(array.dtype)
    return moved


@CLIENT_TASKS.register("neggrad-plus")
def neggrad_plus(client: LocalClient, settings: Mapping[str, Any]) -> Update:
    """Joint steps on whichever parts the client has; sends the weights and what the ascent came to.

    Without retained data the passes are over the forgotten ones: the steps of `neggrad`, times 1 - alpha.
    """
    local, model = read(NegGradPlusSettings, settings), client.model
    draws, (forgotten, retained) = client.rng("unlearning"), parts(client)
    rule = StopRule(client, forgotten, local, draws) if len(forgotten) else None
    origin = {name: torch.tensor(array, device=client.device) for name, array in client.attachments.items()}
    climbed, descended = (endless(draws, part, local.batch_size) for part in (forgotten, retained))
    moved, steps = optimiser(model, local), 0
    for _ in range(local.epochs * math.ceil((len(retained) or len(forgotten)) / local.batch_size)):
        terms = []
        if len(retained) and local.alpha:  # first: it changes batch-norm statistics that the other term only reads
            away = local.anchor * squared_distance(model, origin) if local.anchor else 0.0
            terms.append(local.alpha * (model.loss(*client.take(next(descended))) + away))
        if rule and local.alpha < 1 and not rule.reached():
            with evaluation_mode(model):
                terms.append(-(1 - local.alpha) * model.loss(*client.take(next(climbed))))
            steps += 1
        if not terms:
            break
        step(moved, torch.stack(terms).sum())
    return answer(client, steps=steps, stopped=float(rule is not None and rule.reached()))


def squared_distance(model: nn.Module, origin: Mapping[str, Tensor]) -> Tensor:
    """Return the squared Euclidean distance of the model's parameters from those in `origin`."""
    return torch.stack([(p - origin[name]).square().sum() for name, p in model.named_parameters()]).sum()
