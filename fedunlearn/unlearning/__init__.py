"""Unlearning methods, one per file; every file of this folder is imported, so a new one needs no other change."""

from fedunlearn.registry import import_all
from fedunlearn.unlearning.base import UNLEARNERS, History, OwnTrunkUnlearner, Unlearner
from fedunlearn.unlearning.conformance import Nonconforming, check_unlearner

import_all(__name__)

__all__ = ["UNLEARNERS", "History", "Nonconforming", "OwnTrunkUnlearner", "Unlearner", "check_unlearner"]
