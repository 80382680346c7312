"""The attacks: each a function from what its observer sees to a finding.

Every file of this folder is imported, so a new attack needs no other change.
"""

from fedunlearn.attacks.base import ATTACKS, Attack
from fedunlearn.registry import import_all

import_all(__name__)

__all__ = ["ATTACKS", "Attack"]
