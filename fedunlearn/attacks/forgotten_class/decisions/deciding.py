"""The one call that an attack ends with: from evidence to the finding, by the decision that its settings choose."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
from pydantic import Field

from fedunlearn.attacks.base import Attack
from fedunlearn.attacks.forgotten_class.decisions.base import (
    DECISIONS,
    ClassEvidence,
    Decided,
    Decision,
    Measured,
    broken_ties,
)
from fedunlearn.observer.access import AccessRefused
from fedunlearn.observer.findings import ForgottenClasses
from fedunlearn.observer.knowledge import Knowledge
from fedunlearn.observer.shadows import Shadow
from fedunlearn.settings import Settings

DecisionName = Literal["top-k", "outliers", "kmeans", "youden", "tree", "threshold", "calibrated", "none"]
Measure = Callable[[Shadow], ClassEvidence]  # what the attack would measure if a shadow were its target


class DecidedSettings(Settings):
    """Settings that every attack has whose classes are named by a decision."""

    decision: DecisionName = Field(
        default="outliers",
        description="How classes are named: top-k (flag class-count-known), outliers (a test at level alpha), kmeans, "
        "threshold, none; youden, tree and calibrated are fitted on shadows (flag public-labelled).",
    )
    alpha: float = Field(default=0.05, gt=0, lt=1, description="Nominal false-alarm level of outliers and calibrated.")
    shadows: int = Field(default=20, ge=2, description="How many shadows of each kind a fitted decision looks at.")


def conclude(
    attack: Attack,
    evidence: ClassEvidence,
    knowledge: Knowledge,
    measure: Measure,
    rng: np.random.Generator,
    notes: Mapping[str, Any],
) -> ForgottenClasses:
    """Return an attack's finding: the ranking, ties in random order, and the classes that its decision names.

    Args:
        attack: whose settings are `DecidedSettings`: they say how to decide.
        evidence: about the model in question.
        knowledge: the attack's own, for shadows and the number of forgotten classes.
        measure: returns the same evidence about a shadow; called only when the decision looks at shadows.
        rng: the attack's own.
        notes: the attack's own notes, to which the decision's are added.

    Raises:
        AccessRefused: as `decide`.
    """
    settings: DecidedSettings = attack.settings
    kept = remembered(measure, attack, knowledge)
    decided = decide(
        settings.decision, evidence, knowledge, kept, rng, alpha=settings.alpha, shadow_count=settings.shadows
    )
    return ForgottenClasses(broken_ties(evidence.scores, rng), decided.named, {**notes, **decided.notes})


def remembered(measure: Measure, attack: Attack, knowledge: Knowledge) -> Measure:
    """Return `measure` with its results kept by content: the same shadows are looked at on every branch of every cell.

    What is measured must follow from the shadow, the public split, the access level and those settings that are not
    about deciding.
    """
    about = {
        "attack": type(attack).__name__,
        "settings": attack.settings.model_dump(mode="json", exclude=set(DecidedSettings.model_fields)),
        "access": knowledge.access,
        "public": knowledge.public_digest,
    }

    def make(shadow: Shadow) -> dict[str, np.ndarray]:
        found = measure(shadow)
        arrays = {"scores": found.scores, "features": found.features}
        return arrays if found.levels is None else arrays | {"levels": found.levels}

    def measured(shadow: Shadow) -> ClassEvidence:
        content = {"before": shadow.before, "after": shadow.after, **about}
        return ClassEvidence(**knowledge.cache.get("shadow-evidence", content, lambda: make(shadow)))

    return measured


def decide(
    name: DecisionName,
    evidence: ClassEvidence,
    knowledge: Knowledge,
    measure: Measure,
    rng: np.random.Generator,
    *,
    alpha: float = 0.05,
    shadow_count: int = 20,
) -> Decided:
    """Return the classes that the decision `name` names.

    Shadows forget as many classes as the model in question where that is known, else one; its notes tell which
    (`forgotten-count`).

    Raises:
        AccessRefused: when the decision needs shadows or the number of forgotten classes and the observer has none,
            or when as many classes were forgotten as there are.
    """
    count = knowledge.forgotten_count
    if count is not None and count >= len(evidence.scores):
        raise AccessRefused(f"{count} of {len(evidence.scores)} classes were forgotten: none is left to compare with")
    decision = DECISIONS[name](alpha, count)
    notes: dict[str, Any] = {"decision": name, "forgotten-count": "unknown" if count is None else count}
    shadows: list[Measured] = []
    if decision.shadows != "none":
        try:
            shadows = _measured(decision, knowledge, measure, shadow_count)
        except AccessRefused as refusal:
            if decision.fits:
                raise
            notes["no-shadows"] = str(refusal)
    decided = decision(evidence, shadows, rng)
    return Decided(decided.named, notes | decided.notes)


def _measured(decision: Decision, knowledge: Knowledge, measure: Measure, count: int) -> list[Measured]:
    """Return the evidence about the shadows that a decision looks at."""
    found = list(knowledge.shadows(count, classes=0))
    if decision.shadows == "both":
        found += knowledge.shadows(count, classes=decision.forgotten_count or 1)
    measured = []
    for number, shadow in enumerate(found):
        knowledge.progress(f"shadow {number + 1} of {len(found)}")
        measured.append((measure(shadow), shadow.forgotten))
    return measured
