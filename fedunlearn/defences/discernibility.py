"""How well filled weights can be told from the others by their size: the discernibility curve.

Among the weights with |w| <= t, the share that was filled, when a share a of a tensor was, with N(0, s^2):

    p(t) = a erf(t / (sqrt(2) s)) / (a erf(t / (sqrt(2) s)) + (1 - a) F(t))

F(t) is the share of the other weights with |w| <= t. The source ("Roots Beneath the Cut", arXiv 2603.06640) takes
them for Gaussian too; trained layers have more weights near zero, for which that form promises an attacker too much.
"""

from __future__ import annotations

import numpy as np
from scipy.special import erf


def empirical_precision(t: np.ndarray, filled: float, scale: float, kept: np.ndarray) -> np.ndarray:
    """Return p(t) with F counted among the `kept` weights.

    Args:
        t: sizes (n,), above zero.
        filled: the share a of the tensor's weights that was filled, in [0, 1].
        scale: the standard deviation s of the fill, above zero.
        kept: the other weights, any shape, at least one.

    Returns:
        Shares (n,) in [0, 1]; NaN where no weight is that small.
    """
    sizes = np.sort(np.abs(kept), axis=None)
    return _share(filled * _within(t, scale), (1 - filled) * np.searchsorted(sizes, t, side="right") / len(sizes))


def gaussian_precision(t: np.ndarray, filled: float, scale: float, kept_scale: float) -> np.ndarray:
    """Return p(t) with F that of N(0, kept_scale^2); the other arguments as in `empirical_precision`."""
    return _share(filled * _within(t, scale), (1 - filled) * _within(t, kept_scale))


def _within(t: np.ndarray, scale: float) -> np.ndarray:
    return np.asarray(erf(np.asarray(t) / (np.sqrt(2) * scale)))


def _share(part: np.ndarray, rest: np.ndarray) -> np.ndarray:
    whole = part + rest
    return np.divide(part, whole, out=np.full_like(whole, np.nan), where=whole > 0)
