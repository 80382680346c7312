"""From what a client sent to what a search can match, and in which words a finding says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import nn

from fedunlearn.attacks.gradient_inversion.batch_norm import (
    batch_statistics,
    normalised_layers,
    running_statistics,
)
from fedunlearn.attacks.gradient_inversion.settings import InversionSettings
from fedunlearn.attacks.gradient_inversion.simulation import LocalWork
from fedunlearn.attacks.gradients import direction, local_steps, mean_gradient
from fedunlearn.federation import Update, Weights
from fedunlearn.observer.access import AccessRefused

EXACT = "batch-norm-statistics"  # the flag
CONVERTED = "mean gradient of the local steps, converted from weights"


@dataclass(frozen=True)
class Observation:
    """What is matched of one update.

    Attributes:
        gradient: by parameter name, float64; parameters that it lacks are taken to stand still.
        work: what the client did.
        statistics: of the layers of batch normalisation, where the settings ask for them.
        trained: whether `statistics` are those of the client's batch.
        notes: how it was come by, in words, for the finding.
    """

    gradient: Weights
    work: LocalWork
    statistics: tuple[tuple[np.ndarray, np.ndarray], ...] = ()
    trained: bool = False
    notes: dict[str, Any] = field(default_factory=dict)


def observe(
    update: Update,
    broadcast: Weights,
    model: nn.Module,
    learning: Mapping[str, Any] | None,
    flags: frozenset[str],
    settings: InversionSettings,
) -> Observation:
    """Return what a search matches of an update.

    A gradient is matched as it is. The local steps behind weights are simulated where there are few enough of them
    (`unroll`); otherwise the weights are converted to the mean gradient of the steps, which is exact for one step.

    Raises:
        AccessRefused: when how the clients learn must be known and is not, or when nothing is left to match.
    """
    notes: dict[str, Any] = {"target": "gradient"}
    work = LocalWork(update.num_examples, update.num_examples)
    if update.kind == "weights":
        simulated = local_work(learning, update.num_examples, settings)
        if simulated.steps <= settings.unroll:
            gradient = {name: change / simulated.scale for name, change in direction(update, broadcast).items()}
            work, notes["target"] = simulated, f"weights after {simulated.steps} local steps, simulated"
        else:
            images = min(settings.images, update.num_examples)
            gradient = mean_gradient(update, broadcast, learning)
            work, notes["target"] = LocalWork(images, images), CONVERTED
    else:
        gradient = mean_gradient(update, broadcast, learning)
    gradient, remarks = matchable(gradient, model, update.client_id)
    statistics, trained, said = _statistics(update, broadcast, model, flags, settings, work)
    return Observation(gradient, work, statistics, trained, notes | remarks | said)


def local_work(learning: Mapping[str, Any] | None, num_examples: int, settings: InversionSettings) -> LocalWork:
    """Return the local steps of a FedAvg client.

    Raises:
        AccessRefused: when `learning` is None.
    """
    steps = local_steps(learning, num_examples)
    assert learning is not None
    epochs = int(learning["local-epochs"])
    return LocalWork(
        images=num_examples,
        batch_size=min(int(learning["batch-size"]), num_examples),
        epochs=epochs,
        copies=epochs if settings.copies == "per-epoch" else 1,
        rate=float(learning["learning-rate"]),
        momentum=float(learning.get("momentum", 0.0)),
        decay=steps.decay,
        proximal=steps.proximal,
        scale=steps.scale,
    )


def matchable(gradient: Weights, model: nn.Module, client: int) -> tuple[Weights, dict[str, Any]]:
    """Return the entries of a gradient that can be matched, and remarks on parameters that cannot.

    A parameter that is absent or zero throughout (frozen) is left out, and stands still when local steps are simulated.

    Raises:
        AccessRefused: when nothing is left: a model that has converged, or no gradient at all.
    """
    parameters = [name for name, _ in model.named_parameters()]
    matched = {name: gradient[name] for name in parameters if name in gradient and gradient[name].any()}
    if not matched:
        raise AccessRefused(f"client {client}'s update is zero or has no parameter of the model: nothing to match")
    remarks = {
        "absent": [name for name in parameters if name not in gradient],
        "frozen": [name for name in parameters if name in gradient and name not in matched],
    }
    return matched, {key: names for key, names in remarks.items() if names}


def _statistics(
    update: Update,
    broadcast: Weights,
    model: nn.Module,
    flags: frozenset[str],
    settings: InversionSettings,
    work: LocalWork,
) -> tuple[tuple[tuple[np.ndarray, np.ndarray], ...], bool, dict[str, Any]]:
    """Return the statistics that the images should have, whether they are of the batch, and words on their source."""
    if not settings.batch_norm:
        return (), False, {}
    if not normalised_layers(model):
        return (), False, {"batch-norm": "the model has none"}
    if EXACT in flags and work.steps == 1 and (exact := batch_statistics(model, broadcast, update.payload)):
        return tuple(exact), True, {"batch-norm": "statistics of the batch"}
    return tuple(running_statistics(model, broadcast)), False, {"batch-norm": "running statistics of the broadcast"}
