"""Pictures of classes from answered labels alone: latent vectors are pushed away from the border of their class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from pydantic import Field

from fedunlearn.attacks.base import ATTACKS, Attack, Finds
from fedunlearn.attacks.model_inversion.finding import rows_of
from fedunlearn.attacks.model_inversion.priors.learning import PriorSchool
from fedunlearn.attacks.model_inversion.settings import PictureSettings, PriorSettings
from fedunlearn.attacks.model_inversion.target import wanted_classes
from fedunlearn.observer.access import Access
from fedunlearn.observer.findings import ClassImages
from fedunlearn.observer.knowledge import Knowledge, Queries
from fedunlearn.observer.view import View

Within = Callable[[np.ndarray, np.ndarray], np.ndarray]  # latents (n, d) and classes (n,) to whether they are of them
FIRST_RADIUS, GROWTH = 2.0, 1.3
MOSTLY = 0.75  # of the sum of signs: the sphere lies in the class when more than 87.5 % of its points do
LONGEST = 3.0  # a step, in latent space
BOUND = 1.5  # latent numbers are kept within so much of 0 after a step


class BrepMiSettings(PictureSettings, PriorSettings):
    """Settings of `brep-mi`."""

    directions: int = Field(default=32, ge=2, description="Points of the sphere that are asked about at every step.")
    steps: int = Field(default=1000, ge=1, description="Steps at one radius, after which a picture is done.")
    queries: int = Field(default=2000, ge=1, description="At most so many questions for a picture, beside the first.")
    tries: int = Field(default=2000, ge=1, description="Draws among which first pictures are looked for.")


@dataclass
class Searched:
    """How the searches ended.

    Attributes:
        latents: (n, latent), at the largest radius.
        radii: (n,), the last radius at which a sphere about them was in the class; 0 where none was.
    """

    latents: np.ndarray
    radii: np.ndarray


@ATTACKS.register("brep-mi")
class BrepMi(Attack):
    """Pictures of classes from answered labels alone: latent vectors are pushed away from the border of their class.

    Knowledge: the final model's labels for questions, and public images, of whatever classes.
    Formula: from a latent z that is answered y, at radius R = 2: of 32 points u uniform on the sphere of radius R about
    z, s = +1 where z + u is answered y, else -1; if the signs sum to more than 0.75 * 32, R grows by 1.3; else z +
    min(R / 3, 3) * mean((s - 1) / 2 * u) / R, clipped to [-1.5, 1.5], is the next z if it is answered y. It ends after
    1000 steps at one radius, or with the budget.
    Decision: those with the largest radius come first. A class that is never answered among the first draws keeps
    draws as they are; the note `absent` tells which.

    The questions are counted: one per draw for all classes together, then 32 or 33 per step and picture.

    Source: Kahla, Chen, Just, Jia, Label-Only Model Inversion Attacks via Boundary Repulsion, CVPR 2022 (arXiv
    2203.01925). Deviations: a budget per picture; the generator is small and public images train it as in `gmi`;
    several pictures of a class start from several draws that were answered so, or from one where there are fewer.
    """

    Settings: ClassVar[type[BrepMiSettings]] = BrepMiSettings
    needs: ClassVar[Access] = "labels"
    needs_flags: ClassVar[frozenset[str]] = frozenset({"public-unlabelled"})
    finds: ClassVar[Finds] = "class-images"

    def run(self, view: View, knowledge: Knowledge, rng: np.random.Generator) -> ClassImages:
        """Find a first picture of every class, and repel all from their borders at once."""
        settings: BrepMiSettings = self.settings
        classes = wanted_classes(settings.classes, knowledge.num_classes)
        prior = PriorSchool(settings, knowledge).prior()
        pool = rng.standard_normal((settings.tries, prior.latent))
        answered = told_labels(knowledge.query, prior.pictures(pool))
        labels, present = rows_of(classes, settings.images_per_class), np.isin(classes, answered)
        found = Searched(pool[np.arange(len(labels)) % len(pool)], np.zeros(len(labels)))
        rows = np.flatnonzero(np.isin(labels, classes[present]))
        first = [_picked(pool[answered == label], settings.images_per_class) for label in classes[present]]

        def within(latents: np.ndarray, wanted: np.ndarray) -> np.ndarray:
            return told_labels(knowledge.query, prior.pictures(latents)) == wanted

        if len(rows):
            result = repelled(np.concatenate(first), labels[rows], within, settings, rng)
            found.latents[rows], found.radii[rows] = result.latents, result.radii
        order = np.lexsort((-found.radii, labels))
        notes = {
            "queries": knowledge.query.count,
            "radius": float(found.radii.mean()),
            "absent": classes[~present].tolist(),
        }
        return ClassImages(prior.pictures(found.latents[order]), labels[order], notes)


def repelled(
    first: np.ndarray, labels: np.ndarray, within: Within, settings: BrepMiSettings, rng: np.random.Generator
) -> Searched:
    """Repel latents (n, d) from the borders of their classes (n,), all at once.

    Args:
        first: latents that are of their classes.
        labels: the classes.
        within: answers the questions.
        settings: directions, steps and queries.
        rng: draws the directions.
    """
    count, latent = first.shape
    latents, radii, sure = first.astype(np.float64), np.full(count, FIRST_RADIUS), np.zeros(count)
    stuck, asked = np.zeros(count, int), np.zeros(count, int)
    while len(rows := np.flatnonzero((stuck < settings.steps) & (asked + settings.directions < settings.queries))):
        around = radii[rows, None, None] * on_sphere((len(rows), settings.directions, latent), rng)
        points = (latents[rows, None] + around).reshape(-1, latent)
        signs = np.where(within(points, np.repeat(labels[rows], settings.directions)), 1, -1)
        signs = signs.reshape(len(rows), settings.directions)
        asked[rows] += settings.directions
        grown = signs.sum(axis=1) > MOSTLY * settings.directions
        sure[rows[grown]], stuck[rows[grown]] = radii[rows[grown]], 0
        radii[rows[grown]] *= GROWTH
        moved = rows[~grown]
        if not len(moved):
            continue
        push = ((signs[~grown, :, None] - 1) / 2 * around[~grown]).mean(axis=1) / radii[moved, None]
        length = np.minimum(radii[moved] / 3, LONGEST)[:, None]
        tried = np.clip(latents[moved] + length * push, -BOUND, BOUND)
        stays = within(tried, labels[moved])
        latents[moved[stays]] = tried[stays]
        asked[moved] += 1
        stuck[moved] += 1
    return Searched(latents, sure)


def on_sphere(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Return directions of length 1, uniform on the sphere of the last axis."""
    drawn = rng.standard_normal(shape)
    return np.asarray(drawn / np.linalg.norm(drawn, axis=-1, keepdims=True))


def told_labels(query: Queries, images: np.ndarray) -> np.ndarray:
    """Return the predicted classes (n,) of images, whichever way they are answered."""
    answers = query(images)
    return answers if query.answers == "labels" else answers.argmax(axis=1)


def _picked(candidates: np.ndarray, count: int) -> np.ndarray:
    """Return `count` of the candidates, in turn."""
    return candidates[np.arange(count) % len(candidates)]
