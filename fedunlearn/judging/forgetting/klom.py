"""KLoM: the divergence between the margins of many unlearned models and those of as many retrained ones.

Source: Georgiev, Rinberg, Park, Garg, Ilyas, Madry and Neel, "Attribute-to-Delete: Machine Unlearning via Datamodel
Matching", ICLR 2025 (arXiv 2410.23232, section 2.2).
"""

import numpy as np
from scipy.special import rel_entr

BINS = 20
LARGEST = 100.0  # margins are cut here
FLOOR = 1e-5  # of a retrained bin that is empty where unlearned models are


def klom(unlearned: np.ndarray, retrained: np.ndarray) -> np.ndarray:
    """Return for each sample the KL divergence in nats of the unlearned from the retrained histogram, (n,).

    Both histograms have 20 bins over the joint range of the sample, its ends included. 0 for equal margins, at most
    ln(1 / 1e-5) = 11.51. A margin that is NaN makes its sample NaN.

    Args:
        unlearned: margins (models, n).
        retrained: margins (models', n).

    Example:
        >>> zeros, last = np.zeros((100, 1)), np.eye(100)[:, -1:]
        >>> klom(last, zeros).round(4).tolist()
        [0.0591]
    """
    pairs = zip(np.clip(unlearned, -LARGEST, LARGEST).T, np.clip(retrained, -LARGEST, LARGEST).T, strict=True)
    return np.array([_divergence(own, other) for own, other in pairs])


def _divergence(own: np.ndarray, other: np.ndarray) -> float:
    both = np.concatenate([own, other])
    if np.isnan(both).any():
        return float("nan")
    low, width = both.min(), np.ptp(both)
    if not width:
        return 0.0
    p, q = (np.bincount(_bins((values - low) / width), minlength=BINS) / len(values) for values in (own, other))
    return float(rel_entr(p, np.maximum(q, FLOOR)).sum())


def _bins(places: np.ndarray) -> np.ndarray:
    """Return the bins of places in [0, 1]; the last one holds 1 as well."""
    return np.minimum((places * BINS).astype(np.int64), BINS - 1)
