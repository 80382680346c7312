"""From scores per class to a claim: which classes were forgotten? Decisions fit any score of any attack.

Every file of this folder is imported, so a new decision needs no other change than its name in `DecisionName`.
"""

from fedunlearn.attacks.forgotten_class.decisions.base import (
    DECISIONS,
    ClassEvidence,
    Decided,
    Decision,
    Measured,
    broken_ties,
)
from fedunlearn.attacks.forgotten_class.decisions.deciding import (
    DecidedSettings,
    DecisionName,
    Measure,
    conclude,
    decide,
)
from fedunlearn.attacks.forgotten_class.decisions.outliers import critical_deviate, outliers
from fedunlearn.registry import import_all

import_all(__name__)

__all__ = [
    "DECISIONS",
    "ClassEvidence",
    "Decided",
    "DecidedSettings",
    "Decision",
    "DecisionName",
    "Measure",
    "Measured",
    "broken_ties",
    "conclude",
    "critical_deviate",
    "decide",
    "outliers",
]
