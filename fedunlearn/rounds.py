"""Ordinary training: who takes part in a round, what they are asked, and how the server moves on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from fedunlearn.errors import QuorumLost
from fedunlearn.federation import DataView, Federation, Job, Task, Update, Weights
from fedunlearn.randomness import rng

Amend = Callable[[Weights], Weights]  # what the server makes of a new model before it leaves


def as_it_is(model: Weights) -> Weights:
    """Return the model itself."""
    return model


@dataclass(frozen=True)
class OrdinaryRounds:
    """The scenario's way of training, as a loop over the federation.

    Attributes:
        seed: the scenario's.
        algorithm: `fedsgd` clients send the gradient of one batch, `fedavg` clients their weights after local epochs.
        clients_per_round: how many of the clients that hold data are asked each round.
        dropout: the share of asked clients that does not answer, drawn per (round, client).
        quorum: a round with fewer usable updates fails; where fewer clients are left to ask, all of them are needed.
        settings: of the client task: batch-size, learning-rate, local-epochs, momentum, weight-decay, proximal-mu.
    """

    seed: int
    algorithm: Literal["fedsgd", "fedavg"]
    clients_per_round: int
    dropout: float = 0.0
    quorum: int = 1
    settings: Mapping[str, Any] = field(default_factory=dict)

    def task(self, **changes: Any) -> Task:
        """Return the training task; `changes` override its settings (`local_epochs=1`)."""
        settings = dict(self.settings) | {name.replace("_", "-"): value for name, value in changes.items()}
        if self.algorithm == "fedsgd":
            return Task("gradient", settings, reply="gradient")
        return Task("train", settings, reply="weights")

    def holders(self, federation: Federation, view: DataView) -> list[int]:
        """Return the sorted clients that can be asked: all that have data under `view`."""
        return federation.holders(view)

    def participants(self, federation: Federation, view: DataView = "retain") -> list[int]:
        """Return the sorted clients that take part in the federation's next call.

        Keyed by logical client ids and the sampling stream: the same on every engine and after a resume.
        """
        holders = self.holders(federation, view)
        call = federation.calls + 1
        count = min(self.clients_per_round, len(holders))
        draws = rng(self.seed, "sampling", call)
        chosen = sorted(draws.permutation(holders)[:count].tolist()) if count < len(holders) else holders
        if not self.dropout:
            return chosen
        return [c for c in chosen if rng(self.seed, "faults", call, c).random() >= self.dropout]

    def collect(self, federation: Federation, weights: Weights, task: Task, view: DataView = "retain") -> list[Update]:
        """Run one round of `task` over the sampled clients and return the usable updates.

        Raises:
            QuorumLost: when fewer than `quorum` clients gave a usable update.
        """
        jobs = dict.fromkeys(self.participants(federation, view), Job(view=view))
        outcomes = federation.round(task, weights, jobs)
        updates = [outcome for outcome in outcomes if isinstance(outcome, Update)]
        needed = max(1, min(self.quorum, len(self.holders(federation, view))))
        if len(updates) < needed:
            reasons = "; ".join(f"client {o.client_id}: {o.reason}" for o in outcomes if not isinstance(o, Update))
            where = f"branch {federation.branch}, call {federation.calls}"
            raise QuorumLost(f"{where}: {len(updates)} of {len(jobs)} clients answered, quorum {needed}. {reasons}")
        return updates

    def run(
        self,
        federation: Federation,
        weights: Weights,
        rounds: int,
        view: DataView = "retain",
        amend: Amend = as_it_is,
    ) -> Weights:
        """Train for `rounds` rounds and return the global model; the server optimiser's state stays with the branch.

        Every new model is amended before it leaves.
        """
        for _ in range(rounds):
            updates = self.collect(federation, weights, self.task(), view)
            model, federation.state = federation.next_model(weights, updates, federation.state)
            weights = federation.publish(amend(model))
        return weights
