"""Boundary expand: the forgotten data are learnt as a class that does not exist, which is then taken away again.

Source: M. Chen, Gao, G. Liu, Peng and Wang, "Boundary Unlearning: Rapid Forgetting of Deep Networks via Shifting the
Decision Boundary", CVPR 2023 (arXiv 2303.11570). The head gets a row K, cross-entropy pulls the forgotten data to
label K, row K is deleted.

Scopes: class. Who takes part: the holders of the class, on its data alone; then all that retain data. Needs from the
server: nothing.

Deviations: not the server but each client widens the head, in every unlearning round anew with PyTorch's default
initialisation, and cuts it before it answers: what travels always has K rows. The holders' models are averaged by the
size of their forgotten data. Batch-norm statistics are frozen. Defaults suit small federations; the source's: learning
rate 1e-5, 10 epochs.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from fedunlearn.federation import Task, Update, Weights
from fedunlearn.learning import CLIENT_TASKS, LocalClient
from fedunlearn.models.base import draw_uniform
from fedunlearn.unlearning.base import UNLEARNERS, History
from fedunlearn.unlearning.local import answer, evaluation_mode, one_pass, optimiser, parts, read, step
from fedunlearn.unlearning.phases import HoldersUnlearner, LocalSettings, method_task


class BoundaryExpandSettings(LocalSettings):
    """Hyper-parameters of boundary expand."""

    epochs: int = Field(default=5, ge=1, description="Passes over the forgotten data per unlearning round.")
    learning_rate: float = Field(default=0.005, gt=0, description="Of the local steps.")


@UNLEARNERS.register("boundary-expand")
class BoundaryExpand(HoldersUnlearner):
    """Learn the forgotten data as one class more, and delete that class."""

    Settings = BoundaryExpandSettings
    scopes = frozenset({"class"})
    limits = "it empties the region of a whole class, which data that only lose some of their class still need"
    view = "forget"

    def task(self, before: Weights, history: History) -> Task:
        """Return the training towards the added class, the same in every round."""
        return method_task("boundary-expand", self.settings, history.training)


@CLIENT_TASKS.register("boundary-expand")
def boundary_expand(client: LocalClient, settings: Mapping[str, Any]) -> Update:
    """Training towards class K; sends the weights without row K."""
    local, model, draws = read(BoundaryExpandSettings, settings), client.model, client.rng("unlearning")
    forgotten, _ = parts(client)
    row = added_row(model.head, draws)
    moved = optimiser(nn.ModuleList([model, row]), local)
    with evaluation_mode(model):
        for _ in range(local.epochs):
            for batch in one_pass(draws, forgotten, local.batch_size):
                images, labels = client.take(batch)
                features = model.features(images)
                logits = torch.cat([model.head(features), row(features)], dim=1)
                step(moved, F.cross_entropy(logits, torch.full_like(labels, model.head.out_features)))
    return answer(client)


def added_row(head: nn.Linear, draws: np.random.Generator) -> nn.Linear:
    """Return one more row for `head`, drawn as PyTorch draws those of a linear layer."""
    row = nn.utils.skip_init(nn.Linear, head.in_features, 1).to(head.weight.device)
    with torch.no_grad():
        for parameter in row.parameters():
            draw_uniform(parameter, head.in_features**-0.5, draws)
    return row
