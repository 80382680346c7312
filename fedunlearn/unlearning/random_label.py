"""Random labels: the forgotten data are learnt again with wrong labels, in turn with the retained ones as they are.

Source: Golatkar, Achille and Soatto, "Eternal Sunshine of the Spotless Net", CVPR 2020 (arXiv 1911.04933), and
Graves, Nagisetty and Ganesh, "Amnesiac Machine Learning", AAAI 2021 (arXiv 2010.10981). Every epoch is one pass of
cross-entropy over the forgotten data, each label drawn anew, uniformly, from the K - 1 wrong ones, and one pass over
the retained data.

Scopes: class and sample as in the sources; client by extension. Who takes part: the holders of forgotten data, each
with its own two passes. Under client scope the target has the first pass only; the second lies with the other clients,
who take part in the same rounds. Then all that retain data. Needs from the server: nothing.

Deviations: the sources are central, here the clients' models are averaged. Batch-norm statistics follow the retained
data only. A wrong label may be another forgotten class, of this request or of an earlier one. Defaults suit small
federations; the source's: learning rate 0.013, 10 epochs.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from fedunlearn.federation import Federation, Task, Update, Weights
from fedunlearn.learning import CLIENT_TASKS, LocalClient
from fedunlearn.requests import UnlearningRequest
from fedunlearn.unlearning.base import UNLEARNERS, History
from fedunlearn.unlearning.local import answer, evaluation_mode, one_pass, optimiser, parts, read, step
from fedunlearn.unlearning.phases import HoldersUnlearner, LocalSettings, method_task, with_partners


class RandomLabelSettings(LocalSettings):
    """Hyper-parameters of the relabelling."""

    epochs: int = Field(default=5, ge=1, description="Passes over forgotten and retained data per unlearning round.")
    learning_rate: float = Field(default=0.01, gt=0, description="Of the local steps.")


@UNLEARNERS.register("random-label")
class RandomLabel(HoldersUnlearner):
    """Learn the forgotten data with random wrong labels, in turn with the retained data."""

    Settings = RandomLabelSettings

    def task(self, before: Weights, history: History) -> Task:
        """Return the relabelling, the same in every round."""
        return method_task("random-label", self.settings, history.training)

    def workers(self, request: UnlearningRequest, federation: Federation, history: History) -> list[int]:
        """Return the holders, and their partners under client scope."""
        return with_partners(request, federation, history)


@CLIENT_TASKS.register("random-label")
def random_label(client: LocalClient, settings: Mapping[str, Any]) -> Update:
    """Relabelling of all weights; sends the weights."""
    return relabel(client, read(RandomLabelSettings, settings), lambda: None)


def relabel(client: LocalClient, local: LocalSettings, after_step: Callable[[], None]) -> Update:
    """Return the client's answer after its epochs over forgotten and retained data.

    Args:
        client: its view holds both parts.
        local: of the steps.
        after_step: called when the optimiser has moved the weights.
    """
    model, draws = client.model, client.rng("unlearning")
    forgotten, retained = parts(client)
    moved = optimiser(model, local)
    for _ in range(local.epochs):
        with evaluation_mode(model):
            for batch in one_pass(draws, forgotten, local.batch_size):
                images, labels = client.take(batch)
                step(moved, model.loss(images, wrong_labels(labels, model.head.out_features, draws)))
                after_step()
        for batch in one_pass(draws, retained, local.batch_size):
            step(moved, model.loss(*client.take(batch)))
            after_step()
    return answer(client)


def wrong_labels(labels: Tensor, num_classes: int, draws: np.random.Generator) -> Tensor:
    """Return labels (n,) drawn uniformly from the `num_classes` - 1 others of each."""
    offsets = torch.from_numpy(draws.integers(1, num_classes, len(labels))).to(labels.device)
    return (labels + offsets) % num_classes
