"""Which signs of pruned weights were recovered, and which positions were recognised as pruned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from fedunlearn.judging.metric import METRICS, NAN

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Count:
    """How many of how many."""

    hits: int
    of: int

    @property
    def share(self) -> float:
        """The hits' share; NaN of nothing."""
        return self.hits / self.of if self.of else NAN


@METRICS.register("sign-accuracy")
def sign_accuracy(claimed: Arrays, before: Arrays, pruned: Arrays) -> Count:
    """Right signs among the truly pruned weights of which a sign is claimed; weights that were 0 before do not count.

    Args:
        claimed: by tensor, signs; 0 where none is claimed.
        before: the true weights before they were pruned.
        pruned: by tensor, bool: what was pruned.
    """
    return _sum(_signs(claimed[name], before[name], mask) for name, mask in pruned.items() if name in claimed)


@METRICS.register("kept-sign-accuracy")
def kept_sign_accuracy(revived: Arrays, before: Arrays, pruned: Arrays, filled: Arrays) -> Count:
    """Right signs among the truly pruned weights that an attack gave another value than 0."""
    put = {name: np.where(mask, np.sign(revived[name]), 0) for name, mask in filled.items()}
    return sign_accuracy(put, before, pruned)


@METRICS.register("mask-precision")
def mask_precision(filled: Arrays, pruned: Arrays) -> Count:
    """What was pruned among what an attack takes for pruned."""
    return Count(_common(filled, pruned), sum(int(mask.sum()) for mask in filled.values()))


@METRICS.register("mask-recall")
def mask_recall(filled: Arrays, pruned: Arrays) -> Count:
    """What an attack takes for pruned among what was pruned, in the tensors of which it says anything."""
    return Count(_common(filled, pruned), sum(int(mask.sum()) for name, mask in pruned.items() if name in filled))


def _signs(claimed: np.ndarray, before: np.ndarray, pruned: np.ndarray) -> Count:
    counted = pruned & (claimed != 0) & (before != 0)
    return Count(int((np.sign(claimed) == np.sign(before))[counted].sum()), int(counted.sum()))


def _common(filled: Arrays, pruned: Arrays) -> int:
    return sum(int((mask & pruned[name]).sum()) for name, mask in filled.items() if name in pruned)


def _sum(counts: Iterable[Count]) -> Count:
    known = list(counts)
    return Count(sum(count.hits for count in known), sum(count.of for count in known))
