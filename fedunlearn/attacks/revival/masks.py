"""Where weights are missing: seven ways to tell, all of which look at weight matrices alone.

A matrix is any tensor of two or more axes, as (outputs, everything else). Masks are bool, by tensor name, and hold
those matrices of which something is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from scipy import stats

from fedunlearn.federation import Weights
from fedunlearn.observer.access import AccessRefused

MaskName = Literal["zeros", "known", "difference", "smallest", "scaled", "mixture", "row-mixture"]
MOST = 0.5  # share of a tensor that may have changed for the change to be no training
ROUNDS, SETTLED = 200, 1e-8  # of the fit of the mixture


def matrices(weights: Weights, layers: Sequence[str] = ()) -> Weights:
    """Return the weight matrices (outputs, inputs), float64; of the named tensors where `layers` names any.

    Raises:
        AccessRefused: when a name is of no matrix.
    """
    found = {
        name: array.reshape(len(array), -1).astype(np.float64)
        for name, array in weights.items()
        if array.ndim >= 2 and array.dtype.kind == "f"
    }
    if unknown := [name for name in layers if name not in found]:
        raise AccessRefused(f"layers: {unknown} are no weight matrices of this model; it has {list(found)}")
    return {name: found[name] for name in layers} if layers else found


def exact_zeros(weights: Weights) -> Weights:
    """Return where matrices are exactly 0: what pruning leaves, but for dead units, which it cannot be told from.

    Raises:
        AccessRefused: when no weight is 0.
    """
    return refuse_none({name: matrix == 0 for name, matrix in weights.items()}, "no weight is exactly 0")


def known(masks: Weights) -> Weights:
    """Return the masks of those tensors that are matrices, of what the method itself told."""
    found = {name: mask.reshape(len(mask), -1) for name, mask in masks.items() if mask.ndim >= 2}
    return refuse_none(found, "of the matrices nothing is marked")


def difference(before: Weights, after: Weights) -> tuple[str, Weights]:
    """Return how two models show what was pruned between them, and where.

    "zeros": what is 0 now and was not before; where no weight is, "changes": what differs in those tensors that differ
    in at most the share `MOST` of their entries, as when a defence put something in place and nothing was trained.

    Raises:
        AccessRefused: when neither shows anything.
    """
    zeros = {name: (after[name] == 0) & (before[name] != 0) for name in after if after[name].ndim}
    if any(mask.any() for mask in zeros.values()):
        return "zeros", {name: mask for name, mask in zeros.items() if mask.any()}
    changed = {name: np.asarray(before[name] != after[name]) for name in zeros}
    partly = {name: mask for name, mask in changed.items() if 0 < mask.mean() <= MOST}
    return "changes", refuse_none(partly, "no weight became 0 and no tensor changed in part")


def smallest(weights: Weights, fraction: float) -> Weights:
    """Return the smallest weights of every matrix by magnitude, as many as `fraction` of it says."""
    return {name: lowest(np.abs(matrix), fraction) for name, matrix in weights.items()}


def scaled(weights: Weights, fraction: float) -> Weights:
    """Return the smallest weights of every matrix by |w| times the l2 norm of their column.

    Columns that lost their largest weights have small norms: what is small there was more likely put in their place.
    """
    return {name: lowest(np.abs(w) * np.linalg.norm(w, axis=0), fraction) for name, w in weights.items()}


def mixture(weights: Weights, *, by_row: bool) -> Weights:
    """Return the smallest weights, as many as the narrower of two zero-mean normal distributions is said to hold.

    Fitted to every matrix, or to every row of it, by expectation-maximisation. Each weight for itself would often be
    left out: where kept ones are ten times as many, even a 0 is more likely to be one of them.
    """

    def narrow(matrix: np.ndarray) -> np.ndarray:
        if not by_row:
            return of_narrower(matrix.ravel()).reshape(matrix.shape)
        return np.stack([of_narrower(row) for row in matrix])

    return refuse_none({name: narrow(matrix) for name, matrix in weights.items()}, "no narrow component stands out")


def of_narrower(values: np.ndarray) -> np.ndarray:
    """Return the smallest values (n,), as many as the share of the narrower of two components N(0, s^2) says."""
    squares = values**2
    if not squares.any():
        return np.ones(len(values), bool)
    spreads = np.sqrt(np.array([np.quantile(squares, 0.1), squares.mean()]) + np.finfo(float).tiny)
    share = 0.1
    for _ in range(ROUNDS):
        likelihood = np.stack([stats.norm.pdf(values, 0, spread) for spread in spreads])
        weighted = np.array([share, 1 - share])[:, None] * likelihood
        posterior = weighted[0] / np.maximum(weighted.sum(axis=0), np.finfo(float).tiny)
        new = float(posterior.mean())
        spreads = np.sqrt(
            np.array([posterior @ squares, (1 - posterior) @ squares])
            / np.maximum([posterior.sum(), (1 - posterior).sum()], np.finfo(float).tiny)
            + np.finfo(float).tiny
        )
        moved, share = abs(new - share), new
        if moved < SETTLED:
            break
    return lowest(np.abs(values), share if spreads[0] < spreads[1] else 0.0)


def lowest(sizes: np.ndarray, fraction: float) -> np.ndarray:
    """Return a mask of the smallest entries, `fraction` of them; of equal ones the first."""
    chosen = np.argsort(sizes, axis=None, kind="stable")[: round(fraction * sizes.size)]
    mask = np.zeros(sizes.size, bool)
    mask[chosen] = True
    return mask.reshape(sizes.shape)


def refuse_none(masks: Weights, why: str) -> Weights:
    """Return those masks that mark anything.

    Raises:
        AccessRefused: when none does: nothing was pruned.
    """
    found = {name: mask for name, mask in masks.items() if mask.any()}
    if not found:
        raise AccessRefused(f"{why}: nothing was pruned")
    return found


def described(masks: Weights) -> dict[str, Any]:
    """Return for the notes how much of each matrix is missing, and how many of its rows and columns are so whole."""
    return {
        name: {
            "missing": int(mask.sum()),
            "share": float(mask.mean()),
            "whole-rows": np.flatnonzero(mask.all(axis=1)).tolist(),
            "whole-columns": np.flatnonzero(mask.all(axis=0)).tolist(),
        }
        for name, mask in masks.items()
    }
