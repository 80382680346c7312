"""Defences, one per file; every file of this folder is imported, so a new one needs no other change."""

from fedunlearn.defences.base import DEFENCES, AnswerDefence, Defence, ReleaseDefence, TrainingDefence
from fedunlearn.defences.guard import Guard, answering, make_defences
from fedunlearn.registry import import_all

import_all(__name__)

__all__ = [
    "DEFENCES",
    "AnswerDefence",
    "Defence",
    "Guard",
    "ReleaseDefence",
    "TrainingDefence",
    "answering",
    "make_defences",
]
