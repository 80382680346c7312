"""A federation on real digits with one hidden ReLU layer, in plain numpy: many rounds on tape in a second."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fedunlearn.federation import Order, Task, Update, Weights
from fedunlearn.observer.tape import Tape
from tests.observer.recorded import asked, digits, fresh, without_class

RATE, STEPS = 0.3, 3


def gradient(weights: Weights, samples: np.ndarray) -> Weights:
    """Return the gradient of the mean loss of digits by the tensors of `fresh(activation="relu")`."""
    images, labels = digits()
    inputs = (images[samples].reshape(len(samples), -1) - 0.3) / 0.37
    hidden = np.maximum(inputs @ weights["body.fc1.weight"].T + weights["body.fc1.bias"], 0)
    logits = hidden @ weights["head.weight"].T + weights["head.bias"]
    errors = np.exp(logits - logits.max(axis=1, keepdims=True))
    errors /= errors.sum(axis=1, keepdims=True)
    errors[np.arange(len(samples)), labels[samples]] -= 1
    errors /= len(samples)
    back = errors @ weights["head.weight"] * (hidden > 0)
    parts = (back.T @ inputs, back.sum(axis=0), errors.T @ hidden, errors.sum(axis=0))
    return dict(zip(("body.fc1.weight", "body.fc1.bias", "head.weight", "head.bias"), parts, strict=True))


def descend(weights: Weights, samples: np.ndarray, steps: int) -> Weights:
    """Return the weights after gradient steps on all samples."""
    for _ in range(steps):
        slope = gradient(weights, samples)
        weights = {name: (array - RATE * slope[name]).astype("f4") for name, array in weights.items()}
    return weights


def run(tape: Tape, branch: str, kind: str, held: Sequence[np.ndarray], weights: Weights, rounds: int) -> Weights:
    """Run and record rounds in which everybody takes part with all data; return the last model."""
    for number in range(1, rounds + 1):
        sent = [gradient(weights, mine) if kind == "gradient" else descend(weights, mine, STEPS) for mine in held]
        updates = [Update(client, kind, what, len(held[client])) for client, what in enumerate(sent)]
        tape.on_round(branch, Order(number, Task("work", reply=kind), weights, {}), updates)
        sizes = [update.num_examples for update in updates]
        mean = {name: np.average([u.payload[name] for u in updates], axis=0, weights=sizes) for name in weights}
        if kind == "gradient":
            mean = {name: array - RATE * mean[name] for name, array in weights.items()}
        weights = {name: array.astype("f4") for name, array in mean.items()}
        tape.on_model(branch, number, weights)
    return weights


def recorded(folder: Path, kind: str, held: Sequence[np.ndarray], rounds: int, extra: int, forget: int) -> Tape:
    """Record a trunk and the branches `forgotten`, `control` and `retrain`, which begins again without the class.

    The last client did not ask, so that it can be an observer.
    """
    tape, start, rest = Tape(folder), fresh(0, "relu"), without_class(held, forget)
    before = run(tape, "trunk", kind, held, start, rounds)
    for branch, first, mine in (("forgotten", before, rest), ("control", before, held), ("retrain", start, rest)):
        final = run(tape, branch, kind, mine, first, extra)
        request = asked(held[:-1], forget, rounds)
        tape.mark(
            branch, request_round=rounds, before=before, after=final, final=final, clients=len(held), requests=[request]
        )
    return tape
