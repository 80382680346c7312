"""The head moves along directions that data do not feel, until all its rows and biases look alike."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from fedunlearn.defences.base import DEFENCES, Occasion, ReleaseDefence
from fedunlearn.defences.head import Head
from fedunlearn.federation import Weights
from fedunlearn.settings import Settings

REACH = 1e-4  # squared; below it, moving a bias takes weights over a hundred times as large


class TeleportRowsSettings(Settings):
    """Settings of `teleport-rows`."""

    strength: float = Field(
        default=1.0, ge=0, le=1, description="How far biases and norms go towards being equal; 0: off."
    )
    kept: float = Field(
        default=0.9999,
        gt=0,
        le=1,
        description="Share of the energy of features and bias input whose outputs stay as they are; 1: all.",
    )


@DEFENCES.register("teleport-rows")
class TeleportRows(ReleaseDefence):
    """Equal biases and equal row norms at the same function: rows move where the features have no energy.

    With h the head's inputs on the server's images and H the matrix of (h, 1), the outputs stay what they are when a
    row (w_c, b_c) moves within the complement of the leading right singular vectors of H, those with a share `kept`
    of the squared singular values. In that complement every row is set anew: to the shortest vector that brings its
    bias to the mean bias, and beyond that to a random one that brings its norm to the largest norm. All
    classes alike, so it acts on branches without a request as well.

    Source: the idea of moving along symmetries of the loss from Maheri, Cadet, Chin and Haddadi, WARP (ICLR 2026, arXiv
    2512.00272), who lower the forgotten samples' gradients by descent. Deviations: only the head moves, in one step;
    the aim is that rows look alike. The exact symmetries do not help: softmax's (one vector added to all rows) leaves
    every comparison of classes as it was, rescaled ReLU units leave the biases.

    Adaptive: `null-class-query` asks about the function, which is untouched.
    """

    Settings = TeleportRowsSettings
    adaptive = ("null-class-query",)
    costs = "what little the features have outside the kept energy"
    needs_public = True

    def release(self, weights: Weights, occasion: Occasion) -> Weights:
        """Return the model with its head moved."""
        features = occasion.features(weights, "own")
        if not self.settings.strength or not len(features):
            return weights
        head = Head.of(weights)
        whole = np.column_stack([head.rows, head.bias])
        moved = level(whole, free_directions(features, self.settings.kept), occasion.rng)
        whole += self.settings.strength * (moved - whole)
        return Head(whole[:, :-1], whole[:, -1]).placed_in(weights)


def free_directions(features: np.ndarray, kept: float) -> np.ndarray:
    """Return an orthonormal basis (d + 1, m) of where (features, 1) have less than 1 - `kept` of their energy."""
    inputs = np.column_stack([features, np.ones(len(features))])
    _, sizes, directions = np.linalg.svd(inputs, full_matrices=True)
    energy = np.cumsum(np.square(sizes))
    needed = 1 + int(np.searchsorted(energy, kept * energy[-1]))
    return np.asarray(directions[min(needed, np.linalg.matrix_rank(inputs)) :].T)


def level(whole: np.ndarray, free: np.ndarray, draws: np.random.Generator) -> np.ndarray:
    """Return rows (num_classes, d + 1), the bias last, with their part in `free` set anew: equal biases and norms.

    Where the bias hardly reaches into `free`, biases stay about as they are.
    """
    bound = whole - whole @ free @ free.T
    lift = free @ free[-1]  # the bias input's projection; its last entry is its squared length
    reach = lift[-1]
    movable = reach > REACH
    if movable:
        bound += np.outer(whole[:, -1].mean() - bound[:, -1], lift / reach)
    random = draws.standard_normal((len(whole), free.shape[1])) @ free.T
    random -= np.outer(random[:, -1] / reach, lift) if movable else 0.0
    squares = np.square(bound[:, :-1]).sum(axis=1)
    lengths = np.linalg.norm(random, axis=1)
    missing = np.sqrt(squares.max() - squares) / np.where(lengths > 0, lengths, 1.0)
    return np.asarray(bound + missing[:, None] * random)
