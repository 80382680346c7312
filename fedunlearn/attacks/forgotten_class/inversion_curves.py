"""What the making of class prototypes tells of each class: the curves of a search, and criteria that read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from fedunlearn.attacks.forgotten_class.decisions import ClassEvidence

Criterion = Literal["auto", "odds", "leaning", "threshold", "entropy", "steps"]
SURE = 0.9  # the probability that a prototype is to reach


@dataclass(frozen=True)
class Curves:
    """How prototypes came to look like their classes, in natural logarithms, float64.

    Attributes:
        own: (steps + 1, restarts, K): ln p_c of class c's prototype, before the first step and after every step.
        odds: (steps + 1, restarts, K): ln p_c - ln(1 - p_c) of class c's prototype.
        others: (steps + 1, restarts, K): how class c does where it is not wanted. By gradient: its log odds, mean over
            the prototypes of all other classes; bred: ln of its mean probability on the noise of the beginning.
        profiles: (restarts, K, K): the probabilities (last axis) of the prototypes at the end.
    """

    own: np.ndarray
    odds: np.ndarray
    others: np.ndarray
    profiles: np.ndarray

    @classmethod
    def read(cls, arrays: Mapping[str, np.ndarray]) -> Curves:
        """Return the curves among the arrays of a search."""
        return cls(*(arrays[name].astype(np.float64) for name in ("own", "odds", "others", "profiles")))


def evidence(searched: Sequence[Curves], criterion: Criterion, span: int) -> ClassEvidence:
    """Return what a criterion makes of the curves of one model, or of how they changed from one model to another.

    Args:
        searched: the curves of the model in question, after those of the model before the request where there is one.
        criterion: threshold: -ln of m_c, the mean over restarts of p_c, and m_c itself as the level of one model;
            entropy: the mean over restarts of the profile's entropy in nats; steps: the mean number of steps until p_c
            > 0.9; odds: minus the mean log odds over the first steps and the restarts; leaning: that, minus the mean of
            `others`; auto: odds for one model, leaning for two.
        span: how many steps odds and leaning look at; all where there are fewer.

    Returns:
        The scores; of two models by how much they rose.
    """
    if criterion == "auto":
        criterion = "odds" if len(searched) == 1 else "leaning"
    scores = [scores_of(curves, criterion, span) for curves in searched]
    if len(scores) == 2:
        return ClassEvidence.of(scores[1] - scores[0])
    levels = mean_probability(searched[0]) if criterion == "threshold" else None
    return ClassEvidence(scores[0], scores[0][:, None], levels)


def scores_of(curves: Curves, criterion: Criterion, span: int) -> np.ndarray:
    """Return a criterion's scores (K,) for one model; see `evidence`."""
    if criterion == "threshold":
        return -np.log(mean_probability(curves))
    if criterion == "entropy":
        return entropy(curves)
    if criterion == "steps":
        return steps_until_sure(curves)
    seen = curves.odds if criterion == "odds" else curves.odds + curves.others
    return -seen[: span + 1].mean(axis=(0, 1))


def mean_probability(curves: Curves) -> np.ndarray:
    """Return the mean over restarts of p_c at the end, (K,), positive."""
    return np.maximum(np.exp(curves.own[-1]).mean(axis=0), np.finfo(np.float32).tiny)


def entropy(curves: Curves) -> np.ndarray:
    """Return the mean over restarts of the profiles' entropies (K,), from 0 to ln K nats."""
    profiles = curves.profiles
    return -(profiles * np.log(np.maximum(profiles, np.finfo(np.float32).tiny))).sum(axis=2).mean(axis=0)


def steps_until_sure(curves: Curves) -> np.ndarray:
    """Return the mean over restarts of the number of steps until p_c > 0.9, (K,), at least 0.

    Between two steps ln p_c is taken as straight, so that classes hardly tie. A prototype that never came so far
    counts all steps and, added to them, by how much its ln p_c fell short.
    """
    goal, own = np.log(SURE), curves.own
    sure = own > goal
    first = np.where(sure.any(axis=0), sure.argmax(axis=0), len(own))
    steps = len(own) - 1 + np.maximum(goal - own[-1], 0)
    for restart, label in zip(*np.nonzero(first < len(own)), strict=True):
        k = first[restart, label]
        low, high = own[max(k - 1, 0), restart, label], own[k, restart, label]
        steps[restart, label] = k - (high - goal) / (high - low) if k else 0.0
    return steps.mean(axis=0)


def summary(curves: Curves) -> dict[str, Any]:
    """Return the curves as a few numbers for people: mean p_c per class at the start, quarters and the end."""
    marks = np.linspace(0, len(curves.own) - 1, 5).astype(int)
    means = np.exp(curves.own).mean(axis=1)
    return {
        "curve-steps": marks.tolist(),
        "curve": [[round(float(value), 4) for value in means[mark]] for mark in marks],
        "steps-until-sure": [round(float(value), 2) for value in steps_until_sure(curves)],
    }
