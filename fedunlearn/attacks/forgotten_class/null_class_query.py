"""The forgotten class by the question that needs no attack: which class is never predicted?"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from fedunlearn.attacks.base import ATTACKS, Attack, Finds
from fedunlearn.attacks.forgotten_class.decisions import broken_ties, outliers
from fedunlearn.observer.access import Access, AccessRefused
from fedunlearn.observer.findings import ForgottenClasses
from fedunlearn.observer.knowledge import Knowledge
from fedunlearn.observer.view import View
from fedunlearn.settings import Settings


class NullClassSettings(Settings):
    """Settings of `null-class-query`."""

    images: Literal["auto", "public", "noise"] = Field(
        default="auto",
        description='What is asked about; "auto": public images where there are some, else noise.',
    )
    noise: Literal["sparse", "uniform", "gaussian"] = Field(
        default="sparse",
        description="sparse: uniform grey values on a share of the pixels that varies from image to image, else 0.",
    )
    samples: int = Field(default=5000, ge=1, description="At most so many images per model.")
    models: Literal["auto", "one", "two"] = Field(
        default="auto", description='Whether the model before the request is asked too; "auto": where it answers.'
    )
    decision: Literal["auto", "threshold", "outliers", "none"] = Field(
        default="auto",
        description="threshold: classes with a share below 0.1/K; outliers: a test over the classes' scores; none: "
        'only rank; "auto": outliers for two models, threshold for one model asked about public images, else none.',
    )
    alpha: float = Field(default=0.05, gt=0, lt=1, description="Nominal false-alarm level of the outlier test.")


@ATTACKS.register("null-class-query")
class NullClassQuery(Attack):
    """Classes that a model hardly predicts, or predicts less than before the request: the baseline of every attack.

    Formula: s_c = -ln(share of class c in the answers), the mean probability where probabilities are answered, else
    the frequency of the label (half a count added); with the model before the request,
    s_c = ln(share before) - ln(share after). Decision: by threshold or by an outlier test, see the settings. One
    model asked about noise only ranks: which classes noise looks like differs too much from class to class.

    Source: baseline of forgotten-class inference; the loss of an absent class pushes its bias down in every step.
    Deviation: logarithms, as small shares are where forgetting shows.
    """

    Settings: ClassVar[type[NullClassSettings]] = NullClassSettings
    needs: ClassVar[Access] = "labels"
    finds: ClassVar[Finds] = "forgotten-classes"

    def run(self, view: View, knowledge: Knowledge, rng: np.random.Generator) -> ForgottenClasses:
        """Ask, and rank the classes."""
        settings: NullClassSettings = self.settings
        two = settings.models == "two" or (settings.models == "auto" and "before" in knowledge.query.moments)
        public = settings.images == "public" or (settings.images == "auto" and knowledge.public_images is not None)
        images = self._public(knowledge, rng) if public else noise_images(settings, knowledge.image_shape, rng)
        shares = class_shares(knowledge.query(images), knowledge.num_classes)
        scores = -np.log(shares)
        if two:
            scores = np.log(class_shares(knowledge.query(images, "before"), knowledge.num_classes)) - np.log(shares)
        notes: dict[str, Any] = {"models": 2 if two else 1, "images": "public" if public else settings.noise}
        automatic = "outliers" if two else "threshold" if public else "none"
        decision = automatic if settings.decision == "auto" else settings.decision
        named: tuple[int, ...] = ()
        if decision == "threshold":
            named = tuple(np.flatnonzero(shares < 0.1 / knowledge.num_classes).tolist())
        elif decision == "outliers":
            named = outliers(scores, settings.alpha)
            notes["nominal-false-alarm-rate"] = settings.alpha
        return ForgottenClasses(broken_ties(scores, rng), named, notes | {"decision": decision})

    def _public(self, knowledge: Knowledge, rng: np.random.Generator) -> np.ndarray:
        public = knowledge.public_images
        if public is None:
            raise AccessRefused('images = "public" needs the flag "public-unlabelled"')
        return public[rng.permutation(len(public))[: self.settings.samples]]


def class_shares(answers: np.ndarray, num_classes: int) -> np.ndarray:
    """Return each class's share (num_classes,) in answers, positive and summing to 1.

    Args:
        answers: probabilities (n, num_classes), or labels (n,), of which every class counts half a one more.
        num_classes: how many classes there are.
    """
    if answers.ndim == 2:
        shares = np.maximum(answers.mean(axis=0, dtype=np.float64), np.finfo(np.float32).tiny)
    else:
        shares = np.bincount(answers, minlength=num_classes) + 0.5
    return shares / shares.sum()


def noise_images(settings: NullClassSettings, shape: tuple[int, int, int], rng: np.random.Generator) -> np.ndarray:
    """Return float32 noise images (samples, channels, height, width) in [0, 1]."""
    size = (settings.samples, *shape)
    if settings.noise == "gaussian":
        return np.clip(rng.normal(0.5, 0.5, size), 0, 1).astype(np.float32)
    values = rng.random(size, dtype=np.float32)
    if settings.noise == "uniform":
        return values
    density = rng.random((settings.samples, 1, 1, 1), dtype=np.float32)
    return values * (rng.random(size, dtype=np.float32) < density)
