"""Pictures of classes bred in a prior's latent space, by asking for probabilities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from pydantic import Field
from scipy.special import softmax

from fedunlearn.attacks.base import ATTACKS, Attack, Finds
from fedunlearn.attacks.model_inversion.finding import rows_of, summary
from fedunlearn.attacks.model_inversion.priors.learning import PriorSchool
from fedunlearn.attacks.model_inversion.settings import PictureSettings, PriorSettings
from fedunlearn.attacks.model_inversion.target import wanted_classes
from fedunlearn.observer.access import Access, AccessRefused
from fedunlearn.observer.findings import ClassImages
from fedunlearn.observer.knowledge import Knowledge
from fedunlearn.observer.view import View

Fitness = Callable[[np.ndarray, np.ndarray], np.ndarray]  # latents (n, d) and their classes (n,) to p_y (n,) in [0, 1]
TINY = np.finfo(np.float64).tiny


class BreedingSettings(PictureSettings):
    """Settings of the breeding."""

    population: int = Field(default=50, ge=4, description="Latent vectors of each class.")
    steps: int = Field(default=40, ge=1, description="Generations, at most.")
    pool: int = Field(default=1000, ge=4, description="Draws that the first generations are chosen from.")
    elite: int = Field(default=5, ge=1, description="How many of the fittest live on unchanged.")
    mutation: float = Field(default=0.1, ge=0, le=1, description="Probability that a latent number is changed.")
    strength: float = Field(default=0.5, ge=0, description="The deviation of a change.")
    bound: float = Field(default=1.0, gt=0, description="Latent numbers are kept within so much of 0.")
    enough: float = Field(
        default=0.95, gt=0, le=1, description="The fitness of all pictures of a class that ends its search."
    )


class GeneticInversionSettings(BreedingSettings, PriorSettings):
    """Settings of `genetic-inversion`."""


@dataclass(frozen=True)
class Bred:
    """The fittest of each class.

    Attributes:
        latents: (classes, images_per_class, latent), the fittest first.
        fitness: (classes, images_per_class).
    """

    latents: np.ndarray
    fitness: np.ndarray


@ATTACKS.register("genetic-inversion")
class GeneticInversion(Attack):
    """Pictures of classes bred in a prior's latent space, by asking for probabilities.

    Knowledge: the final model's probabilities for questions, and public images, of whatever classes.
    Formula: fitness p_y(G(z)); the first generation of a class are the fittest of one pool of draws; in each further
    one the elite lives on, parents are drawn with probability softmax(p), a child takes each number from its first
    parent with probability p1 / (p1 + p2), and each is changed with probability 0.1 by N(0, 0.25) and kept in [-1, 1].
    Decision: the fittest of the last generation, as many as pictures are wanted; a class stops where all of those have
    p_y of 0.95.

    The questions are counted: the pool once for all classes, then population minus elite per class and generation.

    Source: An, Tao, Xu, Liu, Shen, Yao, Xu, Zhang, MIRROR, NDSS 2022. Deviations: population 50 and 40 generations (100
    and 100 there); latents of the small prior are uncorrelated as they are, with deviation 1; the pictures of a class
    are one population's fittest, where the source has one picture.
    """

    Settings: ClassVar[type[GeneticInversionSettings]] = GeneticInversionSettings
    needs: ClassVar[Access] = "probabilities"
    needs_flags: ClassVar[frozenset[str]] = frozenset({"public-unlabelled"})
    finds: ClassVar[Finds] = "class-images"

    def run(self, view: View, knowledge: Knowledge, rng: np.random.Generator) -> ClassImages:
        """Breed the pictures of all classes at once."""
        settings: GeneticInversionSettings = self.settings
        if settings.images_per_class > settings.population:
            wanted, most = settings.images_per_class, settings.population
            raise AccessRefused(f"images-per-class = {wanted}: no more than the population, {most}")
        classes = wanted_classes(settings.classes, knowledge.num_classes)
        prior = PriorSchool(settings, knowledge).prior()
        pool = rng.standard_normal((settings.pool, prior.latent)).clip(-settings.bound, settings.bound)
        answers = knowledge.query(prior.pictures(pool))[:, classes].T

        def fitness(latents: np.ndarray, labels: np.ndarray) -> np.ndarray:
            return knowledge.query(prior.pictures(latents))[np.arange(len(labels)), labels]

        bred = breed(pool, answers, classes, fitness, settings, rng)
        labels = rows_of(classes, settings.images_per_class)
        flat = bred.latents.reshape(len(labels), prior.latent)
        notes = {"queries": knowledge.query.count, **summary(labels, np.log(bred.fitness.ravel() + TINY))}
        return ClassImages(prior.pictures(flat), labels, notes)


def breed(
    pool: np.ndarray,
    answers: np.ndarray,
    classes: np.ndarray,
    fitness: Fitness,
    settings: BreedingSettings,
    rng: np.random.Generator,
) -> Bred:
    """Breed the fittest latents of several classes.

    Args:
        pool: (m, d), where the first generations are chosen from; as many as the population at least.
        answers: (k, m), the fitness of the pool for every class.
        classes: (k,).
        fitness: answers further questions.
        settings: of the breeding.
        rng: draws parents, crossings and changes.
    """
    size = min(settings.population, len(pool))
    first = np.argsort(-answers, axis=1, kind="stable")[:, :size]
    latents, fit = pool[first], np.take_along_axis(answers, first, axis=1).astype(np.float64)
    for _ in range(settings.steps):
        open_ones = np.flatnonzero(fit[:, : settings.images_per_class].min(axis=1) < settings.enough)
        if not len(open_ones):
            break
        born = children(latents[open_ones], fit[open_ones], settings, rng)
        labels = np.repeat(classes[open_ones], born.shape[1])
        theirs = fitness(born.reshape(len(labels), -1), labels).reshape(born.shape[:2])
        everyone = np.concatenate([latents[open_ones, : settings.elite], born], axis=1)
        all_fit = np.concatenate([fit[open_ones, : settings.elite], theirs], axis=1)
        order = np.argsort(repeated(everyone) - all_fit, axis=1, kind="stable")
        latents[open_ones] = np.take_along_axis(everyone, order[..., None], axis=1)
        fit[open_ones] = np.take_along_axis(all_fit, order, axis=1)
    return Bred(latents[:, : settings.images_per_class], fit[:, : settings.images_per_class])


def repeated(latents: np.ndarray) -> np.ndarray:
    """Return, for populations (k, p, d), 1 where a member (k, p) is equal to an earlier one of its population, else 0.

    Fitness does not exceed 1, so that a copy, which would be the same picture again, comes after all others.
    """
    marks = np.ones(latents.shape[:2])
    for row, members in zip(marks, latents, strict=True):
        row[np.unique(members, axis=0, return_index=True)[1]] = 0
    return marks


def children(
    latents: np.ndarray, fitness: np.ndarray, settings: BreedingSettings, rng: np.random.Generator
) -> np.ndarray:
    """Return the children (k, p - elite, d) of populations (k, p, d) with fitness (k, p) in [0, 1]."""
    groups, size, length = latents.shape
    count = size - min(settings.elite, size - 1)
    chance = softmax(fitness, axis=1)
    parents = np.stack([rng.choice(size, size=(2, count), p=row) for row in chance])  # (k, 2, p - elite)
    each = np.arange(groups)[:, None]
    one, other = latents[each, parents[:, 0]], latents[each, parents[:, 1]]
    strong, weak = fitness[each, parents[:, 0]] + TINY, fitness[each, parents[:, 1]] + TINY
    born = np.where(rng.random(one.shape) < (strong / (strong + weak))[..., None], one, other)
    changed = rng.random(born.shape) < settings.mutation
    born = born + changed * settings.strength * rng.standard_normal((groups, count, length))
    return np.asarray(born.clip(-settings.bound, settings.bound))
