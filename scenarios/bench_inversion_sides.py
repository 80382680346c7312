"""Who is compared: our `inverting-gradients`, and the published algorithm as a plain loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import torch
from bench_inversion_cases import Case, to_pixels
from torch import Tensor

from fedunlearn.attacks import ATTACKS
from fedunlearn.attacks.gradient_inversion.search import rebuild
from fedunlearn.attacks.gradient_inversion.settings import InversionSettings
from fedunlearn.attacks.gradient_inversion.simulation import LocalWork
from fedunlearn.attacks.gradient_inversion.target import Target
from fedunlearn.attacks.gradient_inversion.trials import Trials

RATE = 0.1
Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Attempt:
    """What a side came to.

    Attributes:
        images: (n, C, H, W) in [0, 1], of its best restart.
        seconds: of the clock, for all restarts.
        cpu_seconds: of this side's process.
    """

    images: np.ndarray
    seconds: float
    cpu_seconds: float


class Side(Protocol):
    """Somebody who inverts gradients by signed Adam on cosine distance and total variation."""

    def attack(self, case: Case, steps: int, smoothness: float) -> Attempt:
        """Return the best of all restarts, total variation weighing `smoothness`."""
        ...

    def objectives(self, case: Case, steps: int) -> np.ndarray:
        """Return every restart's objective without total variation before each step, (restarts, steps)."""
        ...


def timed(work: Callable[[], Result]) -> tuple[Result, float, float]:
    """Return what `work` returns, the seconds that it took and those of this process."""
    began, busy = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - began, time.process_time() - busy


class Ours:
    """The attack `inverting-gradients` of this project, all restarts together."""

    def attack(self, case: Case, steps: int, smoothness: float) -> Attempt:
        """Return the best of all restarts."""
        model, settings, starts = case.model(), _settings(case, steps, smoothness), torch.from_numpy(case.starts)
        rng = np.random.default_rng(0)  # draws nothing: the starts are given
        work = lambda: rebuild(model, case.gradient, case.labels, case.shape, settings, rng, starts=starts)  # noqa: E731
        found, seconds, cpu_seconds = timed(work)
        return Attempt(found.images, seconds, cpu_seconds)

    def objectives(self, case: Case, steps: int) -> np.ndarray:
        """Return every restart's objective before each step, by the same evaluation as the attack."""
        settings, count = _settings(case, steps, 0.0), len(case.labels)
        target = Target(case.gradient, case.labels[None], LocalWork(count, count))
        trials = Trials(case.model(), [target] * len(case.starts), case.shape, settings, len(case.starts))

        def evaluate(candidates: Tensor) -> tuple[Tensor, Tensor]:
            losses, derivatives = trials.evaluate(candidates[:, None])
            return losses, derivatives[:, 0]

        return _signed_adam(case, torch.from_numpy(case.starts), steps, evaluate)[1]


class PlainLoop:
    """Geiping et al. (NeurIPS 2020) as written: one restart after the other, double backward, `torch.optim.Adam`."""

    def attack(self, case: Case, steps: int, smoothness: float) -> Attempt:
        """Return the best of all restarts."""

        def search() -> np.ndarray:
            tried = [
                _signed_adam(case, start, steps, _double_backward(case, smoothness)) for start in self._starts(case)
            ]
            best = min(range(len(tried)), key=lambda trial: tried[trial][1].min())
            return to_pixels(case.model(), tried[best][0][0])

        return Attempt(*timed(search))

    def objectives(self, case: Case, steps: int) -> np.ndarray:
        """Return every restart's objective before each step."""
        evaluate = _double_backward(case, 0.0)
        return np.concatenate([_signed_adam(case, start, steps, evaluate)[1] for start in self._starts(case)])

    def _starts(self, case: Case) -> tuple[Tensor, ...]:
        return torch.from_numpy(case.starts).split(1)


def _settings(case: Case, steps: int, smoothness: float) -> InversionSettings:
    attack = ATTACKS["inverting-gradients"]
    fields = {"steps": steps, "total_variation": smoothness, "restarts": len(case.starts), "tolerance": 0.0}
    return attack.Settings(**fields)  # type: ignore[return-value]


def _double_backward(case: Case, smoothness: float) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Return the function from one normalised candidate (1, n, C, H, W) to its objective and derivative."""
    model = case.model()
    parameters = list(model.parameters())
    observed = [torch.from_numpy(case.gradient[name]) for name, _ in model.named_parameters()]
    labels = torch.from_numpy(case.labels)
    norm = _norm(observed)

    def evaluate(candidate: Tensor) -> tuple[Tensor, Tensor]:
        x = candidate.detach().requires_grad_()
        loss = model.loss(model.mean + model.std * x[0], labels)
        found = torch.autograd.grad(loss, parameters, create_graph=True)
        product = sum((f * o).sum() for f, o in zip(found, observed, strict=True))
        objective = 1 - product / (_norm(found) * norm)
        if smoothness:
            across, down = (x.diff(dim=axis).abs().mean() for axis in (-1, -2))
            objective = objective + smoothness * (across + down)
        return objective.detach()[None], torch.autograd.grad(objective, x)[0]

    return evaluate


def _norm(parts: Sequence[Tensor]) -> Tensor:
    return torch.stack([part.pow(2).sum() for part in parts]).sum().sqrt()


def _signed_adam(
    case: Case, start: Tensor, steps: int, evaluate: Callable[[Tensor], tuple[Tensor, Tensor]]
) -> tuple[Tensor, np.ndarray]:
    """Return the candidate after the last step and the objectives before each step, (restarts, steps)."""
    model = case.model()
    low, high = ((edge - model.mean) / model.std for edge in (0, 1))
    candidate = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([candidate], lr=RATE)
    milestones = [int(steps // divisor) for divisor in (2.667, 1.6, 1.142)]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, milestones, gamma=0.1)
    objectives = []
    for _ in range(steps):
        objective, derivative = evaluate(candidate)
        objectives.append(objective)
        candidate.grad = derivative.sign()
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            candidate.copy_(torch.maximum(torch.minimum(candidate, high), low))
    return candidate.detach(), torch.stack(objectives, dim=1).numpy()
