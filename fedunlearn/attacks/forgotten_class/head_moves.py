"""How a round moved the last layer, and what the signs of that say."""

from __future__ import annotations

import numpy as np

from fedunlearn.federation import Update, Weights
from fedunlearn.observer.access import CAPABILITIES, AccessRefused
from fedunlearn.observer.view import View

ROUNDING = 1e-6  # of a row's mass: rising entries with less are taken for rounding errors


def global_move(view: View, number: int) -> Weights:
    """Return result - broadcast of a round, the head's tensors alone, in float64."""
    return difference(view.result(number, head=True), view.broadcast(number, head=True))


def mean_move(view: View, number: int) -> Weights:
    """Return how a round's mean update moves the head, up to the learning rate, or `global_move` where it is not seen.

    It is untouched by the server's optimiser, and finer: a change far below a weight's float32 spacing is lost in the
    global model. Rounds whose replies are neither gradients nor weights are read from the global model too.
    """
    if "aggregate" not in CAPABILITIES[view.access]:
        return global_move(view, number)
    try:
        total = view.total(number, head=True)
    except AccessRefused:  # nobody sent anything
        return global_move(view, number)
    if total.kind not in ("gradient", "weights"):
        return global_move(view, number)
    return client_move(total, view.broadcast(number, head=True))


def client_move(update: Update, broadcast: Weights) -> Weights:
    """Return how a client's update moves the head, in float64; for a gradient up to the positive learning rate.

    Raises:
        AccessRefused: for an update without the head, or one that is neither a gradient nor weights.
    """
    if update.kind == "gradient":
        return difference({name: 0 * array for name, array in broadcast.items()}, update.payload)
    if update.kind == "weights":
        return difference(update.payload, broadcast)
    raise AccessRefused(f"client {update.client_id} sent {update.kind}, neither a gradient nor weights")


def difference(one: Weights, other: Weights) -> Weights:
    """Return one - other in float64, tensor by tensor.

    Raises:
        AccessRefused: for other names or shapes: the head changed its form, so that rows cannot be compared.
    """
    if {name: array.shape for name, array in one.items()} != {name: array.shape for name, array in other.items()}:
        raise AccessRefused("the two last layers have different forms: their rows cannot be compared")
    return {name: array.astype(np.float64) - other[name] for name, array in one.items()}


def push_down(move: Weights) -> np.ndarray:
    """Return ln(mass of the falling entries / mass of the rising ones) of each row of the head's weights (classes,).

    Between -ln(1 + 1 / ROUNDING) and as much above; a row that did not move has 0.
    """
    rising, falling = _masses(move)
    floor = ROUNDING * (rising + falling) + np.finfo(float).tiny
    return np.asarray(np.log((falling + floor) / (rising + floor)))


def fell(move: Weights) -> np.ndarray:
    """Return which rows (classes,) fell as a whole, rounding apart: those of absent classes, and hardly any other."""
    rising, falling = _masses(move)
    return np.asarray((rising <= ROUNDING * falling) & (falling > 0))


def _masses(move: Weights) -> tuple[np.ndarray, np.ndarray]:
    weight = move["head.weight"]
    return np.maximum(weight, 0).sum(axis=1), np.maximum(-weight, 0).sum(axis=1)


def falling_share(move: Weights) -> np.ndarray:
    """Return the share (classes,) of each row's entries that did not rise."""
    return np.asarray((move["head.weight"] <= 0).mean(axis=1))
