"""How candidates are moved towards the observed gradient: what all ways have in common, and the Adams."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from fedunlearn.attacks.gradient_inversion.settings import InversionSettings

Box = Callable[[Tensor], Tensor]  # moves candidates into the box
Settled = Callable[[Tensor], Tensor]  # lowest losses so far -> whether to go on with each trial is pointless, both (R,)
Watch = Callable[[int, float], None]  # (steps done, lowest loss)
TOLD_EVERY = 100  # steps of Adam


class Evaluate(Protocol):
    """What is minimised."""

    def __call__(self, candidates: Tensor, trials: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return losses (k,) of candidates (k, ...) and their derivatives; of all trials, or of those numbered."""
        ...


@dataclass(frozen=True)
class Best:
    """The best candidates (R, ...) of R trials and their losses (R,): NaN and infinite where a trial diverged.

    Attributes:
        iterations: (R,) how many were run.
    """

    candidates: Tensor
    losses: Tensor
    iterations: Tensor

    @classmethod
    def none_yet(cls, start: Tensor) -> Best:
        """Return what is known before the search."""
        losses = start.new_full((len(start),), math.inf)
        return cls(torch.full_like(start, math.nan), losses, torch.zeros_like(losses, dtype=torch.int64))

    def or_better(
        self, candidates: Tensor, losses: Tensor, trials: Tensor | None = None, iterations: Tensor | int = 0
    ) -> Best:
        """Return the better of these and other candidates; NaN is never better.

        Args:
            candidates: (k, ...) of all trials, or of those numbered.
            losses: (k,).
            trials: (k,) their numbers.
            iterations: run by them so far.
        """
        if trials is None:
            better = losses < self.losses
            kept = torch.where(better.view(-1, *(1 for _ in candidates.shape[1:])), candidates, self.candidates)
            run = torch.full_like(self.iterations, int(iterations))
            return Best(kept, torch.where(better, losses, self.losses), run)
        better = losses < self.losses[trials]
        kept, lowest, run = self.candidates.clone(), self.losses.clone(), self.iterations.clone()
        kept[trials[better]], lowest[trials[better]] = candidates[better], losses[better]
        run[trials] = torch.as_tensor(iterations, device=run.device)
        return Best(kept, lowest, run)


def adam(
    evaluate: Evaluate,
    start: Tensor,
    settings: InversionSettings,
    box: Box,
    rngs: list[np.random.Generator],
    settled: Settled,
    watch: Watch,
) -> Best:
    """Adam, for all candidates at once, kept in the box; the best of each by loss is returned, not the last.

    `signed-adam` is fed with the sign of the derivative, rate 0.1 cut to a tenth at 3/8, 5/8 and 7/8 (Geiping et
    al., NeurIPS 2020): it works where the model is not smooth (ReLU). `adam` has a rate that falls as a cosine after
    its warm-up, and Langevin noise (Yin et al., CVPR 2021); `rngs` draw it, one of each candidate.
    """
    candidates = box(start).clone()
    optimiser = torch.optim.Adam([candidates], lr=settings.rate or 0.1, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, rate_schedule(settings))
    best = Best.none_yet(start)
    for done in range(settings.steps):
        losses, derivatives = evaluate(candidates)
        if not losses.isfinite().any():
            break
        best = best.or_better(candidates, losses, iterations=done + 1)
        if done % TOLD_EVERY == 0:
            watch(done, float(best.losses.min()))
        if settled(best.losses).all():
            break
        candidates.grad = derivatives.sign() if settings.optimiser == "signed-adam" else derivatives
        optimiser.step()
        if settings.noise:
            draws = np.stack([rng.standard_normal(start.shape[1:], np.float32) for rng in rngs])
            deviation = settings.noise * schedule.get_last_lr()[0]
            candidates += deviation * torch.from_numpy(draws).to(candidates)
        candidates.copy_(box(candidates))
        schedule.step()
    return best


def rate_schedule(settings: InversionSettings) -> Callable[[int], float]:
    """Return the factor of Adam's rate at each step, from 0."""
    steps = settings.steps

    def factor(step: int) -> float:
        if step < settings.warm_up:
            return (step + 1) / settings.warm_up
        if settings.optimiser == "signed-adam":
            return 0.1 ** sum(step >= steps * eighths // 8 for eighths in (3, 5, 7))
        return 0.5 * (1 + math.cos(math.pi * step / steps))

    return factor
