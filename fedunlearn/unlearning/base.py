"""What an unlearning method is: a program of rounds on the federation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

from fedunlearn.federation import Federation, Outcome, Weights
from fedunlearn.registry import Registry
from fedunlearn.requests import UnlearningRequest
from fedunlearn.rounds import OrdinaryRounds
from fedunlearn.settings import Settings as BaseSettings

Scope = Literal["sample", "class", "client"]


class RoundArchive(Protocol):
    """Finished rounds that can be read back (`fedunlearn.journal.Journal`)."""

    def read(self, branch: str, call: int) -> tuple[Weights, list[Outcome]]:
        """Return (broadcast weights, outcomes by client id)."""
        ...


@dataclass(frozen=True)
class History:
    """What the server has stored when a request is served.

    Attributes:
        archive: the rounds' updates.
        rounds: (branch, call) of every ordinary training round since the initialisation, in order.
        initial: the model before the first of them.
        fresh: returns newly initialised weights; `fresh(0)` is `initial`, other numbers are other draws.
        training: the scenario's ordinary rounds.
        learning_rate: the step that turns a FedSGD gradient into an update.
        parameters: the names in `Weights` that are trained (the rest are buffers).
    """

    archive: RoundArchive
    rounds: tuple[tuple[str, int], ...]
    initial: Weights
    fresh: FreshWeights
    training: OrdinaryRounds
    learning_rate: float
    parameters: frozenset[str]


class FreshWeights(Protocol):
    """Draws an initialisation."""

    def __call__(self, replica: int) -> Weights:
        """Return initial weights from the initialisation stream, draw number `replica`."""
        ...


class Unlearner(ABC):
    """Base of the methods; one file each, registered by name.

    While `forget` runs, the request is open on the federation: views `forget` and `retain` mean its data.
    Class attributes declare what the method can do; the scenario check reads them.
    """

    Settings: ClassVar[type[BaseSettings]] = BaseSettings
    scopes: ClassVar[frozenset[Scope]] = frozenset({"sample", "class", "client"})
    needs_history: ClassVar[bool] = False  # whether every trunk round's updates must be stored
    honours: ClassVar[Literal["request", "placebo", "nothing"]] = "request"  # what is open while `forget` runs

    def __init__(self, settings: BaseSettings, rounds: int) -> None:
        self.settings: Any = settings  # an instance of the subclass's own Settings
        self.rounds = rounds

    @abstractmethod
    def forget(self, weights: Weights, request: UnlearningRequest, federation: Federation, history: History) -> Weights:
        """Return the model after unlearning `request`; `weights` is not modified.

        Args:
            weights: the global model when the request is served.
            request: what was asked.
            federation: the branch to work on; `federation.state` is the server optimiser's.
            history: what the server has stored.
        """


UNLEARNERS: Registry[type[Unlearner]] = Registry("unlearner")
