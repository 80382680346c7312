"""Amnesiac unlearning: take back what every batch with forgotten data did to the model, or learn them relabelled.

Source: Graves, Nagisetty and Ganesh, "Amnesiac Machine Learning", AAAI 2021 (arXiv 2010.10981), whose two methods go
by one name: report the mode. `mode = "subtract"`: theta_u = theta_o - the sum of the changes that the marked batches
made, a batch being marked when it holds a forgotten sample. In a federation (Gu et al., "Unlearning during Learning",
IJCAI 2024, arXiv 2405.15474, as a baseline) client i's changes of round t count with its weight p_i in that round's
mean. `mode = "relabel"`: training on all data, the forgotten ones with random wrong labels.

Scopes: all; client by extension. Under class scope nearly every shuffled batch holds some of the class: `subtract` then
goes back almost to the initialisation, unless `last-rounds` says how far. Who takes part: the holders of forgotten
data, then the retained clients in ordinary rounds. Needs from the server: the model of every round and who took part in
it, rounds x model size on disk (as stored here with the updates: rounds x (clients + 1) x model size); `relabel`:
nothing. The replies are statistics.

Deviations (`subtract`): the paper's client logs the changes of its batches. Here it repeats a stored round from that
round's broadcast, drawing the same batches, and sends the sum over the marked ones. That is what the log would give
(bit for bit where training ran client by client, up to rounding where it ran on stacked clients), and costs the
computation of the rounds again instead of rounds x local steps x model size on the client's disk. Once data are removed
they are gone: the rounds before an earlier request are repeated without what that one removed, with other batches than
the log's; and the rounds of that one's own recovery are not among the stored ones. Holders that do not answer leave
their part in the model; only if none ever answers the branch ends. Batch-norm statistics are not taken back. Where the
server has a strategy of its own, what is taken back is the part in the mean that entered it.

Deviations (`relabel`): batch-norm statistics follow all data, the relabelled ones too. A wrong label may be a class
that was forgotten, also by an earlier request. Defaults suit small federations; the source's: learning rate 1e-4.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field

from fedunlearn.errors import QuorumLost
from fedunlearn.federation import Federation, Job, Task, Update, Weights
from fedunlearn.learning import CLIENT_TASKS, LocalClient, LocalTraining
from fedunlearn.learning.training import gradient, sgd_step
from fedunlearn.requests import UnlearningRequest
from fedunlearn.unlearning.base import UNLEARNERS, History
from fedunlearn.unlearning.local import answer, one_pass, optimiser, read, step
from fedunlearn.unlearning.phases import HoldersUnlearner, LocalSettings, install, method_task, with_partners
from fedunlearn.unlearning.random_label import wrong_labels
from fedunlearn.unlearning.stored import read_round
from fedunlearn.unlearning.vectors import flatten, moved


class AmnesiacSettings(LocalSettings):
    """Hyper-parameters of both modes; what concerns local steps is for "relabel", "subtract" has none of its own."""

    mode: Literal["subtract", "relabel"] = Field(default="subtract", description="Which of the paper's two methods.")
    last_rounds: int | None = Field(
        default=None, ge=1, description="subtract: only batches of this many latest stored rounds; absent: of all."
    )
    epochs: int = Field(default=3, ge=1, description="relabel: local passes per unlearning round.")
    optimiser: Literal["sgd", "adam"] = Field(default="adam", description="relabel: of the local steps.")
    learning_rate: float = Field(default=1e-3, gt=0, description="relabel: of the local steps.")


@UNLEARNERS.register("amnesiac")
class Amnesiac(HoldersUnlearner):
    """Take back what every batch with forgotten data did to the model, or learn these data with wrong labels."""

    Settings = AmnesiacSettings
    stores = "models"

    @property
    def recovery_rounds(self) -> int:
        """The ordinary rounds at the end; where batches are subtracted no unlearning round comes before them."""
        if self.settings.mode == "relabel" or self.settings.recovery_rounds is not None:
            return super().recovery_rounds
        return self.rounds

    @property
    def extra_rounds(self) -> int:
        """The rounds of relabelling, if any, and the recovery; repeating stored rounds comes beside them."""
        return super().extra_rounds if self.settings.mode == "relabel" else self.recovery_rounds

    def stored_rounds(self, rounds: int) -> range:
        """Return the rounds whose batches are subtracted: the last ones, or all; none where data are relabelled."""
        if self.settings.mode == "relabel":
            return range(0)
        last = self.settings.last_rounds
        return range(0 if last is None else max(rounds - last, 0), rounds)

    def task(self, before: Weights, history: History) -> Task:
        """Return the training on relabelled data."""
        return method_task("relabelled", self.settings, history.training)

    def workers(self, request: UnlearningRequest, federation: Federation, history: History) -> list[int]:
        """Return the holders and whoever holds the retained data that the relabelled ones are joined with."""
        return with_partners(request, federation, history)

    def forget(self, weights: Weights, request: UnlearningRequest, federation: Federation, history: History) -> Weights:
        """Return the model after either mode and the recovery."""
        if self.settings.mode == "relabel":
            return super().forget(weights, request, federation, history)
        weights = install(moved(weights, -self._marked(federation, history), history.parameters), federation)
        return history.training.run(federation, weights, self.recovery_rounds)

    def _marked(self, federation: Federation, history: History) -> np.ndarray:
        """Return what the marked batches of the stored rounds brought into the global model, by asking the holders.

        Raises:
            QuorumLost: when none of them answers in any round.
        """
        total = np.zeros_like(flatten(history.initial, history.parameters))
        asked, answered = 0, 0
        last = self.settings.last_rounds
        for branch, call in history.rounds if last is None else history.rounds[-last:]:
            stored = read_round(history, branch, call)
            holders = [client for client in stored.deltas if federation.num_examples(client, "forget")]
            if not holders:
                continue
            outcomes = federation.round(
                repeat_task(call, history), stored.broadcast, dict.fromkeys(holders, Job(view="all"))
            )
            updates = [outcome for outcome in outcomes if isinstance(outcome, Update)]
            asked, answered = asked + len(holders), answered + len(updates)
            for update in updates:
                total += stored.shares[update.client_id] * flatten(update.payload, history.parameters)
        if asked and not answered:
            raise QuorumLost(f"branch {federation.branch}: no holder of forgotten data repeated any stored round")
        return total


def repeat_task(call: int, history: History) -> Task:
    """Return what clients are asked to repeat the ordinary round of call `call`."""
    algorithm = history.training.algorithm
    settings = dict(history.training.settings) | {"call": call, "algorithm": algorithm}
    if algorithm == "fedsgd":
        settings["learning-rate"] = history.learning_rate
    return Task("batch-deltas", settings, "statistics")


@CLIENT_TASKS.register("batch-deltas")
def batch_deltas(client: LocalClient, settings: Mapping[str, Any]) -> Update:
    """Repeat an ordinary round; send the sum of the changes that batches with forgotten data made, by parameter."""
    then, local = replace(client, call=settings["call"]), LocalTraining.read(settings, "learning-rate")
    repeat = _gradient if settings["algorithm"] == "fedsgd" else _epochs
    sums, marks = repeat(then, local, settings)
    metrics = {"marked": float(np.sum(marks)), "batches": float(len(marks))}
    return Update(client.client_id, "statistics", sums, len(client.sample_ids), metrics)


def _gradient(client: LocalClient, local: LocalTraining, settings: Mapping[str, Any]) -> tuple[Weights, list[bool]]:
    """Return the server's step along the gradient of the round's batch, zero unless it is marked."""
    marked = bool(client.forgets[client.draw_batch(local.batch_size)].any())
    payload = gradient(client, settings).payload
    factor = -local.learning_rate if marked else 0.0
    return {name: factor * payload[name] for name, _ in client.model.named_parameters()}, [marked]


def _epochs(client: LocalClient, local: LocalTraining, settings: Mapping[str, Any]) -> tuple[Weights, list[bool]]:
    """Return the changes that marked batches made in the round's local epochs, and which batches were marked."""
    model, (names, parameters) = client.model, zip(*client.model.named_parameters(), strict=True)
    velocities = [torch.zeros_like(p) for p in parameters]
    broadcast = [p.detach().clone() for p in parameters]
    sums = [torch.zeros_like(p, dtype=torch.float64) for p in parameters]
    marks = []
    for positions in client.epoch_batches(local.batch_size, local.local_epochs):
        marks.append(bool(client.forgets[positions].any()))
        before = [p.detach().clone() for p in parameters]
        loss = model.loss(*client.take(positions))
        sgd_step(parameters, torch.autograd.grad(loss, parameters), velocities, broadcast, local)
        if marks[-1]:
            for total, now, then in zip(sums, parameters, before, strict=True):
                total += now.detach().double() - then
    return {name: total.float().numpy(force=True) for name, total in zip(names, sums, strict=True)}, marks


@CLIENT_TASKS.register("relabelled")
def relabelled(client: LocalClient, settings: Mapping[str, Any]) -> Update:
    """Training on all data of the view, the forgotten ones with wrong labels drawn once; sends the weights."""
    local, model, draws = read(AmnesiacSettings, settings), client.model, client.rng("unlearning")
    wrong = wrong_labels(client.labels, model.head.out_features, draws)
    labels = torch.where(torch.from_numpy(client.forgets).to(client.device), wrong, client.labels)
    mover = optimiser(model, local)
    for _ in range(local.epochs):
        for batch in one_pass(draws, np.arange(len(labels)), local.batch_size):
            images, _ = client.take(batch)
            step(mover, model.loss(images, labels[batch]))
    return answer(client)
