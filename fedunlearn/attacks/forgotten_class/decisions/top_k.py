"""The k highest scores, where k is known."""

from collections.abc import Sequence

import numpy as np

from fedunlearn.attacks.forgotten_class.decisions.base import (
    DECISIONS,
    ClassEvidence,
    Decided,
    Decision,
    Measured,
    broken_ties,
)
from fedunlearn.observer.access import AccessRefused


@DECISIONS.register("top-k")
class TopK(Decision):
    """The classes with the k highest scores, for observers that know k; it names k classes whatever the scores.

    Equal scores are put in random order. Raises AccessRefused without the flag class-count-known.
    """

    def __call__(self, evidence: ClassEvidence, shadows: Sequence[Measured], rng: np.random.Generator) -> Decided:
        """Return the k classes."""
        if self.forgotten_count is None:
            raise AccessRefused('decision "top-k" needs the flag "class-count-known" and a request')
        order = np.argsort(-broken_ties(evidence.scores, rng))
        return Decided(tuple(sorted(order[: self.forgotten_count].tolist())))
