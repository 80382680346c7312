"""One threshold for all classes: fitted where shadows are to be had, half the median where not."""

from collections.abc import Sequence

import numpy as np

from fedunlearn.attacks.forgotten_class.decisions.base import (
    DECISIONS,
    ClassEvidence,
    Decided,
    Decision,
    Measured,
    selected,
)
from fedunlearn.attacks.forgotten_class.decisions.outliers import outliers
from fedunlearn.attacks.forgotten_class.decisions.youden import Youden


@DECISIONS.register("threshold")
class Threshold(Decision):
    """Classes above Youden's threshold where there are shadows, else those whose level is below half the median.

    The second is a fallback that the notes name. It reads the evidence's `levels`; of evidence without levels it
    names the outliers at level alpha instead.

    Source: Zheng, Chen, Huang, Guo, Xiao, Label Leakage Attacks in Machine Unlearning (arXiv 2604.07386), who decide
    by a threshold; half the median is ours.
    """

    shadows = "both"

    def __call__(self, evidence: ClassEvidence, shadows: Sequence[Measured], rng: np.random.Generator) -> Decided:
        """Return the classes on the far side of the threshold."""
        if shadows:
            return Youden(self.alpha, self.forgotten_count)(evidence, shadows, rng)
        if evidence.levels is None:
            notes = {"fallback": "outliers", "nominal-false-alarm-rate": self.alpha}
            return Decided(outliers(evidence.scores, self.alpha), notes)
        bound = float(np.median(evidence.levels)) / 2
        return Decided(selected(evidence.levels < bound), {"fallback": "half-median", "threshold": bound})
