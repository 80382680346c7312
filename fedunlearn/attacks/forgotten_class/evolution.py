"""An image of every class that a model is sure of, bred by a genetic algorithm from its answers alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from pydantic import Field
from torch.nn import functional as F

from fedunlearn.attacks.forgotten_class.class_odds import odds_of
from fedunlearn.attacks.forgotten_class.decisions import DecidedSettings
from fedunlearn.attacks.forgotten_class.inversion_curves import Curves
from fedunlearn.attacks.forgotten_class.null_class_query import NullClassSettings, noise_images

Ask = Callable[[np.ndarray], np.ndarray]  # images (n, C, H, W) to probabilities (n, K)
Shape = tuple[int, int, int]
ELITE = 2
CONTENDERS = 3  # of a tournament
BEYOND = 0.25  # how far a child may lie outside the line between its parents, in lengths of that line
FADING = 0.97  # of the mutation, per generation
WEAKEST = 0.05  # the mutation does not fade below this
SMALLEST = np.finfo(np.float32).tiny


class EvolutionSettings(DecidedSettings):
    """Settings of a genetic search for prototypes."""

    queries: int = Field(default=20_000, ge=100, description="At most so many images in all, over classes and models.")
    population: int = Field(default=30, ge=ELITE + 1, description="Images per class.")
    first: int = Field(default=2000, ge=1, description="Noise images that all classes choose their first from.")
    sigma: float = Field(default=0.3, gt=0, description="Deviation of the mutation at first, in units of pixels.")
    sure: float = Field(default=0.99, gt=0, le=1, description="A class whose p_c has come so far breeds no more.")
    patience: int = Field(
        default=10, ge=1, description="The search ends when so many generations left the classes' order as it was."
    )


@dataclass
class Herd:
    """The images of all classes, (K, population, C, H, W), and ln p of their classes, (K, population, K)."""

    images: np.ndarray
    logs: np.ndarray

    @property
    def fitness(self) -> np.ndarray:
        """ln p_c of class c's images, (K, population)."""
        return self.logs[np.arange(len(self.logs)), :, np.arange(len(self.logs))]

    def best(self) -> np.ndarray:
        """Return ln p of every class's fittest image, (K, K)."""
        return np.asarray(self.logs[np.arange(len(self.logs)), self.fitness.argmax(axis=1)])

    def sorted_images(self) -> np.ndarray:
        """Return the images, of each class the fittest first."""
        order = np.argsort(-self.fitness, axis=1, kind="stable")
        return np.asarray(self.images[np.arange(len(order))[:, None], order])


@dataclass(frozen=True)
class Bred:
    """What a search found.

    Attributes:
        images: (K, population, C, H, W), of each class the fittest first.
        curves: of the fittest, with generations for steps and one restart.
    """

    images: np.ndarray
    curves: Curves


def evolve(
    ask: Ask,
    shape: Shape,
    settings: EvolutionSettings,
    budget: int,
    scores: Callable[[Curves], np.ndarray],
    rng: np.random.Generator,
) -> Bred:
    """Breed images of every class, whose fitness is ln p_c; one question per generation holds all classes' children.

    The noise of the beginning is asked about once and serves all classes. Tournaments of 3, blend crossover, a
    Gaussian mutation that fades, 2 of the elite stay. The search ends before a generation that the budget does not
    hold, when every class has come far enough, or when the ranking is settled.

    Args:
        ask: the model's answers.
        shape: of an image.
        settings: of the search.
        budget: at most so many images are asked about.
        scores: of the curves so far, (K,), whose order is to settle.
        rng: the only source of randomness.
    """
    children = settings.population - ELITE
    sparse = NullClassSettings(samples=max(min(settings.first, budget // 2), 1))
    noise = noise_images(sparse, shape, rng)
    answers = ask(noise)
    herd, spent = first_generation(noise, logs_of(answers), settings.population), len(noise)
    background = logs_of(answers.mean(axis=0))
    history, orders = [herd.best()], []
    sigma = settings.sigma
    while True:
        orders.append(np.argsort(scores(curves_of(history, background)), kind="stable").tobytes())
        active = np.flatnonzero(herd.fitness.max(axis=1) < np.log(settings.sure))
        settled = len(orders) > settings.patience and len(set(orders[-settings.patience - 1 :])) == 1
        if settled or not len(active) or spent + len(active) * children > budget:
            return Bred(herd.sorted_images(), curves_of(history, background))
        born = offspring(herd, active, children, sigma, rng)
        spent += len(active) * children
        herd = next_generation(herd, active, born, logs_of(ask(born.reshape(-1, *shape))))
        history.append(herd.best())
        sigma = max(sigma * FADING, WEAKEST)


def first_generation(noise: np.ndarray, logs: np.ndarray, population: int) -> Herd:
    """Return for every class the noise images that look most like it; some come twice where there are too few."""
    order = np.resize(np.argsort(-logs, axis=0, kind="stable"), (population, logs.shape[1])).T
    return Herd(noise[order], logs[order])


def offspring(herd: Herd, active: np.ndarray, children: int, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Return the children (active classes, children, C, H, W) of parents that won tournaments."""
    classes, population = active[:, None, None, None], herd.images.shape[1]
    draws = rng.integers(population, size=(len(active), 2, children, CONTENDERS))
    winners = herd.fitness[classes, draws].argmax(axis=-1)[..., None]
    parents = herd.images[active[:, None, None], np.take_along_axis(draws, winners, axis=-1)[..., 0]]
    blend = rng.uniform(-BEYOND, 1 + BEYOND, (len(active), children, 1, 1, 1))
    born = parents[:, 0] + blend * (parents[:, 1] - parents[:, 0])
    born += sigma * smooth_noise(born.shape, rng)
    return np.clip(born, 0, 1).astype(np.float32)


def smooth_noise(size: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Return normal noise (..., H, W) on a grid of about every fourth pixel, with straight lines between."""
    *many, height, width = size
    coarse = torch.from_numpy(rng.normal(size=(1, int(np.prod(many)), -(-height // 4) + 1, -(-width // 4) + 1)))
    return F.interpolate(coarse, (height, width), mode="bilinear", align_corners=True).numpy().reshape(size)


def next_generation(herd: Herd, active: np.ndarray, born: np.ndarray, logs: np.ndarray) -> Herd:
    """Return a herd in which the active classes' children stand beside their elite."""
    images, fates = herd.images.copy(), herd.logs.copy()
    elite = np.argsort(-herd.fitness[active], axis=1, kind="stable")[:, :ELITE]
    images[active] = np.concatenate([herd.images[active[:, None], elite], born], axis=1)
    fates[active] = np.concatenate([herd.logs[active[:, None], elite], logs.reshape(*born.shape[:2], -1)], axis=1)
    return Herd(images, fates)


def logs_of(probabilities: np.ndarray) -> np.ndarray:
    """Return ln p in float64; a probability of 0 counts as the smallest normal number."""
    return np.log(np.maximum(probabilities, SMALLEST).astype(np.float64))


def curves_of(history: list[np.ndarray], background: np.ndarray) -> Curves:
    """Return the curves of the fittest images' ln p (K, K), one per generation.

    Args:
        history: of every generation.
        background: (K,), ln of the mean p on the noise of the beginning.
    """
    logs = np.stack(history)
    own, odds = (np.diagonal(part, axis1=1, axis2=2)[:, None] for part in (logs, odds_of(np.exp(logs))))
    return Curves(own, odds, np.broadcast_to(background, own.shape), np.exp(logs[-1])[None])
