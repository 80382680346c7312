"""Which weights make a class's token different from the others': masks of layers that read nothing but tokens."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np


def contrast_mask(
    weight: np.ndarray, tokens: np.ndarray, target: Collection[int], ratio: float, keep: float
) -> np.ndarray:
    """Return bool (out, in): what to prune so that the targets' values become the mean of the others', which stay.

    With C_j = W_ij tokens_cj what weight j gives to the value of class c in row i, and P the row's mask, the cost
        sum over targets u of (sum_P C_uj - (v_u - mean of the others' v))^2 + keep * sum over others of (sum_P C_cj)^2
    is lowered greedily, a weight at a time, as long as one lowers it.

    Args:
        weight: (out, in).
        tokens: (classes, in).
        target: the classes to forget.
        ratio: the largest share of a row that is pruned.
        keep: how much the others' values count.
    """
    is_target = np.isin(np.arange(len(tokens)), sorted(target))
    given = weight[:, None].astype(np.float64) * tokens[None]  # (out, classes, in)
    values = given.sum(2)
    wanted = np.where(is_target, values - values[:, ~is_target].mean(1, keepdims=True), 0.0)
    importance = np.where(is_target, 1.0, keep)
    mask, rows = np.zeros(weight.shape, bool), np.arange(len(weight))
    left = wanted  # of what is to be taken from each class's value
    for _ in range(int(ratio * weight.shape[1])):
        after = left[:, :, None] - given
        costs = np.where(mask, np.inf, np.einsum("c,rcj->rj", importance, after**2))
        best = costs.argmin(1)
        lower = rows[costs[rows, best] < (importance * left**2).sum(1)]
        if not len(lower):
            break
        mask[lower, best[lower]] = True
        left = np.where(np.isin(rows, lower)[:, None], left - given[rows, :, best], left)
    return mask
