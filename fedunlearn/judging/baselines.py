"""What an answer without any information scores: chance levels in closed form and trivial answers."""

from math import comb

import numpy as np
from scipy.stats import binom, hypergeom, multinomial

from fedunlearn.judging.images import Comparison, compare
from fedunlearn.judging.lpips import Perceptual
from fedunlearn.judging.metric import METRICS, NAN


def uniform_guess(total: int, num_classes: int) -> np.ndarray:
    """Return `total` labels spread evenly over the classes, (num_classes,); the remainder goes to the first classes.

    With many samples per batch this constant recovers most labels: about 1 - sqrt((C-1)/(2 pi K)) of K uniformly
    mixed ones. Every label score has to be read against it.
    """
    counts = np.full(num_classes, total // num_classes, dtype=np.int64)
    counts[: total % num_classes] += 1
    return counts


def label_chance(true: np.ndarray) -> dict[str, float]:
    """Return what `irec`, `le-acc`, `ln-acc`, `exact` are on average for labels drawn uniformly at random.

    Args:
        true: (num_classes,) counts. A guess is multinomial: each count is binomial(K, 1/C), all together multinomial.
    """
    total, num_classes = int(true.sum()), len(true)
    count = binom(total, 1 / num_classes)
    recovered = sum(float(count.sf(np.arange(k)).sum()) for k in true)  # E min(X, k) = sum of P(X > j) over j < k
    absent = float(count.pmf(0))
    return {
        "irec": recovered / total,
        "le-acc": float(np.mean(np.where(true > 0, 1 - absent, absent))),
        "ln-acc": float(np.mean(count.pmf(true))),
        "exact": float(multinomial(total, np.full(num_classes, 1 / num_classes)).pmf(true)),
    }


def class_chance(num_classes: int, forgotten: int) -> dict[str, float]:
    """Return the scores of naming exactly as many classes as were forgotten, drawn at random.

    Example:
        >>> round(class_chance(10, 2)["jaccard"], 3)
        0.141
    """
    K, k = num_classes, forgotten
    if k == 0:
        return {}
    hits = np.arange(k + 1)
    overlap = float(np.sum(hypergeom(K, k, k).pmf(hits) * hits / (2 * k - hits)))
    return {
        "top-1": k / K,
        "exact-set": 1 / comb(K, k),
        "jaccard": overlap,
        "mcc": 0.0,
        "balanced-accuracy": 0.5,
        "per-class-accuracy": 1 - 2 * k * (K - k) / K**2,
        "mrr": reciprocal_rank_chance(K),
        "class-auc": 0.5,
    }


def reciprocal_rank_chance(num_classes: int) -> float:
    """Return the mean reciprocal rank of a class whose rank is drawn at random: H_K / K.

    Example:
        >>> round(reciprocal_rank_chance(10), 4), round(reciprocal_rank_chance(100), 4)
        (0.2929, 0.0519)
    """
    return float(np.mean(1 / np.arange(1, num_classes + 1)))


def nobody_forgotten(num_classes: int, forgotten: int) -> dict[str, float]:
    """Return the scores of the majority answer 'every class is retained'.

    Example:
        >>> nobody_forgotten(10, 3)["per-class-accuracy"]
        0.7
    """
    return {
        "exact-set": float(forgotten == 0),
        "jaccard": float(forgotten == 0),
        "mcc": 0.0,
        "balanced-accuracy": 0.5,
        "per-class-accuracy": (num_classes - forgotten) / num_classes,
        "alarm": 0.0,
    }


@METRICS.register("psnr-grey")
def grey(truth: np.ndarray, count: int, perceptual: Perceptual | None = None) -> Comparison:
    """PSNR in dB of grey images, as many as were rebuilt and matched like them: what no attack at all gives."""
    return _compare_copies(truth, np.full_like(truth[0], 0.5), count, perceptual)


@METRICS.register("psnr-batch-mean")
def batch_mean(truth: np.ndarray, count: int, perceptual: Perceptual | None = None) -> Comparison:
    """PSNR in dB of the true batch mean, matched alike: a blur that many published figures do not beat.

    Undefined (NaN) for a single image, whose mean it is itself.
    """
    mean = truth.mean(axis=0) if len(truth) > 1 else np.full_like(truth[0], NAN)
    return _compare_copies(truth, mean, count, perceptual)


@METRICS.register("psnr-public-mean")
def public_mean(
    truth: np.ndarray, count: int, mean: np.ndarray | None, perceptual: Perceptual | None = None
) -> Comparison:
    """PSNR in dB of the mean public image, matched alike; NaN where there is no public data."""
    return _compare_copies(truth, np.full_like(truth[0], NAN) if mean is None else mean, count, perceptual)


def _compare_copies(truth: np.ndarray, image: np.ndarray, count: int, perceptual: Perceptual | None) -> Comparison:
    """Return what `count` copies of an image (C, H, W) score as reconstructions."""
    return compare(truth, np.broadcast_to(image, (count, *image.shape)), perceptual)
