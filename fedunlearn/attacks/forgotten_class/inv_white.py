"""The forgotten class from images that a model is made to take for each class, by gradient descent."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from fedunlearn.attacks.base import ATTACKS, Attack, Finds
from fedunlearn.attacks.forgotten_class.decisions import ClassEvidence, conclude
from fedunlearn.attacks.forgotten_class.inversion_curves import Criterion, Curves, evidence, summary
from fedunlearn.attacks.forgotten_class.prototypes import Arrays, SearchSettings, best_of, noise, prototypes
from fedunlearn.federation import Weights
from fedunlearn.observer.access import Access, AccessRefused, allows
from fedunlearn.observer.findings import ForgottenClasses
from fedunlearn.observer.knowledge import Knowledge
from fedunlearn.observer.shadows import Shadow
from fedunlearn.observer.view import View


class InvWhiteSettings(SearchSettings):
    """Settings of `inv-white`."""

    criterion: Criterion = Field(
        default="auto",
        description="threshold and entropy: the published two, at the end of the search; steps: until p_c > 0.9; odds: "
        "of p_c, on average over the first half of the search; leaning: those, and the odds of c at the other classes' "
        'prototypes; "auto": odds for one model, leaning for two.',
    )
    models: Literal["auto", "one", "two"] = Field(
        default="auto",
        description='Whether the search is repeated on the model before the request; "auto": where the view shows it.',
    )


@ATTACKS.register("inv-white")
class InvWhite(Attack):
    """Classes of which no prototype can be made, or only slowly, by gradient descent on the pixels.

    Formula: x_c = argmin over x of CE(f(x), c) + tv * TV(x) + l2 * mean x^2, by Adam from uniform noise, the pixels
    clamped to [0, 1]; all classes and restarts are one batch. The criteria read how the search went: `threshold` s_c =
    -ln(mean over restarts of p_c at x_c), `entropy` s_c = the entropy of p at x_c, `steps` s_c = the steps until p_c
    > 0.9, `odds` s_c = -(mean over the first half of the search of ln p_c - ln(1 - p_c)), `leaning` that minus the mean
    of the same of class c at the prototypes of the others. With the model before the request, the same search from
    the same noise is made on it, and s_c is by how much the score rose.
    Decision: see the settings; outliers by default, threshold for half the median of the mean p_c.

    The prototypes are those that the final model is surest of, one per class. With enough steps every class has one,
    the forgotten one too: the number of steps is part of the attack. Noise that a model maps to one class delays all
    others alike, and tells nothing by itself.

    Source: Zheng, Chen, Huang, Guo, Xiao, Label Leakage Attacks in Machine Unlearning (arXiv 2604.07386). Deviations:
    the criteria `odds` and `leaning` are ours and the default, as p_c saturates for all classes at the end; classes
    are named by an outlier test where the paper has a threshold; a second model is used where there is one. The noise
    follows from the first model's content, so that equal models are searched once.
    """

    Settings: ClassVar[type[InvWhiteSettings]] = InvWhiteSettings
    needs: ClassVar[Access] = "final-weights"
    finds: ClassVar[Finds] = "forgotten-classes"

    def run(self, view: View, knowledge: Knowledge, rng: np.random.Generator) -> ForgottenClasses:
        """Make prototypes, and rank the classes by how hard it was."""
        settings: InvWhiteSettings = self.settings
        two = settings.models == "two" or (settings.models == "auto" and allows(view.access, "weights-before-after"))
        if two and not allows(view.access, "weights-before-after"):
            raise AccessRefused('models = "two" needs access weights-before-after')
        searched = self._search(knowledge, view.before() if two else None, view.final())
        found, curves = searched[-1], Curves.read(searched[-1])

        def measure(shadow: Shadow) -> ClassEvidence:
            return self._evidence(self._search(knowledge, shadow.before if two else None, shadow.after))

        notes = {"criterion": settings.criterion, "models": 2 if two else 1, **summary(curves)}
        finding = conclude(self, self._evidence(searched), knowledge, measure, rng, notes)
        return replace(finding, prototypes=best_of(found["images"], found["own"][-1]))

    def _search(self, knowledge: Knowledge, before: Weights | None, after: Weights) -> list[Arrays]:
        """Return the prototypes on each model, from one noise."""
        settings: InvWhiteSettings = self.settings
        weights = [after] if before is None else [before, after]
        models = [knowledge.model(each).requires_grad_(False) for each in weights]
        starts = noise(models[0], settings.restarts, knowledge.image_shape)
        return [prototypes(model, starts, settings, knowledge.cache) for model in models]

    def _evidence(self, searched: list[Arrays]) -> ClassEvidence:
        curves = [Curves.read(arrays) for arrays in searched]
        return evidence(curves, self.settings.criterion, self.settings.steps // 2)
