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
    first = payloads[0]
    floats = [name for name, array in first.items() if array.dtype.kind == "f"]
    if not floats:
        return {name: array.copy() for name, array in first.items()}
    accumulated = np.zeros(sum(first[name].size for name in floats))
    row = np.empty_like(accumulated)
    for payload, size in zip(payloads, sizes, strict=True):
        np.concatenate([payload[name].ravel() for name in floats], out=row)
        row *= size / total
        accumulated += row
    cuts = np.cumsum([first[name].size for name in floats])[:-1]
    means = dict(zip(floats, np.split(accumulated, cuts), strict=True))
    return {
        name: means[name].reshape(array.shape).astype(array.dtype) if name in means else array.copy()
        for name, array in first.items()
    }


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
