"""What all branches of a run share: the data and who holds them, the model, the way of training."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fedunlearn.data import (
    Dataset,
    Poison,
    Splits,
    local_copy,
    open_dataset,
    partition,
    poisoned,
    prepare,
    save_partition,
    split,
)
from fedunlearn.errors import ScenarioError
from fedunlearn.federation import Weights
from fedunlearn.learning import Site, choose_executor, draw_batch
from fedunlearn.models import Classifier, build, parameter_names, to_weights
from fedunlearn.randomness import rng
from fedunlearn.rounds import OrdinaryRounds
from fedunlearn.scenario import DataSettings, Scenario


@dataclass(frozen=True)
class Stage:
    """A scenario made concrete.

    Attributes:
        scenario: the resolved scenario.
        dataset: all samples, the poisoned ones as their client holds them.
        splits: which of them are train, validation, test, public and judge.
        held: for each client, the sorted ids of the training samples it holds.
        site: what worker processes need to act for any client.
    """

    scenario: Scenario
    dataset: Dataset
    splits: Splits
    held: tuple[np.ndarray, ...]
    site: Site

    @property
    def seed(self) -> int:
        """The scenario's seed: of data, requests, probes, attacks and the judge."""
        return self.scenario.seed

    @property
    def learning_seed(self) -> int:
        """The seed of everything that training draws; the scenario's own where it names no other."""
        return self.scenario.learning_seed

    @property
    def resolved(self) -> Scenario:
        """The scenario with the device and the executor that were decided by rule."""
        decided = {"device": self.site.device, "executor": self.site.executor}
        return self.scenario.model_copy(update={"federation": self.scenario.federation.model_copy(update=decided)})

    @property
    def poison(self) -> Poison | None:
        """Whose data carry a backdoor; None: nobody's."""
        return None if self.site.poison is None else Poison(**self.site.poison)

    @property
    def unseen(self) -> np.ndarray:
        """The ids of the samples, nobody's training data, on which models are judged."""
        return self.splits.test if self.scenario.judge.split == "test" else self.splits.validation

    def model(self) -> Classifier:
        """Return a new model of the scenario's architecture, its weights not set."""
        return self._build(None)

    def fresh(self, replica: int) -> Weights:
        """Return initial weights; `replica` 0 is the run's own initialisation."""
        return self.untrained(rng(self.learning_seed, "initialisation", replica))

    def untrained(self, draws: np.random.Generator) -> Weights:
        """Return weights drawn from a generator."""
        return to_weights(self._build(draws))

    def _build(self, draws: np.random.Generator | None) -> Classifier:
        dataset = self.dataset
        return build(
            self.scenario.model, dataset.image_shape, dataset.num_classes, draws, pixel_stats=self.site.pixel_stats
        )

    @cached_property
    def parameters(self) -> frozenset[str]:
        """The names of the trained tensors; the others in `Weights` are buffers."""
        return parameter_names(self.model())

    @cached_property
    def training(self) -> OrdinaryRounds:
        """The scenario's ordinary rounds."""
        federation = self.scenario.federation
        settings: dict[str, Any] = {
            "batch-size": federation.batch_size,
            "learning-rate": federation.learning_rate,
            "local-epochs": federation.local_epochs,
            "momentum": federation.momentum,
            "weight-decay": federation.weight_decay,
            "proximal-mu": federation.proximal_mu,
        }
        if federation.optimiser != "sgd":
            settings["optimiser"] = federation.optimiser
        if self.scenario.faults:
            settings["faults"] = [fault.model_dump(mode="json") for fault in self.scenario.faults]
        return OrdinaryRounds(
            self.learning_seed,
            federation.algorithm,
            federation.round_size,
            federation.dropout,
            federation.quorum,
            settings,
        )

    def samples_behind(self, call: int, client: int) -> np.ndarray:
        """Return the ids of the samples behind a client's update in ordinary round `call` of the trunk.

        FedSGD: the batch of that round; FedAvg: everything that the client trained on.
        """
        held = self.held[client]
        if self.scenario.federation.algorithm == "fedavg":
            return held
        return held[draw_batch(self.learning_seed, call, client, len(held), self.scenario.federation.batch_size)]


def set_stage(scenario: Scenario, folder: Path) -> Stage:
    """Prepare the data (cached), split and partition them, and describe the work to the workers.

    Args:
        scenario: a checked scenario.
        folder: where the partition is kept for the worker processes.

    Raises:
        DataError: when the data cannot be read or are too few for the partition.
    """
    source = prepare(_found(scenario.data))
    dataset = open_dataset(source)
    splits = split(dataset, scenario.data, scenario.split_seed)
    held = partition(
        dataset.labels(splits.train), splits.train, scenario.partition, scenario.federation.clients, scenario.seed
    )
    save_partition(held, folder / "partition")
    poison = None if scenario.poison is None else Poison(**scenario.poison.model_dump())
    device = device_of(scenario)
    pixel_stats = _pixel_stats(dataset, splits)
    blank = build(scenario.model, dataset.image_shape, dataset.num_classes, None, pixel_stats=pixel_stats)
    federation = scenario.federation
    fitting = "loop" if federation.optimiser == "adamw" else choose_executor(blank, device)
    executor = federation.executor if federation.executor != "auto" else fitting
    if executor == "vmap" and not blank.linear_only:
        raise ScenarioError(
            f'federation.executor: "vmap" serves only linear layers, model.name is "{scenario.model.name}"'
        )
    if executor == "vmap" and federation.optimiser == "adamw":
        raise ScenarioError('federation.executor: "vmap" serves only optimiser = "sgd"')
    site = Site(
        dataset=str(source),
        partition=str((folder / "partition").resolve()),
        model=scenario.model.model_dump(mode="json"),
        pixel_stats=pixel_stats,
        image_shape=dataset.image_shape,
        num_classes=dataset.num_classes,
        seed=scenario.learning_seed,
        device=device,
        executor=executor,
        client_timeout=federation.client_timeout,
        poison=None if poison is None else asdict(poison),
        data_seed=scenario.seed,
    )
    dataset = dataset if poison is None else poisoned(dataset, held, poison, scenario.seed)
    return Stage(scenario, dataset, splits, tuple(held), site)


def _found(data: DataSettings) -> DataSettings:
    """Return where a data set is read: from this machine's copy, if it has one of a Hugging Face name."""
    copy = local_copy(data.name) if data.path is None else None
    return data if copy is None else data.model_copy(update={"path": str(copy), "format": "parquet"})


def device_of(scenario: Scenario) -> str:
    """Return the device that `federation.device` means on this machine.

    Raises:
        ScenarioError: when CUDA is asked for and there is none.
    """
    wanted = scenario.federation.device
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ScenarioError('federation.device: "cuda" is not available on this machine; use "auto" or "cpu"')
    return "cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu"


def _pixel_stats(dataset: Dataset, splits: Splits) -> tuple[float, float]:
    """Return (mean, standard deviation) over public pixels (training ones where nothing is public)."""
    ids = (splits.public if len(splits.public) else splits.train)[:2000]
    pixels = dataset.images(ids)
    return float(pixels.mean()), float(pixels.std())
