"""A threshold that shadow controls rarely pass."""

from collections.abc import Sequence
from math import ceil

import numpy as np

from fedunlearn.attacks.forgotten_class.decisions.base import (
    DECISIONS,
    ClassEvidence,
    Decided,
    Decision,
    Measured,
    selected,
)


@DECISIONS.register("calibrated")
class Calibrated(Decision):
    """Classes whose score passes what the highest score of shadow controls rarely passes. Fitted on shadow controls.

    Split conformal: of the highest scores of n controls the ceil((n + 1)(1 - alpha))-th smallest is the bound; a
    control that is exchangeable with them passes it in at most alpha of all cases. With fewer controls than
    1/alpha - 1 the bound is their highest score and the level is 1 / (n + 1): the notes tell the level that holds.
    Shadows are trained on public data, and on less of it: the level is as good as their likeness to the target.

    Source: Vovk, Gammerman, Shafer, Algorithmic Learning in a Random World (2005).
    """

    fits = True
    shadows = "controls"

    def __call__(self, evidence: ClassEvidence, shadows: Sequence[Measured], rng: np.random.Generator) -> Decided:
        """Return the classes above the bound."""
        highest = np.sort([seen.scores.max() for seen, _ in shadows])
        count = len(highest)
        rank = ceil((count + 1) * (1 - self.alpha) - 1e-9)  # 20 * 0.95 is 19, whatever the rounding of 1 - alpha
        level = self.alpha if rank <= count else 1 / (count + 1)
        bound = float(highest[min(rank, count) - 1])
        notes = {"threshold": bound, "shadow-controls": count, "nominal-false-alarm-rate": level}
        return Decided(selected(evidence.scores > bound), notes)
