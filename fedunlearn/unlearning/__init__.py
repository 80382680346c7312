"""Unlearning methods, one per file; importing this package registers them all."""

from fedunlearn.unlearning import branches, federaser, finetune, retrain
from fedunlearn.unlearning.base import UNLEARNERS, History, Unlearner

__all__ = ["UNLEARNERS", "History", "Unlearner", "branches", "federaser", "finetune", "retrain"]
