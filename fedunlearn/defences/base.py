"""What a defence is: a change at one place, and the attacks that know of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from fedunlearn.federation import Weights
from fedunlearn.registry import Registry
from fedunlearn.settings import Settings as BaseSettings

Kind = Literal["own", "sparse", "uniform"]  # the server's own images (n may be 0); noise on some pixels; on all
Features = Callable[[Weights, Kind], np.ndarray]
Place = Literal["training", "update", "aggregate", "release", "answer"]


class Defence(ABC):
    """Base of the defences; one file each, registered by name, each below a base class of its place.

    Every defence has a setting at which it does nothing, bit for bit, and says in its docstring which one.

    Attributes:
        Settings: its own settings, written under `settings` in a scenario.
        place: where it acts. Observers who see what was there before that place see past it.
        adaptive: the attacks that must face it before any figure of it counts: they use what it leaves.
        costs: what it takes, as the end of a sentence ("noise on every prediction").
        needs_public: whether the server needs images of its own, the public split.
    """

    Settings: ClassVar[type[BaseSettings]] = BaseSettings
    place: ClassVar[Place]
    adaptive: ClassVar[tuple[str, ...]]
    costs: ClassVar[str]
    needs_public: ClassVar[bool] = False

    def __init__(self, settings: BaseSettings) -> None:
        self.settings: Any = settings  # an instance of the subclass's own Settings


@dataclass(frozen=True)
class Occasion:
    """A global model on its way out.

    Attributes:
        classes: what is to be hidden: the classes that requests named so far; on a branch where none did, a class
            drawn once for all of the branch's models.
        requested: whether `classes` were asked for.
        fixed: returns a generator that draws the same for every model of the branch.
        rng: draws for this model alone.
        features: returns the head's inputs (n, d), float64, that a model computes from pictures of a kind.
        pruned: bool, by tensor: what unlearning has removed from the branch's models; empty where it removed nothing.
    """

    classes: tuple[int, ...]
    requested: bool
    fixed: Callable[[], np.random.Generator]
    rng: np.random.Generator
    features: Features
    pruned: Weights


class ReleaseDefence(Defence):
    """Base of the defences that change global models before they leave the server, from the first request on.

    The server goes on from what it released: it keeps no other model, so what clients learn, what observers see and
    what the judge measures is one and the same.
    """

    place = "release"

    @abstractmethod
    def release(self, weights: Weights, occasion: Occasion) -> Weights:
        """Return the model that leaves; `weights` is not modified, and is returned itself where nothing changes."""


class AnswerDefence(Defence):
    """Base of the defences of the query interface, which answered so before the request as well.

    Observers who have the weights ask the model themselves: they see past it.
    """

    place = "answer"

    @abstractmethod
    def answer(self, probabilities: np.ndarray) -> np.ndarray:
        """Return what is answered instead of probabilities, both float32 (n, num_classes)."""


class TrainingDefence(Defence):
    """Base of the defences that withhold retained data from training for some rounds after the first request."""

    place = "training"

    @property
    @abstractmethod
    def rounds(self) -> int:
        """How many published models later the data come back; 0: nothing is withheld."""

    @abstractmethod
    def withheld(self, occasion: Occasion, num_classes: int) -> tuple[int, ...]:
        """Return the classes that clients leave out, in random order."""


DEFENCES: Registry[type[Defence]] = Registry("defence")
