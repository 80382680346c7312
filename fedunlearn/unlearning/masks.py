"""What methods that prune have in common: masks on the tensors, and a recovery that does not bring the weights back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

from fedunlearn.errors import ScenarioError
from fedunlearn.federation import Federation, Weights
from fedunlearn.registry import nearest
from fedunlearn.unlearning.base import History
from fedunlearn.unlearning.phases import install

T = TypeVar("T")


def zeroed(weights: Weights, masks: Weights) -> Weights:
    """Return `weights` with zero wherever `masks` (bool, by tensor) say so."""
    return weights | {name: np.where(mask, np.zeros_like(weights[name]), weights[name]) for name, mask in masks.items()}


def united(one: Weights, other: Weights) -> Weights:
    """Return masks that are true where either of two is; each may lack tensors of the other."""
    return one | {name: mask | one[name] if name in one else mask for name, mask in other.items()}


def prune(weights: Weights, masks: Weights, federation: Federation) -> Weights:
    """Publish the model without the weights under `masks`; return what left the server.

    The federation remembers them beside what earlier requests removed: defences and the tape ask for it.
    """
    federation.pruned = united(federation.pruned, masks)
    return install(zeroed(weights, masks), federation)


def recover(released: Weights, masks: Weights, rounds: int, federation: Federation, history: History) -> Weights:
    """Train on retained data after `released`, which `prune` returned; return the model.

    Before a round's model leaves, the server undoes what clients made of the weights under `masks`: they are again
    what it had released, zero unless a defence put something there. Ordinary training after the recovery does not
    undo it.
    """

    def held(trained: Weights) -> Weights:
        return trained | {name: np.where(mask, released[name], trained[name]) for name, mask in masks.items()}

    return history.training.run(federation, released, rounds, amend=held)


def chosen(layers: Mapping[str, T], names: Sequence[str], method: str) -> dict[str, T]:
    """Return those of a model's `layers` that the setting `layers` of a method names, in the model's order.

    Raises:
        ScenarioError: for a name that is not among them.
    """
    for name in names:
        if name not in layers:
            key = f"unlearning.options.{method}.layers"
            raise ScenarioError(f'{key}: "{name}" is no layer that can be pruned{nearest(name, layers)}')
    return {name: layer for name, layer in layers.items() if name in names}
