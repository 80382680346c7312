"""The forgotten class from images that a model is made to take for each class, by asking it alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from fedunlearn.attacks.base import ATTACKS, Attack, Finds
from fedunlearn.attacks.forgotten_class.decisions import ClassEvidence, DecidedSettings, conclude
from fedunlearn.attacks.forgotten_class.evolution import Ask, Bred, EvolutionSettings, evolve
from fedunlearn.attacks.forgotten_class.inversion_curves import Criterion, Curves, evidence, summary
from fedunlearn.federation import Weights
from fedunlearn.observer.access import Access, AccessRefused
from fedunlearn.observer.cache import digest
from fedunlearn.observer.findings import ForgottenClasses
from fedunlearn.observer.knowledge import Knowledge, Moment, probabilities
from fedunlearn.observer.shadows import Shadow
from fedunlearn.observer.view import View

FIRST = 10  # generations that the criteria `odds` and `leaning` look at


class InvBlackSettings(EvolutionSettings):
    """Settings of `inv-black`."""

    criterion: Criterion = Field(
        default="leaning",
        description="threshold and entropy: the published two, at the end of the search; steps: generations until p_c "
        "> 0.9; odds: of p_c, on average over the first 10 generations; leaning: those, and ln of the mean p_c on the "
        "noise of the beginning; auto: odds for one model, leaning for two.",
    )
    models: Literal["auto", "one", "two"] = Field(
        default="auto",
        description='Whether half of the queries go to the model before the request; "auto": where it answers.',
    )


@ATTACKS.register("inv-black")
class InvBlack(Attack):
    """Classes of which no prototype can be bred, or only slowly, by a genetic algorithm that asks for probabilities.

    Formula: fitness ln p_c; the criteria are those of `inv-white`, with generations for steps and the fittest image of
    each generation: `threshold` s_c = -ln p_c and `entropy` at the end, `steps`, and over the first 10 generations
    `odds` s_c = -mean(ln p_c - ln(1 - p_c)) and `leaning`, that minus ln of the mean p_c on the noise of the beginning,
    which is the score of `null-class-query` at no further cost. Where the model before the request answers too, the
    search is made on both, from the same draws and with half of the queries each, and s_c is by how much the score
    rose.
    Decision: see the settings; outliers by default, threshold for half the median of p_c.

    Queries are counted and never exceed the budget; the search ends early when the ranking is settled. At equal queries
    it finds more than `null-class-query` in one model of MNIST and as much in one of digits; in two models the latter,
    which needs no search, finds as much or a little more. Without probabilities there is no fitness: where labels
    alone are answered, `null-class-query` is what works.

    Source: Zheng, Chen, Huang, Guo, Xiao, Label Leakage Attacks in Machine Unlearning (arXiv 2604.07386). Deviations:
    the criteria `odds` and `leaning` are ours and the default; the first generation is sparse noise that all classes
    share; mutations are smooth, as single pixels move a convolutional net little; classes are named by an outlier test.
    """

    Settings: ClassVar[type[InvBlackSettings]] = InvBlackSettings
    needs: ClassVar[Access] = "probabilities"
    finds: ClassVar[Finds] = "forgotten-classes"

    def __call__(self, view: View, knowledge: Knowledge, rng: np.random.Generator) -> Any:
        """Attack what `view` shows; an observer that gets labels alone is told what works on them."""
        if view.access == "labels":
            raise AccessRefused("inv-black needs access probabilities, not labels; null-class-query works on labels")
        return super().__call__(view, knowledge, rng)

    def run(self, view: View, knowledge: Knowledge, rng: np.random.Generator) -> ForgottenClasses:
        """Breed prototypes, and rank the classes by how hard it was."""
        settings: InvBlackSettings = self.settings
        two = settings.models == "two" or (settings.models == "auto" and "before" in knowledge.query.moments)
        seed = int(rng.integers(2**63))

        def bred(when: Moment) -> Bred:
            return self._breed(lambda images: knowledge.query(images, when), knowledge, two, seed)

        searched = [bred("before"), bred("final")] if two else [bred("final")]

        def measure(shadow: Shadow) -> ClassEvidence:
            models = [shadow.before, shadow.after] if two else [shadow.after]
            return self._evidence([self._shadow_curves(model, knowledge, two) for model in models])

        curves = [result.curves for result in searched]
        notes = {"criterion": settings.criterion, "models": len(curves), "generations": len(curves[-1].own) - 1}
        notes |= {"queries": knowledge.query.count, **summary(curves[-1])}
        finding = conclude(self, self._evidence(curves), knowledge, measure, rng, notes)
        return replace(finding, prototypes=searched[-1].images[:, 0])

    def _breed(self, ask: Ask, knowledge: Knowledge, two: bool, seed: int) -> Bred:
        settings: InvBlackSettings = self.settings
        budget = settings.queries // 2 if two else settings.queries
        draws = np.random.default_rng(seed)
        return evolve(ask, knowledge.image_shape, settings, budget, lambda c: self._evidence([c]).scores, draws)

    def _evidence(self, curves: list[Curves]) -> ClassEvidence:
        return evidence(curves, self.settings.criterion, FIRST)

    def _shadow_curves(self, weights: Weights, knowledge: Knowledge, two: bool) -> Curves:
        """Return the curves of the attacker's own model, which answers as often as it likes."""
        settings = self.settings.model_dump(mode="json", exclude=set(DecidedSettings.model_fields))
        content = {"weights": weights, "two": two, "settings": settings}

        def make() -> dict[str, np.ndarray]:
            model = knowledge.model(weights)
            bred = self._breed(lambda images: probabilities(model, images), knowledge, two, int(digest(content), 16))
            return vars(bred.curves)

        return Curves.read(knowledge.cache.get("bred-prototypes", content, make))
