"""SalUn: relabelling that moves only the weights which the forgotten data pull at most.

Source: Fan, Liu, Zhang, Wong, Wei and Liu, "SalUn: Empowering Machine Unlearning via Gradient-based Weight Saliency",
ICLR 2024 (arXiv 2310.12508). A weight is salient when |sum over the forgotten data of its loss gradient|, at the model
as it was when the request came, is among the largest `fraction` of all weights; then `random-label`, with the other
weights held where they were.

Scopes: class and sample as in the source; client by extension. Who takes part: the holders of forgotten data, once for
their gradients; then whoever takes part in `random-label`. Needs from the server: nothing. The mask travels beside the
model. The gradients are statistics.

Deviations: the gradients are those of single samples, added without batches in between (in evaluation mode, where
batches make no difference), first by each client and then by the server: the mask is the one of the pooled forgotten
data. One threshold serves all tensors, biases and normalisation layers included. The recovery rounds are ordinary ones:
they move every weight. Batch-norm statistics are no weights; they follow the retained data. Wrong labels are those of
`random-label`, and may be classes forgotten earlier. Defaults suit small federations; the source's: learning rate
0.013, 10 epochs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch.nn import functional as F

from fedunlearn.federation import Federation, Task, Update, Weights
from fedunlearn.learning import CLIENT_TASKS, LocalClient
from fedunlearn.requests import UnlearningRequest
from fedunlearn.unlearning.base import UNLEARNERS, History
from fedunlearn.unlearning.local import evaluation_mode, read
from fedunlearn.unlearning.phases import HoldersUnlearner, ask, method_task, with_partners
from fedunlearn.unlearning.random_label import RandomLabelSettings, relabel


class SalUnSettings(RandomLabelSettings):
    """Hyper-parameters of SalUn."""

    fraction: float = Field(default=0.5, gt=0, le=1, description="Share of all weights that may move.")


@UNLEARNERS.register("salun")
class SalUn(HoldersUnlearner):
    """Relabel as random-label does, moving only the weights that matter most for the forgotten data."""

    Settings = SalUnSettings

    def task(self, before: Weights, history: History) -> Task:
        """Return the relabelling, still without its mask."""
        return method_task("salun", self.settings, history.training)

    def forget(self, weights: Weights, request: UnlearningRequest, federation: Federation, history: History) -> Weights:
        """Return the model after one round of statistics, the masked unlearning rounds and the recovery."""
        statistics = method_task("salun-gradients", self.settings, history.training, reply="statistics")
        answers = ask(statistics, weights, federation.holders("forget"), federation, "forget")
        mask = salient(pooled([answer.payload for answer in answers]), self.settings.fraction)
        task = replace(self.task(weights, history), attachments=mask)
        return self.unlearn(task, weights, request, federation, history)

    def workers(self, request: UnlearningRequest, federation: Federation, history: History) -> list[int]:
        """Return the holders, and their partners under client scope."""
        return with_partners(request, federation, history)


def pooled(sums: Sequence[Weights]) -> Weights:
    """Return the sum of the clients' sums, in float64: what one client with all their data would send."""
    return {name: np.stack([one[name] for one in sums]).sum(axis=0, dtype=np.float64) for name in sums[0]}


def salient(gradients: Weights, fraction: float) -> Weights:
    """Return masks, True for the `fraction` of all entries that are largest in size; ties go to earlier entries."""
    sizes = np.concatenate([np.abs(array).ravel() for array in gradients.values()])
    chosen = np.zeros(len(sizes), bool)
    chosen[np.argsort(-sizes, kind="stable")[: round(fraction * len(sizes))]] = True
    cuts = np.cumsum([array.size for array in gradients.values()])[:-1]
    masks = zip(gradients.items(), np.split(chosen, cuts), strict=True)
    return {name: mask.reshape(array.shape) for (name, array), mask in masks}


@CLIENT_TASKS.register("salun-gradients")
def salun_gradients(client: LocalClient, settings: Mapping[str, Any]) -> Update:
    """Send the sum of the loss gradients of all samples of the view, by parameter."""
    model, size = client.model, read(SalUnSettings, settings).batch_size
    parameters, count = dict(model.named_parameters()), len(client.sample_ids)
    sums = [torch.zeros_like(parameter) for parameter in parameters.values()]
    with evaluation_mode(model):
        for start in range(0, count, size):
            images, labels = client.take(np.arange(start, min(start + size, count)))
            loss = F.cross_entropy(model(images), labels, reduction="sum")
            for total, gradient in zip(sums, torch.autograd.grad(loss, list(parameters.values())), strict=True):
                total += gradient
    payload = {name: np.array(total.numpy(force=True)) for name, total in zip(parameters, sums, strict=True)}
    return Update(client.client_id, "statistics", payload, count)


@CLIENT_TASKS.register("salun")
def salun(client: LocalClient, settings: Mapping[str, Any]) -> Update:
    """Relabelling under the attached mask; sends the weights."""
    weights = [
        (parameter, torch.tensor(client.attachments[name], device=client.device), parameter.detach().clone())
        for name, parameter in client.model.named_parameters()
    ]

    @torch.no_grad()
    def restore() -> None:
        # Not the gradient but the weight: momentum and weight decay move a weight without a gradient too.
        for parameter, mask, original in weights:
            parameter.copy_(torch.where(mask, parameter, original))

    return relabel(client, read(SalUnSettings, settings), restore)
