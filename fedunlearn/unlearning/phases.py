"""The shape that most methods share: those who hold forgotten data unlearn locally, then the others repair.

Client scope: the target clients work on what they are to forget, from the model as it is (target-then-recover); where a
method's steps need retained data too, the others do that part in the same rounds (`with_partners`). Class and sample
scope: every holder works on its own forgotten and retained data, the server averages. Either way ordinary rounds on
retained data follow; they begin without the server optimiser's memory (`install`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

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

    Attributes:
        view: the holders' data that they work on, and by whose size their answers are weighted: "forget" where the
            method learns from nothing else, so that the mean is what one step on everybody's forgotten data gives.
    """

    Settings = LocalSettings
    takes_part = "holders and retained"
    view: ClassVar[DataView] = "all"

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
        return self.unlearn(self.task(weights, history), weights, request, federation, history)

    def unlearn(
        self, task: Task, weights: Weights, request: UnlearningRequest, federation: Federation, history: History
    ) -> Weights:
        """Ask for `task` in every unlearning round, then recover; return the model."""
        for _ in range(self.settings.rounds):
            clients = self.workers(request, federation, history)
            weights = average(ask(task, weights, clients, federation, self.view), federation)
        return history.training.run(federation, weights, self.recovery_rounds)

    def workers(self, request: UnlearningRequest, federation: Federation, history: History) -> list[int]:
        """Return whom the next unlearning round asks."""
        return federation.holders("forget")


def with_partners(request: UnlearningRequest, federation: Federation, history: History) -> list[int]:
    """Return the holders and, under client scope, those beside them who would train on what they retain.

    For methods whose steps need both kinds of data: a target client has nothing that it retains.
    """
    holders = federation.holders("forget")
    partners = history.training.participants(federation) if request.scope == "client" else []
    return sorted({*holders, *partners})


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
        QuorumLost: when nobody answers or, where the view takes in forgotten data, nobody of those that hold some;
            the message says why.
    """
    asked = [client for client in clients if federation.num_examples(client, view)]
    outcomes = federation.round(task, weights, dict.fromkeys(asked, Job(view=view)))
    updates = [outcome for outcome in outcomes if isinstance(outcome, Update)]
    holders = [client for client in asked if view != "retain" and federation.num_examples(client, "forget")]
    answered = {update.client_id for update in updates}
    if not answered or (holders and answered.isdisjoint(holders)):
        reasons = "; ".join(f"client {o.client_id}: {o.reason}" for o in outcomes if not isinstance(o, Update))
        raise QuorumLost(f'branch {federation.branch}, call {federation.calls}: no answer to "{task.name}". {reasons}')
    return updates


def average(updates: Sequence[Update], federation: Federation) -> Weights:
    """Return the answers' mean, weighted by their numbers of samples, as the next global model (see `install`)."""
    new = weighted_mean([update.payload for update in updates], [update.num_examples for update in updates])
    return install(new, federation)


def install(weights: Weights, federation: Federation) -> Weights:
    """Publish a global model that did not come of an ordinary round and drop the server optimiser's memory; return it.

    That memory (momentum, second moments) was made of updates from the forgotten data too, and it belongs to a path
    that the model has left: the ordinary rounds that follow begin with none. Methods that only train on keep it.
    """
    federation.state = None
    return federation.publish(weights)
