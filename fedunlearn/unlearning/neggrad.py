"""Gradient ascent: the holders climb the loss on the data to forget, until they know them no better than chance.

Source: Golatkar, Achille and Soatto, "Eternal Sunshine of the Spotless Net", CVPR 2020 (arXiv 1911.04933), and Thudi,
Deza, Chandrasekaran and Papernot, "Unrolling SGD", EuroS&P 2022 (arXiv 2109.13398).
`theta <- theta + eta * grad CE(D_f)`.

Scopes: all. Who takes part: the holders of forgotten data, on those alone; their models are averaged by the number of
forgotten samples, so one full-batch step equals the step on the pooled forgotten data. Then all that retain data. Needs
from the server: nothing.

Deviations: ascent has no end of its own and destroys the model, within a few steps once the loss is large; so a client
stops by the rule of `StopRule`, asked before every step. Accuracy is the usual end for a class; for samples and clients
the loss ends it, long before data of many classes are predicted at chance. Both are wide: data whose classes stay
should be known like unseen data, and where that is known, `stop-accuracy` can say so. Batch-norm statistics are frozen:
in training mode they would drift towards the forgotten data. Defaults suit small federations; the source's: learning
rate 1e-4, 5 epochs.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch.nn import functional as F

from fedunlearn.federation import Task, Update, Weights
from fedunlearn.learning import CLIENT_TASKS, LocalClient
from fedunlearn.unlearning.base import UNLEARNERS, History
from fedunlearn.unlearning.local import answer, evaluation_mode, one_pass, optimiser, parts, read, step
from fedunlearn.unlearning.phases import HoldersUnlearner, LocalSettings, method_task

WATCHED = 256  # forgotten samples on which the stop rule measures accuracy; all of a whole client would take too long


class NegGradSettings(LocalSettings):
    """Hyper-parameters of gradient ascent."""

    epochs: int = Field(default=10, ge=1, description="Most passes over the forgotten data per unlearning round.")
    learning_rate: float = Field(default=0.01, gt=0, description="Of the ascent.")
    stop_accuracy: float | None = Field(
        default=None, ge=0, le=1, description="Ascent ends below this accuracy on forgotten data; absent: 1 / classes."
    )
    stop_loss: float | None = Field(
        default=None, gt=0, description="Ascent ends above this loss on forgotten data; absent: 2 * ln(classes)."
    )


class StopRule:
    """Whether ascent has gone far enough, by the accuracy or by the mean loss on the forgotten data.

    Args:
        client: its model is measured, in evaluation mode.
        forgotten: positions in the view; at most `WATCHED` of them are measured.
        settings: where the ends are.
        draws: chooses which samples are watched, if there are more.
    """

    def __init__(
        self, client: LocalClient, forgotten: np.ndarray, settings: NegGradSettings, draws: np.random.Generator
    ) -> None:
        watched = forgotten if len(forgotten) <= WATCHED else np.sort(draws.permutation(forgotten)[:WATCHED])
        self._images, self._labels = client.take(watched)
        self._model, classes = client.model, client.model.head.out_features
        self._accuracy = 1 / classes if settings.stop_accuracy is None else settings.stop_accuracy
        self._loss = 2 * math.log(classes) if settings.stop_loss is None else settings.stop_loss

    @torch.no_grad()
    def reached(self) -> bool:
        """Return whether to stop now; ask before every step."""
        with evaluation_mode(self._model):
            logits = self._model(self._images)
        accuracy = (logits.argmax(1) == self._labels).double().mean()
        return bool(accuracy < self._accuracy or F.cross_entropy(logits, self._labels) > self._loss)


@UNLEARNERS.register("neggrad")
class NegGrad(HoldersUnlearner):
    """Climb the loss on the forgotten data until they are known no better than chance."""

    Settings = NegGradSettings
    view = "forget"

    def task(self, before: Weights, history: History) -> Task:
        """Return the ascent, the same in every round."""
        return method_task("neggrad", self.settings, history.training)


@CLIENT_TASKS.register("neggrad")
def neggrad(client: LocalClient, settings: Mapping[str, Any]) -> Update:
    """Ascent on the forgotten data; sends the weights, the number of steps, and 1 if the rule ended it."""
    local = read(NegGradSettings, settings)
    draws, (forgotten, _) = client.rng("unlearning"), parts(client)
    rule, moved, steps = StopRule(client, forgotten, local, draws), optimiser(client.model, local), 0
    for _ in range(local.epochs):
        for batch in one_pass(draws, forgotten, local.batch_size):
            if rule.reached():
                return answer(client, steps=steps, stopped=1.0)
            with evaluation_mode(client.model):
                step(moved, -client.model.loss(*client.take(batch)))
            steps += 1
    return answer(client, steps=steps, stopped=float(rule.reached()))
