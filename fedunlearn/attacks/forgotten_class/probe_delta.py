"""The forgotten class by what becomes of images that the model before the request was sure of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import Field

from fedunlearn.attacks.base import ATTACKS, Attack, Finds
from fedunlearn.attacks.forgotten_class.class_odds import odds_of
from fedunlearn.attacks.forgotten_class.confusion_fingerprint import public_samples
from fedunlearn.attacks.forgotten_class.decisions import ClassEvidence, conclude
from fedunlearn.attacks.forgotten_class.evolution import Ask, EvolutionSettings, evolve
from fedunlearn.attacks.forgotten_class.inversion_curves import evidence
from fedunlearn.attacks.forgotten_class.prototypes import SearchSettings, noise, prototypes
from fedunlearn.models import Classifier
from fedunlearn.observer.access import Access, AccessRefused, allows
from fedunlearn.observer.findings import ForgottenClasses
from fedunlearn.observer.knowledge import Knowledge, probabilities
from fedunlearn.observer.shadows import Shadow
from fedunlearn.observer.view import View

Made = Literal["by gradient", "public", "bred"]


class ProbeDeltaSettings(SearchSettings):
    """Settings of `probe-delta`."""

    probes: Literal["auto", "public", "optimised"] = Field(
        default="auto",
        description="public: labelled public images; optimised: made on the model before the request, by gradient "
        'where its weights are shown, else bred; "auto": by gradient, else public, else bred.',
    )
    queries: int = Field(default=20_000, ge=100, description="Where probes are bred: at most so many images are asked.")
    form: Literal["log-odds", "difference"] = Field(
        default="log-odds", description="Of what the change is measured: log odds of p_c, or p_c."
    )


class Probes(NamedTuple):
    """Images (n, C, H, W) and the classes (n,) that they are to probe."""

    images: np.ndarray
    labels: np.ndarray


@ATTACKS.register("probe-delta")
class ProbeDelta(Attack):
    """Classes whose probes, images that the model before the request was sure of, lose most of their probability.

    Formula: over the probes of class c that the old model takes for c, s_c = -mean(p_c after - p_c before), or by
    default the same of the log odds, ln p_c - ln(1 - p_c). Probes: by gradient descent on the old model's weights (the
    prototypes of `inv-white`), or labelled public images, or a population bred from the old model's answers (that of
    `inv-black`). A class of whose probes the old model takes none for it keeps them all.
    Decision: see the settings; outliers by default.

    Source: Hu et al., Learn What You Want to Unlearn (IEEE S&P 2024, arXiv 2404.03233). Deviations: log odds, as a
    sure p_c hardly changes; classes are named by an outlier test, not by the smallest change; probes by gradient or
    bred where the paper estimates gradients coordinate by coordinate.
    """

    Settings: ClassVar[type[ProbeDeltaSettings]] = ProbeDeltaSettings
    needs: ClassVar[Access] = "probabilities-before-after"
    finds: ClassVar[Finds] = "forgotten-classes"

    def run(self, view: View, knowledge: Knowledge, rng: np.random.Generator) -> ForgottenClasses:
        """Make probes, ask both models about them, and rank the classes."""
        made = self._way(view, knowledge)
        seed = int(rng.integers(2**63))
        before = knowledge.model(view.before()) if made == "by gradient" else None
        probes = self._probes(made, before, lambda images: knowledge.query(images, "before"), knowledge, seed)
        answers = knowledge.query(probes.images, "before"), knowledge.query(probes.images)

        def measure(shadow: Shadow) -> ClassEvidence:
            old, new = knowledge.model(shadow.before), knowledge.model(shadow.after)
            mine = self._probes(made, old, lambda images: probabilities(old, images), knowledge, seed)
            return self._evidence(mine, probabilities(old, mine.images), probabilities(new, mine.images))

        found = self._evidence(probes, *answers)
        notes: dict[str, Any] = {"probes": made, "form": self.settings.form, "probe-count": len(probes.labels)}
        finding = conclude(self, found, knowledge, measure, rng, notes)
        return replace(finding, prototypes=surest(probes, answers[0], knowledge.num_classes))

    def _way(self, view: View, knowledge: Knowledge) -> Made:
        """Return how probes are made."""
        settings: ProbeDeltaSettings = self.settings
        if settings.probes != "public" and allows(view.access, "weights-before-after"):
            return "by gradient"
        if settings.probes == "public" or (settings.probes == "auto" and knowledge.public_labels is not None):
            return "public"
        return "bred"

    def _probes(self, made: Made, model: Classifier | None, ask: Ask, knowledge: Knowledge, seed: int) -> Probes:
        """Return the probes.

        Args:
            made: how.
            model: the old one; None where its weights are not shown.
            ask: the old model's answers.
            knowledge: the attack's own.
            seed: of what breeding draws.
        """
        settings: ProbeDeltaSettings = self.settings
        if made == "public":
            return Probes(*public_samples(knowledge))
        if model is not None and made == "by gradient":
            model.requires_grad_(False)
            starts = noise(model, settings.restarts, knowledge.image_shape)
            images = prototypes(model, starts, settings, knowledge.cache)["images"].swapaxes(0, 1)
        else:
            images = self._bred(ask, knowledge, seed)
        labels = np.repeat(np.arange(knowledge.num_classes), images.shape[1])
        return Probes(np.ascontiguousarray(images, dtype=np.float32).reshape(-1, *knowledge.image_shape), labels)

    def _bred(self, ask: Ask, knowledge: Knowledge, seed: int) -> np.ndarray:
        """Return bred probes (K, count, C, H, W); of the queries some are kept to ask both models about them."""
        settings: ProbeDeltaSettings = self.settings
        breeding = EvolutionSettings(queries=settings.queries)
        count = min(breeding.population, settings.queries // (4 * knowledge.num_classes))
        if not count:
            raise AccessRefused(f"{settings.queries} queries are too few to breed probes of every class")
        budget = settings.queries - 2 * count * knowledge.num_classes
        draws = np.random.default_rng(seed)
        bred = evolve(
            ask, knowledge.image_shape, breeding, budget, lambda c: evidence([c], "threshold", 1).scores, draws
        )
        return bred.images[:, :count]

    def _evidence(self, probes: Probes, before: np.ndarray, after: np.ndarray) -> ClassEvidence:
        """Return by how much the probes of each class fell, by the answers (n, K) about them."""
        classes = before.shape[1]
        hits = before.argmax(axis=1) == probes.labels
        change = odds_of(after) - odds_of(before) if self.settings.form == "log-odds" else after - before
        own = change[np.arange(len(change)), probes.labels].astype(np.float64)
        scores = np.empty(classes)
        for label in range(classes):
            mine = probes.labels == label
            scores[label] = -own[mine & hits if (mine & hits).any() else mine].mean()
        return ClassEvidence.of(scores)


def surest(probes: Probes, answers: np.ndarray, classes: int) -> np.ndarray:
    """Return of every class the probe (K, C, H, W) that a model's answers (n, K) are surest of."""
    rows = [np.where(probes.labels == label, answers[:, label], -1).argmax() for label in range(classes)]
    return np.asarray(probes.images[rows])
