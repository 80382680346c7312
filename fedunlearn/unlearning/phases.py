"""The shape that most methods share: those who hold forgotten data unlearn locally, then the others repair.

Client scope: the target clients work on what they are to forget, from the model as it is (target-then-recover).
Class and sample scope: every holder works on its own forgotten and retained data, the server averages. Either way
ordinary rounds on retained data follow.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from fedunlearn.aggregation import weighted_mean
from fedunlearn.errors import QuorumLost
from fedunlearn.federation import Federation, Job, Task, Update, Weights
from fedunlearn.orders import DataView, Kind
from fedunlearn.requests import UnlearningRequest
from fedunlearn.rounds import OrdinaryRounds
from fedunlearn.settings import Settings
from fedunlearn.unlearning.base import History, Unlearner


class LocalSettings(Settings):
    """Settings of a client's own unlearning steps; subclasses set defaults that suit their method."""

    rounds: int = Field(default=1, ge=1, description="Rounds in which those who hold forgotten data unlearn.")
    recovery_rounds: int | None = Field(
        default=None, ge=0, description="Ordinary rounds on retained data afterwards; absent: the rest of the rounds."
    )
    epochs: int = Field(default=1, ge=1, description="Local passes per unlearning round.")
    batch_size: int = Field(default=32, ge=1, description="Samples per local step.")
    optimiser: Literal["sgd", "adam"] = Field(default="sgd", description="Of the local steps.")
    learning_rate: float = Field(default=0.01, gt=0, description="Of the local steps.")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="sgd: of the local steps.")
    weight_decay: float = Field(default=0.0, ge=0, description="Of the local steps.")


class HoldersUnlearner(Unlearner):
    """Base of the methods whose work is done by the clients that hold forgotten data.

    A subclass has a `Settings` that extends `LocalSettings` and says what the holders are asked in `task`.
    """

    Settings = LocalSettings
    takes_part = "holders and retained"

    @property
    def recovery_rounds(self) -> int:
        """The ordinary rounds after the unlearning ones."""
        given: int | None = self.settings.recovery_rounds
        return max(self.rounds - self.settings.rounds, 0) if given is None else given

    @property
    def extra_rounds(self) -> int:
        """The unlearning rounds and the recovery rounds."""
        return int(self.settings.rounds) + self.recovery_rounds

    @abstractmethod
    def task(self, before: Weights, history: History) -> Task:
        """Return what the holders are asked in every unlearning round; `before` is the model when the request came."""

    def forget(self, weights: Weights, request: UnlearningRequest, federation: Federation, history: History) -> Weights:
        """Return the model after the unlearning rounds and the recovery."""
        task = self.task(weights, history)
        for _ in range(self.settings.rounds):
            weights = average(ask(task, weights, federation.holders("forget"), federation, "all"), federation)
        return history.training.run(federation, weights, self.recovery_rounds)


def method_task(
    name: str,
    settings: Settings,
    training: OrdinaryRounds,
    *,
    reply: Kind = "weights",
    attachments: Weights | None = None,
) -> Task:
    """Return a method's own client task: its settings under "method", the scenario's injected faults beside them."""
    carried: dict[str, Any] = {"method": settings.model_dump(mode="json", by_alias=True)}
    if faults := training.settings.get("faults"):
        carried["faults"] = faults
    return Task(name, carried, reply, attachments or {})


def ask(task: Task, weights: Weights, clients: Sequence[int], federation: Federation, view: DataView) -> list[Update]:
    """Ask `clients` to do `task` on their data under `view`; return the usable answers, by client id.

    Clients without data under the view are not asked. One that leaves in the middle of its own unlearning is missing.

    Raises:
        QuorumLost: when nobody answers; the message says why.
    """
    holders = [client for client in clients if federation.num_examples(client, view)]
    outcomes = federation.round(task, weights, dict.fromkeys(holders, Job(view=view)))
    updates = [outcome for outcome in outcomes if isinstance(outcome, Update)]
    if not updates:
        reasons = "; ".join(f"client {o.client_id}: {o.reason}" for o in outcomes if not isinstance(o, Update))
        raise QuorumLost(f'branch {federation.branch}, call {federation.calls}: no answer to "{task.name}". {reasons}')
    return updates


def average(updates: Sequence[Update], federation: Federation) -> Weights:
    """Return the answers' mean, weighted by their numbers of samples, as the next global model.

    Whatever strategy trained the model: its memory belongs to ordinary rounds.
    """
    new = weighted_mean([update.payload for update in updates], [update.num_examples for update in updates])
    federation.publish(new)
    return new
