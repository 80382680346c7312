"""A federation that trains in a second, in this process and without Flower: what `check_unlearner` tries methods on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fedunlearn.federation import Federation, Weights
from fedunlearn.journal import Journal
from fedunlearn.learning import Site, Worker
from fedunlearn.models import Architecture, Classifier, build, load_weights, parameter_names, to_weights
from fedunlearn.randomness import rng
from fedunlearn.requests import UnlearningRequest
from fedunlearn.rounds import OrdinaryRounds
from fedunlearn.unlearning.base import History, Scope
from fedunlearn.worker_engine import WorkerEngine

CLASSES, CLIENTS, PER_CLIENT, SIDE = 4, 4, 48, 8
LEARNING_RATE = 0.1


class Blocks:
    """Pictures of four classes, float32 (1, 8, 8): four grey squares each, and noise; sample k is of class k % 4."""

    def __init__(self, seed: int) -> None:
        draws = rng(seed, "split")
        patterns = np.kron(draws.random((CLASSES, 1, 2, 2)), np.ones((SIDE // 2, SIDE // 2)))
        self._labels = np.arange(CLIENTS * PER_CLIENT) % CLASSES
        noise = 0.2 * draws.standard_normal((len(self._labels), 1, SIDE, SIDE))
        self._images = (patterns[self._labels] + noise).clip(0, 1).astype(np.float32)

    def images(self, ids: np.ndarray) -> np.ndarray:
        """Return float32 (n, 1, 8, 8)."""
        return self._images[ids]

    def labels(self, ids: np.ndarray) -> np.ndarray:
        """Return int64 (n,)."""
        return self._labels[ids]


@dataclass
class SmallFederation:
    """Four clients with 48 pictures each, evenly of four classes, and a LeNet that has learnt all classes in the end.

    Attributes:
        folder: where rounds are journalled.
        seed: of everything.
        rounds: of training.
        algorithm: "fedavg" or "fedsgd".
        activation: of the model.
        model: by name; of another than the LeNet nothing is promised.
    """

    folder: Path
    seed: int = 0
    rounds: int = 8
    algorithm: Any = "fedavg"
    activation: str = "relu"
    model: str = "lenet"

    def __post_init__(self) -> None:
        self.samples = Blocks(self.seed)
        self.held = [np.arange(c * PER_CLIENT, (c + 1) * PER_CLIENT) for c in range(CLIENTS)]
        settings = {"batch-size": 8, "learning-rate": LEARNING_RATE, "momentum": 0.9, "local-epochs": 1}
        self.training = OrdinaryRounds(self.seed, self.algorithm, CLIENTS, settings=settings)
        model = {"name": self.model, "activation": self.activation}
        self._site = Site("", "", model, (0.5, 0.25), (1, SIDE, SIDE), CLASSES, self.seed)
        self._worker = Worker(self._site, self.samples, self.held)
        self._model = self._build(None)

    def _build(self, draws: np.random.Generator | None) -> Classifier:
        architecture = Architecture(**self._site.model)
        return build(architecture, (1, SIDE, SIDE), CLASSES, draws, self._site.pixel_stats)

    def fresh(self, replica: int) -> Weights:
        """Return an initialisation."""
        return to_weights(self._build(rng(self.seed, "initialisation", replica)))

    def federation(self, *, apart: bool = False, journal: Path | None = None) -> Federation:
        """Return a federation at call 0 whose rounds are journalled in `journal` (`folder` if None)."""
        engine = WorkerEngine(self._worker, parameter_names(self._model), LEARNING_RATE, apart=apart)
        return Federation(engine, self.held, Journal(journal or self.folder), "trunk")

    @cached_property
    def trained(self) -> tuple[Weights, History]:
        """The model after training, and the history."""
        federation = self.federation()
        weights = self.training.run(federation, self.fresh(0), self.rounds)
        rounds = tuple((federation.journal_key, call + 1) for call in range(self.rounds))
        history = History(
            Journal(self.folder), rounds, self.fresh(0), self.fresh, self.training, LEARNING_RATE,
            parameter_names(self._model), lambda: self._build(None), self._proxy, "cpu", self.seed,
        )  # fmt: skip
        return weights, history

    def _proxy(self) -> np.ndarray:
        return Blocks(self.seed).images(np.arange(PER_CLIENT))

    def request(self, scope: Scope) -> UnlearningRequest:
        """Return a request for class 1, for client 1 or for every fifth sample."""
        everything = np.concatenate(self.held)
        chosen = {
            "class": everything[self.samples.labels(everything) == 1],
            "client": self.held[1],
            "sample": everything[::5],
        }[scope]
        held = {client: np.intersect1d(ids, chosen) for client, ids in enumerate(self.held)}
        samples = {client: ids for client, ids in held.items() if len(ids)}
        target = (1,) if scope != "sample" else tuple(chosen.tolist())
        classes = tuple(np.unique(self.samples.labels(chosen)).tolist())
        return UnlearningRequest("request", self.rounds, scope, target, samples, classes)

    def accuracy(self, weights: Weights, ids: np.ndarray) -> float:
        """Return the share of right predictions on samples `ids`."""
        load_weights(self._model, weights)
        self._model.eval()
        with torch.no_grad():
            found = self._model(torch.from_numpy(self.samples.images(ids))).argmax(1).numpy()
        return float((found == self.samples.labels(ids)).mean())
