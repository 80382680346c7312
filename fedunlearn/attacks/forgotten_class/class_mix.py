"""Class shares of a round's training data: the mix of public class gradients that explains how the head moved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedunlearn.attacks.label_restoration.fitting import nonnegative_fit
from fedunlearn.attacks.label_restoration.outputs import Outputs, measure
from fedunlearn.federation import Weights
from fedunlearn.observer.access import AccessRefused
from fedunlearn.observer.knowledge import Knowledge


@dataclass(frozen=True)
class Mix:
    """How much of each class's public gradient a move of the head contains.

    Attributes:
        amounts: (num_classes,), not negative: the class's share times the product of rate and local steps.
        residual: length of what is left over, in lengths of the move.
    """

    amounts: np.ndarray
    residual: float

    @property
    def scale(self) -> float:
        """The product of rate and local steps."""
        return float(self.amounts.sum())

    @property
    def shares(self) -> np.ndarray:
        """(num_classes,) summing to 1; equal ones when nothing of any class was found."""
        total = self.amounts.sum()
        return np.asarray(self.amounts / total) if total > 0 else np.full(len(self.amounts), 1 / len(self.amounts))


def public_sample(knowledge: Knowledge, per_class: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first `per_class` public images of each class, and their labels.

    Raises:
        AccessRefused: when there are no labelled ones, or their classes are not the model's.
    """
    images, labels = knowledge.public_images, knowledge.public_labels
    if images is None or labels is None:
        raise AccessRefused('bases of class gradients need the flag "public-labelled" and a public split')
    present = np.unique(labels)
    if len(present) != knowledge.num_classes or present[-1] >= knowledge.num_classes:
        raise AccessRefused(f"the public images are of {len(present)} classes, the model has {knowledge.num_classes}")
    chosen = np.sort(np.concatenate([np.flatnonzero(labels == label)[:per_class] for label in present]))
    return images[chosen], labels[chosen]


def outputs_at(knowledge: Knowledge, weights: Weights, sample: tuple[np.ndarray, np.ndarray]) -> Outputs:
    """Return what a global model's head makes of the public sample."""
    return measure(knowledge.model(weights), *sample)


def mix_of_gradients(move: Weights, models: list[Outputs], null: np.ndarray | None = None) -> Mix:
    """Return the mix that explains a move of the whole head, weights and bias: non-negative least squares.

    Args:
        move: what the head moved by.
        models: the head's answers at the start of the round, and where more steps than one may have been taken at
            its end as well: class gradients are then averaged.
        null: (num_classes,) classes that are known to be absent.
    """
    gradients = np.mean([columns(outputs, "head.bias" in move) for outputs in models], axis=0)
    target = np.concatenate([part.ravel() for part in (move["head.weight"], *_bias(move))])
    amounts, possible = np.zeros(gradients.shape[1]), np.ones(gradients.shape[1], bool) if null is None else ~null
    if possible.any():
        amounts[possible] = nonnegative_fit(-gradients[:, possible], target)
    return Mix(amounts, _left(target + gradients @ amounts, target))


def mix_of_biases(move: Weights, models: list[Outputs], scale: float, firmness: float) -> Mix:
    """Return the mix that explains the move of the bias alone, given the product of rate and steps.

    Solves change of b = scale * (shares - P^T shares) with row j of P the mean probabilities of class j, together with
    sum of shares = 1: P^T - 1 has no inverse, and without that row a wrong answer leaves no residual.

    Args:
        move: what the head moved by.
        models: as in `mix_of_gradients`.
        scale: the product of rate and local steps.
        firmness: weight of the row that says that shares sum to 1.

    Raises:
        AccessRefused: for a head without bias.
    """
    if "head.bias" not in move:
        raise AccessRefused("the model's head has no bias; use last-layer-nnls")
    matrix = np.mean([outputs.class_probabilities for outputs in models], axis=0).T
    shares, residual = solve_shares(matrix, move["head.bias"] / scale, firmness)
    return Mix(scale * shares, residual)


def solve_shares(probabilities: np.ndarray, change: np.ndarray, firmness: float) -> tuple[np.ndarray, float]:
    """Return shares (K,) >= 0 with shares - probabilities @ shares near `change` (K,) and a sum near 1; the residual.

    Column j of `probabilities` (K, K) holds the mean probabilities of class j.
    """
    system = np.vstack([np.eye(len(change)) - probabilities, np.full(len(change), firmness)])
    shares = nonnegative_fit(system, np.append(change, firmness))
    return shares, _left(change - system[:-1] @ shares, change)


def columns(outputs: Outputs, with_bias: bool) -> np.ndarray:
    """Return the head's mean gradient of each class's images as columns (K * d, or K * d + K, K)."""
    weights = outputs.class_gradients.reshape(len(outputs.class_gradients), -1).T
    if not with_bias:
        return weights
    return np.vstack([weights, outputs.class_probabilities.T - np.eye(weights.shape[1])])


def known_scale(learning: Mapping[str, Any] | None) -> float | None:
    """Return the product of rate and steps where it follows from how the clients learn: one step per round.

    How many steps a FedAvg client takes depends on how much data it has, which broadcasts do not tell.
    """
    if learning is None or learning.get("algorithm") != "fedsgd":
        return None
    return float(learning["learning-rate"])


def _bias(move: Weights) -> list[np.ndarray]:
    return [move["head.bias"]] if "head.bias" in move else []


def _left(rest: np.ndarray, target: np.ndarray) -> float:
    length = float(np.linalg.norm(target))
    return float(np.linalg.norm(rest)) / length if length > 0 else 0.0
