"""What `param-dot` and `param-diff` have in common: a head, row by row, against those of auxiliary models."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from fedunlearn.attacks.base import Attack, Finds
from fedunlearn.attacks.forgotten_class.auxiliary import (
    Auxiliary,
    Sample,
    independent_model,
    labelled_sample,
    own_head,
    retrained_head,
    unrelated_sample,
)
from fedunlearn.attacks.forgotten_class.decisions import ClassEvidence, DecidedSettings, conclude
from fedunlearn.attacks.forgotten_class.heads import Head
from fedunlearn.federation import Weights
from fedunlearn.observer.access import Access, AccessRefused, allows
from fedunlearn.observer.findings import ForgottenClasses
from fedunlearn.observer.knowledge import Knowledge
from fedunlearn.observer.shadows import Shadow
from fedunlearn.observer.view import View

Lineage = Literal["frozen-backbone", "before", "independent"]
TWO_MODELS: Access = "weights-before-after"


class ParameterSettings(DecidedSettings):
    """Settings of the attacks that compare parameters."""

    lineage: Literal["auto", "frozen-backbone", "before", "independent"] = Field(
        default="auto",
        description="The auxiliary model A_r. frozen-backbone: the final model's backbone, its head trained anew on "
        "public images; before: the model before the request; independent: trained from scratch on public images, in "
        'other coordinates; "auto": before where the view shows it, else frozen-backbone.',
    )
    form: Literal["prototypes", "paper"] = Field(
        default="prototypes",
        description="prototypes: signed, along each class's mean public features; paper: the published score.",
    )
    samples_per_class: int = Field(default=50, ge=1, description="Public images of each class, at most.")


class ParameterAttack(Attack):
    """Base: builds the auxiliary models and leaves the comparison to `compare`."""

    Settings: ClassVar[type[ParameterSettings]] = ParameterSettings
    needs: ClassVar[Access] = "final-weights"
    needs_flags: ClassVar[frozenset[str]] = frozenset({"public-labelled"})
    finds: ClassVar[Finds] = "forgotten-classes"

    @abstractmethod
    def compare(self, head: Head, related: Auxiliary) -> ClassEvidence:
        """Return the evidence of form `prototypes`: a head against the auxiliary model A_r."""

    @abstractmethod
    def compare_as_published(self, head: Head, related: Auxiliary, unrelated: Auxiliary) -> ClassEvidence:
        """Return the evidence of form `paper`: a head against A_r and A_n."""

    def run(self, view: View, knowledge: Knowledge, rng: np.random.Generator) -> ForgottenClasses:
        """Build the auxiliary models, and rank the classes."""
        settings: ParameterSettings = self.settings
        lineage = self._lineage(view)
        sample = labelled_sample(knowledge, settings.samples_per_class)

        def measure(shadow: Shadow) -> ClassEvidence:
            return self._evidence(knowledge, lineage, shadow.before, shadow.after, sample)

        before, final = view.before() if lineage == "before" else None, view.final()
        notes: dict[str, Any] = {"lineage": lineage, "form": settings.form, "public-samples": len(sample[1])}
        if "head.bias" not in final:
            notes["fallback"] = "the head has no bias: rows alone are compared"
        evidence = self._evidence(knowledge, lineage, before, final, sample)
        return conclude(self, evidence, knowledge, measure, rng, notes)

    def _lineage(self, view: View) -> Lineage:
        """Return the lineage of A_r that settings and access level give."""
        chosen: Literal["auto", "frozen-backbone", "before", "independent"] = self.settings.lineage
        two = allows(view.access, TWO_MODELS)
        if chosen == "before" and not two:
            raise AccessRefused(f'lineage = "before" needs access {TWO_MODELS}, its observer has {view.access}')
        if chosen == "auto":
            return "before" if two else "frozen-backbone"
        return chosen

    def _evidence(
        self, knowledge: Knowledge, lineage: Lineage, before: Weights | None, final: Weights, sample: Sample
    ) -> ClassEvidence:
        if lineage == "before" and before is not None:
            base, related = before, own_head(knowledge, before, sample)
        elif lineage == "independent":
            base, related = final, independent_model(knowledge, final, sample)
        else:
            base, related = final, retrained_head(knowledge, final, sample)
        head = Head.read(final)
        if head.weight.shape != related.head.weight.shape:
            shapes = [list(one.weight.shape) for one in (head, related.head)]
            raise AccessRefused(f"the models are of different architectures: heads of {shapes[0]} and {shapes[1]}")
        if self.settings.form == "prototypes":
            return self.compare(head, related)
        noise = unrelated_sample(knowledge, self.settings.samples_per_class)
        return self.compare_as_published(head, related, retrained_head(knowledge, base, noise))
