"""How well claimed membership scores separate members from non-members."""

import numpy as np
from scipy.integrate import trapezoid
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score, roc_curve

from fedunlearn.judging.metric import METRICS, NAN, UNKNOWN, Interval

RESAMPLES = 1000
_CHUNK = 2_000_000  # entries of one block of resampled curves: 16 MB


def _usable(scores: np.ndarray, member: np.ndarray) -> bool:
    return bool(member.any() and not member.all() and not np.isnan(scores).any())


def roc(scores: np.ndarray, member: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (false positive rates, true positive rates), rising, every threshold kept; needs both kinds."""
    fpr, tpr, _ = roc_curve(member, rankdata(scores), drop_intermediate=False)
    return fpr, tpr


@METRICS.register("auc")
def auc(scores: np.ndarray, member: np.ndarray) -> float:
    """Area under the ROC curve: how often a member scores above a non-member."""
    return float(roc_auc_score(member, rankdata(scores))) if _usable(scores, member) else NAN


def tpr_at_fpr(scores: np.ndarray, member: np.ndarray, level: float) -> float:
    """Return the largest true positive rate whose false positive rate is at most `level`."""
    if not _usable(scores, member):
        return NAN
    fpr, tpr = roc(scores, member)
    return float(tpr[fpr <= level].max())


@METRICS.register("tpr-at-1-fpr")
def tpr_at_1_fpr(scores: np.ndarray, member: np.ndarray) -> float:
    """Share of members found while at most 1 % of the non-members are accused."""
    return tpr_at_fpr(scores, member, 0.01)


@METRICS.register("tpr-at-10-fpr")
def tpr_at_10_fpr(scores: np.ndarray, member: np.ndarray) -> float:
    """Share of members found while at most 10 % of the non-members are accused."""
    return tpr_at_fpr(scores, member, 0.1)


@METRICS.register("best-balanced-accuracy")
def best_balanced_accuracy(scores: np.ndarray, member: np.ndarray) -> float:
    """Balanced accuracy at the threshold that the judge, who knows the truth, finds best: an upper bound."""
    if not _usable(scores, member):
        return NAN
    fpr, tpr = roc(scores, member)
    return float((1 + (tpr - fpr).max()) / 2)


def intervals(scores: np.ndarray, member: np.ndarray, rng: np.random.Generator) -> dict[str, Interval]:
    """Return 95 % bootstrap intervals of the four metrics, members and non-members resampled apart.

    A resample is drawn as counts over the distinct scores, so that whole blocks of curves are cumulative sums.
    """
    names = ("auc", "tpr-at-1-fpr", "tpr-at-10-fpr", "best-balanced-accuracy")
    if not _usable(scores, member):
        return dict.fromkeys(names, UNKNOWN)
    place = np.unique(-scores, return_inverse=True)[1]  # 0 = the highest score
    counts = [np.bincount(place[kind], minlength=place.max() + 1) for kind in (~member, member)]
    rows = max(1, min(RESAMPLES, _CHUNK // len(counts[0])))
    draws = []
    for start in range(0, RESAMPLES, rows):
        size = min(rows, RESAMPLES - start)
        fpr, tpr = (_rates(rng.multinomial(c.sum(), c / c.sum(), size=size)) for c in counts)
        draws.append(
            [
                trapezoid(tpr, fpr, axis=1),
                np.where(fpr <= 0.01, tpr, 0).max(1),
                np.where(fpr <= 0.1, tpr, 0).max(1),
                (1 + (tpr - fpr).max(1)) / 2,
            ]
        )
    ends = np.quantile(np.concatenate(draws, axis=1), (0.025, 0.975), axis=1)
    return {name: (float(low), float(high)) for name, low, high in zip(names, *ends, strict=True)}


def _rates(counts: np.ndarray) -> np.ndarray:
    """Return cumulated shares along the last axis, starting at 0."""
    shares = counts.cumsum(axis=1) / counts.sum(axis=1, keepdims=True)
    return np.concatenate([np.zeros((len(counts), 1)), shares], axis=1)
