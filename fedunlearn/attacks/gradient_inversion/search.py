"""The search for images whose gradient matches: restarts, many targets at once, the best of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fedunlearn.attacks.gradient_inversion.denormals import flushed_denormals
from fedunlearn.attacks.gradient_inversion.lbfgs import lbfgs
from fedunlearn.attacks.gradient_inversion.merging import merge_copies
from fedunlearn.attacks.gradient_inversion.optimisers import Best, Watch, adam
from fedunlearn.attacks.gradient_inversion.settings import InversionSettings
from fedunlearn.attacks.gradient_inversion.simulation import LocalWork
from fedunlearn.attacks.gradient_inversion.starts import STARTS
from fedunlearn.attacks.gradient_inversion.target import Target
from fedunlearn.attacks.gradient_inversion.trials import Trials
from fedunlearn.federation import Weights
from fedunlearn.models import Classifier


@dataclass(frozen=True)
class Candidate:
    """What a search came to.

    Attributes:
        images: (n, C, H, W) in [0, 1] of the best restart, float32; NaN where every restart diverged.
        loss: its loss; infinite where every restart diverged.
        losses: the lowest of each restart, (restarts,).
        iterations: of all restarts together.
    """

    images: np.ndarray
    loss: float
    losses: np.ndarray
    iterations: int


def rebuild(
    model: Classifier,
    gradient: Weights,
    labels: np.ndarray,
    image_shape: tuple[int, int, int],
    settings: InversionSettings,
    rng: np.random.Generator,
    watch: Watch = lambda done, loss: None,
    starts: Tensor | None = None,
) -> Candidate:
    """Search for images with these labels whose mean gradient at `model` matches.

    Args:
        model: with the broadcast weights.
        gradient: the observed gradient by parameter name; entries that are no parameters are not used.
        labels: (n,) classes of the images.
        image_shape: (channels, height, width).
        settings: objective, optimiser and how long.
        rng: for the starts.
        watch: called now and then with (steps done, lowest loss).
        starts: (restarts, n, C, H, W) in the candidate's space, in place of drawn ones.
    """
    target = Target(gradient, labels[None], LocalWork(len(labels), len(labels)))
    given = None if starts is None else starts[:, None]
    return search(model, [target], image_shape, settings, [rng], watch, given)[0]


def search(
    model: Classifier,
    targets: Sequence[Target],
    image_shape: tuple[int, int, int],
    settings: InversionSettings,
    rngs: Sequence[np.random.Generator],
    watch: Watch = lambda done, loss: None,
    starts: Tensor | None = None,
) -> list[Candidate]:
    """Search for the images behind several targets at the same broadcast, all restarts of all targets at once.

    No result depends on the targets beside it, up to rounding, but for one thing: the Adams go on with all of them
    until each has reached the tolerance.

    Args:
        model: with the broadcast weights.
        targets: same work, number of labels and matched parameters.
        image_shape: (channels, height, width).
        settings: objective, regularisers, optimiser, start, and how long.
        rngs: one per target.
        watch: called now and then with (steps done, lowest loss).
        starts: (targets * restarts, copies, n, C, H, W) in the candidate's space, in place of drawn ones.
    """
    size = settings.restarts
    repeated = [target for target in targets for _ in range(size)]
    iterations, pixels = torch.zeros(len(repeated), dtype=torch.int64), None
    for phase in phases(settings):
        trials = Trials(model, repeated, image_shape, phase, size)
        if pixels is not None:
            starts = trials.space.candidate(pixels)
        elif starts is None:
            drawn = zip(targets, rngs, strict=True)
            starts = torch.cat([draw_starts(trials, t, image_shape, settings, rng, size) for t, rng in drawn])
        best = _run(trials, starts, phase, rngs, watch)
        pixels, iterations = trials.space.pixels(best.candidates), iterations + best.iterations.cpu()
    assert pixels is not None  # there is at least one phase
    parts = zip(*(part.split(size) for part in (pixels, best.losses, iterations)), strict=True)
    return [_best_of(images, losses, int(run.sum())) for images, losses, run in parts]


def phases(settings: InversionSettings) -> list[InversionSettings]:
    """Return what is searched one after the other: everything, or each space with its half of the steps."""
    if settings.second_space is None or settings.steps == 1:
        return [settings]
    first, second = settings.steps - settings.steps // 2, settings.steps // 2
    choices = ({"steps": first}, {"steps": second, "space": settings.second_space})
    return [settings.model_copy(update=choice) for choice in choices]


def _run(
    trials: Trials, starts: Tensor, settings: InversionSettings, rngs: Sequence[np.random.Generator], watch: Watch
) -> Best:
    """Return the best candidate from each start."""
    size = settings.restarts

    def settled(losses: Tensor) -> Tensor:
        return (losses.view(-1, size).amin(dim=1) <= settings.tolerance).repeat_interleave(size)

    with flushed_denormals():
        if settings.optimiser == "lbfgs":
            return lbfgs(trials.evaluate, starts, settings, settled, watch)
        noises = [noise for rng in rngs for noise in rng.spawn(size)]
        return adam(trials.evaluate, starts, settings, trials.space.boxed, noises, settled, watch)


def draw_starts(
    trials: Trials,
    target: Target,
    image_shape: tuple[int, int, int],
    settings: InversionSettings,
    rng: np.random.Generator,
    count: int,
) -> Tensor:
    """Return `count` starts of one target, (count, copies, n, C, H, W)."""
    shape = (count, target.work.copies, target.work.images, *image_shape)
    noise = torch.from_numpy(rng.normal(size=shape)).to(trials.like)
    return STARTS[settings.start](trials.space, noise)


def _best_of(pixels: Tensor, losses: Tensor, iterations: int) -> Candidate:
    """Return the restart of the lowest loss among those of one target, (restarts, copies, n, C, H, W)."""
    place = int(losses.argmin())
    images = merge_copies(pixels[place].clamp(0, 1).float().numpy(force=True))
    return Candidate(images, float(losses[place]), losses.double().numpy(force=True), iterations)
