"""The forgotten class from two rows of the head that resemble each other more than classes do."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from fedunlearn.attacks.base import ATTACKS, Attack, Finds
from fedunlearn.attacks.forgotten_class.decisions import broken_ties, outliers
from fedunlearn.observer.access import Access
from fedunlearn.observer.findings import ForgottenClasses
from fedunlearn.observer.knowledge import Knowledge
from fedunlearn.observer.view import View
from fedunlearn.settings import Settings


class ClosestRowsSettings(Settings):
    """Settings of `closest-rows`."""

    alpha: float = Field(default=0.05, gt=0, lt=1, description="Nominal false-alarm level of the outlier test.")


@ATTACKS.register("closest-rows")
class ClosestRows(Attack):
    """Classes whose row of the head lies closer to another class's than trained rows do.

    For models behind the defence `twin-row`. Knowledge: the final weights. Formula: with a_c = w_c - mean row,
    s_c = max over other classes of cos(a_c, a_c'), times the shortest |a| over |a_c|. The rows of a trained head repel
    each other (cosines near -1/(K - 1)); a mixture of others lies near one of them, mostly near one that is long and
    dominates it, so of the two that stand out the shorter is the mixture. Decision: a one-sided outlier test of the
    scores; the other one may be named too.

    Source: this project. On a model without copied rows it finds the two classes that are told apart least.
    """

    Settings: ClassVar[type[ClosestRowsSettings]] = ClosestRowsSettings
    needs: ClassVar[Access] = "final-weights"
    finds: ClassVar[Finds] = "forgotten-classes"

    def run(self, view: View, knowledge: Knowledge, rng: np.random.Generator) -> ForgottenClasses:
        """Compare rows, and rank the classes."""
        settings: ClosestRowsSettings = self.settings
        scores = resemblance(view.final()["head.weight"])
        named = outliers(scores, settings.alpha)
        return ForgottenClasses(broken_ties(scores, rng), named, {"nominal-false-alarm-rate": settings.alpha})


def resemblance(rows: np.ndarray) -> np.ndarray:
    """Return of each row (num_classes, d) the highest cosine with another, times the shortest length over its own.

    Rows are taken from their mean.

    Example:
        >>> resemblance(np.array([[4.0, 0.0], [8.0, 0.0], [0.0, 4.0]])).round(2).tolist()
        [0.32, 0.1, -0.15]
    """
    away = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    lengths = np.maximum(np.linalg.norm(away, axis=1), np.finfo(np.float32).tiny)
    cosines = away @ away.T / np.outer(lengths, lengths)
    np.fill_diagonal(cosines, -1.0)
    return np.asarray(cosines.max(axis=1) * lengths.min() / lengths)
