"""How a candidate is moved towards the observed gradient."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

Loss = Callable[[Tensor], Tensor]  # candidate (n, C, H, W) -> scalar
Watch = Callable[[int, float], None]  # (steps done, loss)
INNER = 20  # L-BFGS iterations between two looks at the loss
PATIENCE = 5  # looks in a row without this much progress end the search
PROGRESS = 0.98


@dataclass(frozen=True)
class Candidate:
    """Images (n, C, H, W) in [0, 1] and their loss; NaN images and an infinite loss where the search diverged."""

    images: Tensor
    loss: float


class Optimiser(Protocol):
    """Moves a start to a better candidate in at most `steps` iterations, stopping early at a loss of `tolerance`."""

    def __call__(self, loss: Loss, start: Tensor, steps: int, tolerance: float, watch: Watch) -> Candidate:
        """Return the best candidate found."""
        ...


def lbfgs(loss: Loss, start: Tensor, steps: int, tolerance: float, watch: Watch) -> Candidate:
    """L-BFGS with strong Wolfe line search and a history of 100: for smooth models (sigmoid, tanh).

    The search is not bounded; its result is clamped to [0, 1] at the end. It ends early when five times 20
    iterations in a row each gain less than 2 %.
    """
    images = start.clone().contiguous().requires_grad_()
    optimiser = torch.optim.LBFGS(
        [images],
        max_iter=INNER,
        history_size=100,
        line_search_fn="strong_wolfe",
        tolerance_grad=0,
        tolerance_change=0,
    )

    def closure() -> Tensor:
        value = loss(images)
        (images.grad,) = torch.autograd.grad(value, images)
        return value.detach()

    best, stalled = Candidate(torch.full_like(start, math.nan), math.inf), 0
    for done in range(INNER, steps + INNER, INNER):
        before = float(optimiser.step(closure))
        value = float(loss(images).detach())
        if not math.isfinite(value):
            break
        if value < best.loss:
            best = Candidate(images.detach().clamp(0, 1), value)
        watch(done, value)
        stalled = stalled + 1 if value > PROGRESS * before else 0
        if value <= tolerance or stalled >= PATIENCE:
            break
    return best


def signed_adam(loss: Loss, start: Tensor, steps: int, tolerance: float, watch: Watch) -> Candidate:
    """Adam fed with the sign of the gradient, rate 0.1 cut to a tenth at 3/8, 5/8 and 7/8, clamped to [0, 1].

    Works where the model is not smooth (ReLU). Deviation from Geiping et al.: the box is that of pixels, as the
    candidate lives in pixel space; the best candidate by loss is returned, not the last.
    """
    images = start.clamp(0, 1).requires_grad_()
    optimiser = torch.optim.Adam([images], lr=0.1)
    milestones = [steps * eighths // 8 for eighths in (3, 5, 7)]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, milestones, gamma=0.1)
    best = Candidate(torch.full_like(start, math.nan), math.inf)
    for done in range(steps):
        current = loss(images)
        value = float(current.detach())
        if not math.isfinite(value):
            break
        if value < best.loss:
            best = Candidate(images.detach().clone(), value)
        if done % 100 == 0:
            watch(done, value)
        if value <= tolerance:
            break
        images.grad = torch.autograd.grad(current, images)[0].sign()
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            images.clamp_(0, 1)
    return best


OPTIMISERS: dict[str, Optimiser] = {"lbfgs": lbfgs, "signed-adam": signed_adam}
