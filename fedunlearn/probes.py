"""Probes: what clients would send in one more round from a checkpoint, for samples of the experimenter's choice.

A probe is a real round: the same messages, the same client halves, on whatever engine carries the run. It leaves no
trace in it: nothing is aggregated, and the model goes on from where it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fedunlearn.federation import Federation, Job, Outcome, Task, Weights
from fedunlearn.randomness import rng
from fedunlearn.scenario import ProbeSettings
from fedunlearn.stage import Stage


class NotEnough(Exception):
    """A client does not hold what a probe wants it to work on."""


@dataclass(frozen=True)
class Probe:
    """A probe made concrete.

    Attributes:
        settings: as the scenario describes it.
        algorithm: `fedsgd` or `fedavg`.
        learning: how its clients learn: batch-size, learning-rate, local-epochs, momentum, weight-decay, proximal-mu.
        samples: sorted ids of what each client works on.
        skipped: why the other chosen clients are left out.
    """

    settings: ProbeSettings
    algorithm: str
    learning: Mapping[str, Any]
    samples: Mapping[int, np.ndarray]
    skipped: dict[int, str]

    @property
    def branch(self) -> str:
        """What the tape and the attacks call it."""
        return self.settings.branch

    def run(self, federation: Federation, weights: Weights) -> list[Outcome]:
        """Ask the clients, on a federation of the probe's own; return what came back."""
        federation.calls = self.settings.after
        sgd = self.algorithm == "fedsgd"
        task = Task("gradient", self.learning, "gradient") if sgd else Task("train", self.learning, "weights")
        jobs = {client: Job(samples=tuple(ids.tolist())) for client, ids in self.samples.items()}
        return federation.round(task, weights, jobs) if jobs else []

    def to_json(self) -> dict[str, Any]:
        """Return the probe as it stands in results.json."""
        return {
            "name": self.settings.name,
            "branch": self.branch,
            "after": self.settings.after,
            "algorithm": self.algorithm,
            "source": self.settings.source,
            "samples": self.settings.samples,
            "equal_labels": self.settings.equal_labels,
            "batch_size": self.learning["batch-size"] if self.algorithm == "fedavg" else None,
            "local_epochs": self.learning["local-epochs"] if self.algorithm == "fedavg" else None,
            "learning_rate": self.learning["learning-rate"],
            "momentum": self.learning["momentum"],
            "clients": sorted(set(self.samples) - set(self.skipped)),
            "skipped": {str(client): why for client, why in self.skipped.items()},
        }


def prepare_probes(stage: Stage) -> list[Probe]:
    """Return the scenario's probes with everything drawn that they draw."""
    return [_prepare(stage, settings) for settings in stage.scenario.probes]


def _prepare(stage: Stage, settings: ProbeSettings) -> Probe:
    algorithm = settings.algorithm or stage.training.algorithm
    changed = {
        "batch-size": settings.batch_size,
        "local-epochs": settings.local_epochs,
        "learning-rate": settings.learning_rate,
        "momentum": settings.momentum,
    }
    learning = dict(stage.training.settings) | {key: value for key, value in changed.items() if value is not None}
    learning.pop("faults", None)
    wanted = settings.samples
    if algorithm == "fedsgd":
        wanted = wanted or stage.scenario.federation.batch_size
        learning["batch-size"] = wanted  # the whole of what is chosen is the batch
    samples, skipped = {}, {}
    for client in range(len(stage.held)) if settings.clients == "all" else settings.clients:
        try:
            samples[client] = np.sort(_Draw(stage, client).samples(settings, wanted))
        except NotEnough as reason:
            skipped[client] = str(reason)
    return Probe(settings, algorithm, learning, samples, skipped)


class _Draw:
    """What one client works on; the same draws for every probe of a seed, so that probes can be compared."""

    def __init__(self, stage: Stage, client: int) -> None:
        self._stage, self._client = stage, client

    def samples(self, settings: ProbeSettings, wanted: int | None) -> np.ndarray:
        """Return sample ids.

        Raises:
            NotEnough: saying what the client lacks.
        """
        held = self._shuffled(self._stage.held[self._client], 0)
        if settings.equal_labels is None:
            if len(held) < (wanted or 1):
                raise NotEnough(f"holds {len(held)} samples of the {wanted or 1}")
            chosen = held[:wanted]
            labels = self._stage.dataset.labels(chosen)
            return chosen if settings.source == "members" else self._of_classes(self._test, labels)
        pool = held if settings.source == "members" else self._test
        assert wanted is not None  # the scenario's check: equal-labels needs samples
        return self._of_classes(pool, self._classes(held, wanted, settings.equal_labels))

    @cached_property
    def _test(self) -> np.ndarray:
        return self._shuffled(self._stage.splits.test, 1)

    def _shuffled(self, ids: np.ndarray, purpose: int) -> np.ndarray:
        return rng(self._stage.seed, "probes", purpose, self._client).permutation(ids)

    def _classes(self, pool: np.ndarray, wanted: int, equal: int) -> np.ndarray:
        """Return `wanted` classes of which `equal` are the same and the others appear once each."""
        counts = np.bincount(self._stage.dataset.labels(pool), minlength=self._stage.dataset.num_classes)
        order = rng(self._stage.seed, "probes", 2, self._client).permutation(len(counts))
        repeated = [label for label in order if counts[label] >= max(equal, 1)]
        if not repeated:
            raise NotEnough(f"holds no class {equal} times")
        others = [label for label in order if counts[label] and label != repeated[0]]
        singles = wanted - max(equal, 1)
        if len(others) < singles:
            raise NotEnough(f"holds {len(others) + 1} classes of the {singles + 1}")
        return np.array([repeated[0]] * max(equal, 1) + others[:singles])

    def _of_classes(self, pool: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return the first samples of `pool` that have these labels, one each."""
        of_pool, chosen = self._stage.dataset.labels(pool), []
        for label, count in zip(*np.unique(labels, return_counts=True), strict=True):
            found = pool[of_pool == label][:count]
            if len(found) < count:
                raise NotEnough(f"only {len(found)} test images of class {label} for {count}")
            chosen.append(found)
        return np.concatenate(chosen)
