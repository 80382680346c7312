"""The judge: knows the truth, scores every finding, and says what the score has to be compared with."""

from fedunlearn.judging.answers import AnswerKey, Answers
from fedunlearn.judging.case import Case, Verdict
from fedunlearn.judging.judge import judge_failure, judge_finding
from fedunlearn.judging.metric import METRICS, Metric
from fedunlearn.judging.references import AttackRow, with_references

__all__ = [
    "METRICS",
    "AnswerKey",
    "Answers",
    "AttackRow",
    "Case",
    "Metric",
    "Verdict",
    "judge_failure",
    "judge_finding",
    "with_references",
]
