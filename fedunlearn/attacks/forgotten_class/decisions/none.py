"""No decision: a ranking alone."""

from collections.abc import Sequence

import numpy as np

from fedunlearn.attacks.forgotten_class.decisions.base import (
    DECISIONS,
    ClassEvidence,
    Decided,
    Decision,
    Measured,
)


@DECISIONS.register("none")
class NoDecision(Decision):
    """No class; the attack only ranks."""

    def __call__(self, evidence: ClassEvidence, shadows: Sequence[Measured], rng: np.random.Generator) -> Decided:
        """Return nothing."""
        return Decided(())
