"""What the revival attacks have in common: their settings, and putting values in place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from pydantic import Field

from fedunlearn.attacks.revival import magnitudes, masks
from fedunlearn.attacks.revival.completion import Rule
from fedunlearn.attacks.revival.magnitudes import Magnitude
from fedunlearn.attacks.revival.mask_settings import MaskSettings
from fedunlearn.attacks.revival.signs import strongest
from fedunlearn.federation import Weights
from fedunlearn.observer.access import AccessRefused
from fedunlearn.observer.findings import RevivedModel
from fedunlearn.observer.knowledge import Knowledge

Recover = Callable[[str, np.ndarray, np.ndarray], np.ndarray]  # (tensor, matrix, mask) to a signed value per weight


class FillingSettings(MaskSettings):
    """Settings of the attacks that put single weights back."""

    tau: Rule = Field(
        default="s1/3",
        description="Threshold of the completion: a share of the largest singular value of the column-mean-filled "
        "matrix; smin, the smallest, as published; path: chosen by observed entries that are hidden on purpose.",
    )
    top_ratio: float = Field(
        default=0.6, gt=0, le=1, description="Share of a layer's missing weights that are put back, the surest first."
    )
    magnitude: Magnitude = Field(
        default="neuron-max",
        description="How large: neuron-max, sampled or averaged from the row's kept weights; recovered, or quantised "
        "to 4 bits, from the completion; oracle: the true ones, granted.",
    )


def fill(
    weights: Weights,
    missing: Weights,
    recover: Recover,
    settings: FillingSettings,
    knowledge: Knowledge,
    rng: np.random.Generator,
    notes: Mapping[str, Any],
) -> RevivedModel:
    """Return the model with the surest of what was recovered in place, at the magnitudes that the settings name.

    What is not put back stays as it is: 0 where it was pruned, and else what a defence has put there. Rows and columns
    that are missing whole are left to other attacks.

    Args:
        weights: the model that is attacked.
        missing: bool (outputs, inputs) by tensor.
        recover: returns a signed value for every missing weight of a matrix; its size says how sure the sign is.
        settings: `top_ratio` and `magnitude`.
        knowledge: for true magnitudes.
        rng: what magnitudes are drawn with.
        notes: of the attack, to which what is missing is added.

    Raises:
        AccessRefused: where nothing is missing but whole rows and columns.
    """
    if not any(single(mask).any() for mask in missing.values()):
        raise AccessRefused("only whole rows or columns are missing: nothing is left of them to complete")
    new, filled, signs = dict(weights), {}, {}
    for name, mask in missing.items():
        shape, matrix = weights[name].shape, weights[name].reshape(mask.shape).astype(np.float64)
        open_to = single(mask)
        recovered = np.where(open_to, recover(name, matrix, mask), 0.0)
        kept = strongest(recovered, open_to, settings.top_ratio)
        sizes = magnitude(settings.magnitude, name, matrix, mask, recovered, knowledge, rng)
        values = np.where(kept != 0, np.sign(kept) * sizes, matrix)
        new[name] = values.reshape(shape).astype(weights[name].dtype)
        filled[name] = mask.reshape(shape)
        signs[name] = np.sign(recovered).astype(np.int8).reshape(shape)
    return RevivedModel(new, filled, None, {**notes, "missing": masks.described(missing)}, signs)


def single(mask: np.ndarray) -> np.ndarray:
    """Return a mask (outputs, inputs) without the rows and the columns that it covers whole."""
    return np.asarray(mask & ~mask.all(axis=1, keepdims=True) & ~mask.all(axis=0, keepdims=True))


def magnitude(
    chosen: Magnitude,
    name: str,
    matrix: np.ndarray,
    mask: np.ndarray,
    recovered: np.ndarray,
    knowledge: Knowledge,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return how large the weights of a matrix are made, not negative, in its shape or one that broadcasts to it."""
    if chosen == "neuron-max":
        return magnitudes.neuron_max(matrix, mask, rng)
    if chosen == "sampled":
        return magnitudes.sampled(matrix, mask, rng)
    if chosen == "averaged":
        return magnitudes.averaged(matrix, mask)
    if chosen == "quantised":
        return magnitudes.quantised(matrix, mask, recovered)
    if chosen == "recovered":
        return np.abs(recovered)
    return np.abs(knowledge.true_model("before")[name].reshape(mask.shape).astype(np.float64))
