"""Natural gradient descent with a diagonal empirical Fisher matrix."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

START = 1.0  # of the Fisher matrix, where it is frozen


class DiagonalNaturalGradient(torch.optim.Optimizer):
    """F <- memory * F + (1 - memory) * g^2; step = g / (F + damping * mean F), its root mean square at most `longest`.

    Without a root, unlike Adam: where g is small the step grows like 1 / g, so the damping is a share of F's mean and
    the step of each tensor is cut. The first g^2 is F's start; with memory = 1, F stays at 1: plain descent, but for
    the cut.

    Args:
        parameters: tensors, or groups of them with a `learning_rate` of their own.
        learning_rate: of a step.
        memory: how much of F is kept at each step, in [0, 1].
        damping: share of F's mean over each tensor that is added to it.
        longest: root mean square of a tensor's step, at most, before it is multiplied by the learning rate.
    """

    def __init__(
        self,
        parameters: Iterable[Any],
        *,
        learning_rate: float,
        memory: float = 0.95,
        damping: float = 0.1,
        longest: float = float("inf"),
    ) -> None:
        super().__init__(parameters, {"learning_rate": learning_rate, "memory": memory, "damping": damping})
        self._longest = longest

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Take one step along the gradients that the parameters have."""
        for group in self.param_groups:
            for parameter in group["params"]:
                step = self._natural(parameter, group)
                length = float(step.square().mean().sqrt())
                parameter.sub_(
                    group["learning_rate"] * (self._longest / length if length > self._longest else 1.0) * step
                )

    def _natural(self, parameter: Tensor, group: dict[str, Any]) -> Tensor:
        gradient, state, memory = parameter.grad, self.state[parameter], group["memory"]
        assert gradient is not None
        squared = gradient.square()
        if "fisher" not in state:
            state["fisher"] = torch.full_like(squared, START) if memory == 1 else squared
        else:
            state["fisher"] = memory * state["fisher"] + (1 - memory) * squared
        fisher: Tensor = state["fisher"]
        damping = 0.0 if memory == 1 else group["damping"] * fisher.mean() + torch.finfo(fisher.dtype).tiny
        return gradient / (fisher + damping)
