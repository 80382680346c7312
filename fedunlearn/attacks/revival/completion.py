"""SoftImpute: the missing entries of a matrix from those that are there, as if it were nearly of low rank.

Formula: Z = argmin over M of 1/2 |P(W - M)|_F^2 + tau |M|_*, P keeping the observed entries, by the fixed point
Z <- S_tau(P(W) + P'(Z)), where S_tau shrinks every singular value by tau and no further than to 0. Missing entries
start at the mean of what is observed in their column. Source: Mazumder, Hastie, Tibshirani, Spectral Regularization
Algorithms for Learning Large Incomplete Matrices (JMLR 2010).

A row or a column of which nothing is observed cannot be identified: `soft_impute` refuses rows, `complete` leaves both
out. All of it is float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

Rule = Literal["s1/2", "s1/3", "s1/5", "s1/10", "s1/50", "smin", "path"]
RULES: tuple[Rule, ...] = get_args(Rule)
MOST, TOLERANCE = 500, 1e-5  # iterations, and the relative change that ends them
EQUAL = 1e-9  # singular values that differ by less than this share of the first are equal
PATH = tuple(2.0 ** (-step / 2) for step in range(1, 13))  # of s_1, from strong to weak shrinkage
HIDDEN = 0.1  # share of the observed entries that the path is judged by


@dataclass(frozen=True)
class Completion:
    """A completed matrix.

    Attributes:
        matrix: float64, the low-rank matrix Z itself, at observed entries too.
        tau: the threshold of the last iteration.
        iterations: how many there were.
        rank: of Z.
    """

    matrix: np.ndarray
    tau: float
    iterations: int
    rank: int


def soft_impute(
    matrix: np.ndarray,
    missing: np.ndarray,
    tau: float | None,
    *,
    start: np.ndarray | None = None,
    most: int = MOST,
    tolerance: float = TOLERANCE,
) -> Completion:
    """Return the completion of a matrix at one threshold.

    Args:
        matrix: (rows, columns); what stands at missing entries is not read.
        missing: bool, of the same shape.
        tau: the threshold, not negative; None: the smallest singular value, anew in each iteration.
        start: the missing entries' first values, for a warm start; by default their column's mean.
        most: iterations at most.
        tolerance: the relative change of an iteration, in Frobenius norm, below which it stops.

    Raises:
        ValueError: for a mask of another shape, a row of which nothing is observed, or a matrix whose singular values
            are all equal: every threshold shrinks all of its directions alike.
    """
    filled = np.where(missing, start, matrix) if start is not None else column_filled(matrix, missing)
    values = np.linalg.svd(filled, compute_uv=False)
    if len(values) > 1 and values[0] - values[-1] <= EQUAL * values[0]:
        raise ValueError(f"all {len(values)} singular values are {values[0]:.3g}: no direction stands out")
    iterations, moving = 0, True
    while moving and iterations < most:
        iterations += 1
        left, values, right = np.linalg.svd(filled, full_matrices=False)
        threshold = values[-1] if tau is None else tau
        shrunk = np.maximum(values - threshold, 0)
        low_rank = (left * shrunk) @ right
        new = np.where(missing, low_rank, filled)
        moving = bool(np.linalg.norm(new - filled) > tolerance * np.linalg.norm(filled))
        filled = new
    return Completion(low_rank, float(threshold), iterations, int((shrunk > 0).sum()))


def column_filled(matrix: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Return the matrix in float64, its missing entries at their column's observed mean; 0 where none is observed.

    Raises:
        ValueError: as `soft_impute` for shapes and rows.
    """
    if matrix.shape != missing.shape:
        raise ValueError(f"the mask is {list(missing.shape)}, the matrix {list(matrix.shape)}")
    if (gone := np.flatnonzero(missing.all(axis=1))).size:
        raise ValueError(f"of rows {gone.tolist()} nothing is observed: no completion identifies them")
    return np.where(missing, means(matrix, missing, axis=0), matrix.astype(np.float64))


def means(matrix: np.ndarray, missing: np.ndarray, axis: int) -> np.ndarray:
    """Return the means of the observed entries along an axis, kept as 1; 0 where none is observed."""
    there = (~missing).sum(axis=axis, keepdims=True)
    sums = np.where(missing, 0.0, matrix).sum(axis=axis, keepdims=True)
    return np.asarray(sums / np.maximum(there, 1))


def complete(matrix: np.ndarray, missing: np.ndarray, rule: Rule, rng: np.random.Generator) -> Completion:
    """Return the completion of a matrix by a rule for tau; rows and columns that are missing whole are 0 in it.

    `s1/k` is that share of the largest singular value of the column-mean-filled matrix; `smin` the published rule;
    `path` tries falling thresholds, each from the completion before (a warm start), and takes that which finds most
    signs of observed entries that it hides on purpose.

    Raises:
        ValueError: as `soft_impute`, and where nothing is left to complete.
    """
    rows, columns = observed_part(missing)
    if not len(rows) or not len(columns):
        raise ValueError("of no row or column anything is observed")
    inner, gaps = matrix[np.ix_(rows, columns)], missing[np.ix_(rows, columns)]
    if rule == "path":
        done = _along_path(inner, gaps, rng)
    else:
        tau = None if rule == "smin" else first_singular_value(inner, gaps) / int(rule.removeprefix("s1/"))
        done = soft_impute(inner, gaps, tau)
    whole = np.zeros(matrix.shape)
    whole[np.ix_(rows, columns)] = done.matrix
    return Completion(whole, done.tau, done.iterations, done.rank)


def observed_part(missing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows and the columns that are left when those that are missing whole are taken away."""
    rows, columns = np.arange(missing.shape[0]), np.arange(missing.shape[1])
    while True:
        part = missing[np.ix_(rows, columns)]
        kept_rows, kept_columns = ~part.all(axis=1), ~part.all(axis=0)
        if kept_rows.all() and kept_columns.all():
            return rows, columns
        rows, columns = rows[kept_rows], columns[kept_columns]


def first_singular_value(matrix: np.ndarray, missing: np.ndarray) -> float:
    """Return s_1 of the column-mean-filled matrix."""
    return float(np.linalg.norm(column_filled(matrix, missing), ord=2))


def _along_path(matrix: np.ndarray, missing: np.ndarray, rng: np.random.Generator) -> Completion:
    hidden = hide(missing, rng)
    rows, columns = observed_part(missing | hidden)
    hidden, gaps = hidden[np.ix_(rows, columns)], (missing | hidden)[np.ix_(rows, columns)]
    part = matrix[np.ix_(rows, columns)]
    largest, start = first_singular_value(part, gaps), None
    shares = []
    for fraction in PATH:
        found = soft_impute(part, gaps, fraction * largest, start=start).matrix
        shares.append(float((np.sign(found) == np.sign(part))[hidden].mean()))
        start = found
    best = PATH[int(np.argmax(shares))]
    return soft_impute(matrix, missing, best * first_singular_value(matrix, missing))


def hide(missing: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a random mask of observed entries, of which `HIDDEN` is the share."""
    return np.asarray(~missing & (rng.random(missing.shape) < HIDDEN))
