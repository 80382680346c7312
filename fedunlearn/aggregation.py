"""The default server step: a weighted mean in float64, in client order, cast once at the end."""

from collections.abc import Sequence

import numpy as np

from fedunlearn.federation import Update, Weights


def weighted_mean(payloads: Sequence[Weights], sizes: Sequence[int]) -> Weights:
    """Return the mean of equally laid out arrays, weighted by `sizes`.

    The sum runs over the payloads in the order given (callers sort by client id), in float64, so the result
    does not depend on which process computed what. Integer arrays (step counters) are copied from the first
    payload.

    Raises:
        ValueError: when there is no payload or the sizes sum to zero.
    """
    total = sum(sizes)
    if not payloads or total <= 0:
        raise ValueError(f"nothing to average: {len(payloads)} payloads with {total} examples")
    mean: Weights = {}
    for name, first in payloads[0].items():
        if first.dtype.kind != "f":
            mean[name] = first.copy()
            continue
        accumulated, scaled = np.zeros(first.shape), np.empty(first.shape)
        for payload, size in zip(payloads, sizes, strict=True):
            np.multiply(payload[name], size / total, out=scaled, dtype=np.float64)
            accumulated += scaled
        mean[name] = accumulated.astype(first.dtype)
    return mean


def gradient_step(weights: Weights, gradient: Weights, learning_rate: float, parameters: set[str]) -> Weights:
    """Return `w - learning_rate * g` for the named parameters; other entries (buffers) are taken from `gradient`."""
    return {
        name: (array.astype(np.float64) - learning_rate * gradient[name].astype(np.float64)).astype(array.dtype)
        if name in parameters
        else gradient[name]
        for name, array in weights.items()
    }


def as_weights(update: Update, broadcast: Weights, learning_rate: float, parameters: set[str]) -> Weights:
    """Return the local model that an update stands for: its payload, or one SGD step along its gradient."""
    if update.kind == "gradient":
        return gradient_step(broadcast, update.payload, learning_rate, parameters)
    return update.payload
