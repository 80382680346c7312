"""The forgotten class by where a model sends public samples of each class."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from fedunlearn.attacks.base import ATTACKS, Attack, Finds
from fedunlearn.attacks.forgotten_class.class_odds import confusion, leaning, log_odds, own_odds
from fedunlearn.attacks.forgotten_class.decisions import ClassEvidence, DecidedSettings, conclude
from fedunlearn.federation import Weights
from fedunlearn.observer.access import Access, AccessRefused
from fedunlearn.observer.findings import ForgottenClasses
from fedunlearn.observer.knowledge import Knowledge, probabilities
from fedunlearn.observer.shadows import Shadow
from fedunlearn.observer.view import View

MOST_PAIRS = 3  # the directions in which the most surprising class sends its samples, for the notes


class ConfusionSettings(DecidedSettings):
    """Settings of `confusion-fingerprint`."""

    form: Literal["leaning", "own"] = Field(
        default="leaning",
        description="own: how hardly a class's own samples are taken for it; leaning: that, and how hardly other "
        "classes' samples are, which tells a class that is avoided from one that is hard to tell apart.",
    )
    models: Literal["auto", "one", "two"] = Field(
        default="auto", description='Whether the model before the request is asked too; "auto": where it answers.'
    )


@ATTACKS.register("confusion-fingerprint")
class ConfusionFingerprint(Attack):
    """Classes whose public samples a model sends elsewhere while it takes no others for them.

    Formula: o_jc = mean over public samples of class j of ln p_c - ln(1 - p_c), the confusion matrix in log odds.
    `own`: s_c = -o_cc. `leaning`: s_c = -o_cc - mean over j other than c of o_jc. Two classes that a model confuses
    send each other as much as they get: what the first term gains is lost in the second. A forgotten class sends and
    gets nothing, whether it is forgotten by half or not at all recognised. With the model before the request, s_c is
    by how much the score rose, which takes away how hard the class is. Where labels alone are answered, p_c of class
    j's samples is the share that is called c, half a count added, and o_jc its log odds.
    Decision: see the settings.

    Log odds, because p_c of a class that is hardly forgotten stays near 1 and its mean hides the change. A labelled
    public sample of every class is needed; for unlabelled ones, `null-class-query` sees the columns' sum.

    Source: ours, of the observation that softmax training on data without a class lowers its logit everywhere.
    """

    Settings: ClassVar[type[ConfusionSettings]] = ConfusionSettings
    needs: ClassVar[Access] = "labels"
    needs_flags: ClassVar[frozenset[str]] = frozenset({"public-labelled"})
    finds: ClassVar[Finds] = "forgotten-classes"

    def run(self, view: View, knowledge: Knowledge, rng: np.random.Generator) -> ForgottenClasses:
        """Ask about the public samples, and rank the classes."""
        settings: ConfusionSettings = self.settings
        images, labels = public_samples(knowledge)
        two = settings.models == "two" or (settings.models == "auto" and "before" in knowledge.query.moments)
        after = knowledge.query(images)
        before = knowledge.query(images, "before") if two else None

        def answers(weights: Weights) -> np.ndarray:
            told = probabilities(knowledge.model(weights), images)
            return told if knowledge.query.answers == "probabilities" else told.argmax(axis=1)

        def measure(shadow: Shadow) -> ClassEvidence:
            return self._evidence(answers(shadow.before) if two else None, answers(shadow.after), labels)

        found = self._evidence(before, after, labels)
        notes: dict[str, Any] = {"form": settings.form, "models": 2 if two else 1, "answers": knowledge.query.answers}
        notes["sent-to"] = directions(confusion(after, labels, knowledge.num_classes), int(found.scores.argmax()))
        return conclude(self, found, knowledge, measure, rng, notes)

    def _evidence(self, before: np.ndarray | None, after: np.ndarray, labels: np.ndarray) -> ClassEvidence:
        classes = int(labels.max()) + 1
        odds = log_odds(after, labels, classes)
        if before is not None:
            odds = odds - log_odds(before, labels, classes)
        own, leant = own_odds(odds), leaning(odds)
        scores = -leant if self.settings.form == "leaning" else -own
        return ClassEvidence(scores, np.column_stack([-own, -leant]))


def public_samples(knowledge: Knowledge) -> tuple[np.ndarray, np.ndarray]:
    """Return the public split's images and labels.

    Raises:
        AccessRefused: without labelled public images, or when a class has none.
    """
    images, labels = knowledge.public_images, knowledge.public_labels
    if images is None or labels is None:
        raise AccessRefused('labelled public images are needed: the flag "public-labelled" and a public split')
    if absent := sorted(set(range(knowledge.num_classes)) - set(labels.tolist())):
        raise AccessRefused(f"the public split has no sample of class {absent[0]}")
    return images, labels


def directions(rates: np.ndarray, label: int) -> dict[str, Any]:
    """Return where most of a class's samples go: the class, and the shares of the classes that get most."""
    order = np.argsort(-rates[label], kind="stable")[:MOST_PAIRS]
    return {"class": label, "shares": {str(other): round(float(rates[label, other]), 4) for other in order}}
