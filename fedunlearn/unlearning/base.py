"""What an unlearning method is: a program of rounds on the federation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

from fedunlearn.federation import Federation, Outcome, Weights
from fedunlearn.models import Classifier
from fedunlearn.registry import Registry
from fedunlearn.requests import UnlearningRequest
from fedunlearn.rounds import OrdinaryRounds
from fedunlearn.settings import Settings as BaseSettings

Scope = Literal["sample", "class", "client"]
Participants = Literal["server", "holders", "retained", "holders and retained", "everyone"]
Stored = Literal["nothing", "models", "updates"]


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
        model: returns a new model of the federation's architecture, its weights not set, for the server's own work.
        proxy: returns the server's own images without labels, float32 (n, C, H, W) in [0, 1]; n may be 0.
        device: where the server works.
        seed: the scenario's, for draws from the stream "unlearning".
    """

    archive: RoundArchive
    rounds: tuple[tuple[str, int], ...]
    initial: Weights
    fresh: FreshWeights
    training: OrdinaryRounds
    learning_rate: float
    parameters: frozenset[str]
    model: Callable[[], Classifier]
    proxy: Callable[[], np.ndarray]
    device: str
    seed: int


class FreshWeights(Protocol):
    """Draws an initialisation."""

    def __call__(self, replica: int) -> Weights:
        """Return initial weights from the initialisation stream, draw number `replica`."""
        ...


class Unlearner(ABC):
    """Base of the methods; one file each, registered by name. Call it; authors implement `forget`.

    While `forget` runs, the request is open on the federation: views `forget` and `retain` mean its data.
    Class attributes declare what the method can do and what it takes; the scenario check and the report read them.

    A method that moves the model otherwise than by ordinary rounds drops `federation.state`, the server optimiser's
    memory, before any that follow (`phases.install`). Replies of kind "statistics" (importances, sums of gradients or
    of batch changes, activations, second heads) are shown to those observers alone who have the flag auxiliary-replies.

    Attributes:
        Settings: its own settings, written under `unlearning.options.<name>` in a scenario.
        scopes: the kinds of request that it can serve.
        limits: why not the others, as the end of a sentence ("it moves a whole class"); empty if it serves all.
        takes_part: who works for it beside the server.
        stores: what the server must have kept of training: nothing, the model of every round, or every update.
        own_trunk: whether it changes training itself, as an `OwnTrunkUnlearner` does.
        foresees: whether that training must know the request; then it serves one request in a run.
        honours: what is open on the federation while `forget` runs: the request, a placebo of its size, all data of the
            clients that hold the requested classes, or nothing.
    """

    Settings: ClassVar[type[BaseSettings]] = BaseSettings
    scopes: ClassVar[frozenset[Scope]] = frozenset({"sample", "class", "client"})
    limits: ClassVar[str] = ""
    takes_part: ClassVar[Participants] = "retained"
    stores: ClassVar[Stored] = "nothing"
    own_trunk: ClassVar[bool] = False
    foresees: ClassVar[bool] = False
    honours: ClassVar[Literal["request", "placebo", "absence", "nothing"]] = "request"

    def __init__(self, settings: BaseSettings, rounds: int) -> None:
        self.settings: Any = settings  # an instance of the subclass's own Settings
        self.rounds = rounds

    @property
    def extra_rounds(self) -> int:
        """The rounds that it asks for after the trunk, where that is known beforehand; else the scenario's."""
        return self.rounds

    @property
    def own_models(self) -> int:
        """How many models of its own making the server must have kept beside the global one."""
        return 0

    def stored_rounds(self, rounds: int) -> range:
        """Return of which of the first `rounds` ordinary rounds, from 0, the server must keep what `stores` says."""
        return range(rounds)

    def __call__(
        self, weights: Weights, request: UnlearningRequest, federation: Federation, history: History
    ) -> Weights:
        """Return the model after unlearning `request`; `weights` is not modified.

        With nothing to forget (the ledger refuses such requests) no method acts: what is left are its ordinary
        rounds, or `weights` itself where the server works alone.

        Args:
            weights: the global model when the request is served.
            request: what was asked.
            federation: the branch to work on, the request open on it; `federation.state` is the server optimiser's.
            history: what the server has stored.

        Raises:
            ValueError: for a scope that the method does not serve.
            QuorumLost: when those who hold the forgotten data, or too many others, do not answer.
            NonFiniteModel: when the method diverges.
        """
        if request.scope not in self.scopes:
            raise ValueError(f"{type(self).__name__} cannot serve scope {request.scope!r}: {self.limits}")
        if not request.samples:
            rounds = 0 if self.takes_part == "server" else self.extra_rounds
            return history.training.run(federation, weights, rounds)
        return self.forget(weights, request, federation, history)

    @abstractmethod
    def forget(self, weights: Weights, request: UnlearningRequest, federation: Federation, history: History) -> Weights:
        """Do what `__call__` promises, for a request that is not empty and in one of `scopes`."""


class OwnTrunkUnlearner(Unlearner):
    """Base of the methods that change training itself: their branch begins with a trunk of their own."""

    own_trunk = True

    @abstractmethod
    def prepare(self, request: UnlearningRequest, federation: Federation, history: History) -> tuple[Weights, History]:
        """Train the method's own trunk.

        Args:
            request: the first that will be made; a method that must foresee it says so in its docstring.
            federation: the branch, restarted: call 0, no server optimiser, the request not open.
            history: of the ordinary trunk.

        Returns:
            The model when the request arrives, and the history of the rounds that led to it.
        """


UNLEARNERS: Registry[type[Unlearner]] = Registry("unlearner")
