"""A model of linear layers with a copy of its weights for every client, applied to all of them at once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fedunlearn.models import Classifier

Tensors = dict[str, Tensor]

REGISTER = 16  # floats in the widest vector register


class StackedModel:
    """Forward and backward pass of k clients by batched matrix products.

    This is what `torch.func.vmap` does, with one thing more: a client's result does not depend, to the last bit,
    on the clients beside it. Matrix libraries sum in an order that depends on where a row begins relative to a
    vector register, so rows are padded with zeros to whole registers: every client's then begin alike. And torch
    computes activations two registers at a time, the rest of an array by other code: so there must be no rest.

    Args:
        model: a linear-only classifier; its own weights are not used.
    """

    def __init__(self, model: Classifier) -> None:
        self._model = model
        body = [(f"body.{name}", layer) for name, layer in model.body.named_children()]
        self._layers = [pair for pair in [*body, ("head", model.head)] if not isinstance(pair[1], nn.Flatten)]

    def widen(self, weights: Tensors) -> Tensors:
        """Return the weights with the rows of matrices (..., outputs, inputs) padded."""
        return {name: _pad(tensor, REGISTER) if name.endswith("weight") else tensor for name, tensor in weights.items()}

    def gradients(self, weights: Tensors, images: Tensor, labels: Tensor, shares: Tensor) -> tuple[Tensors, Tensor]:
        """Return each client's gradient of its weighted cross-entropy, and that loss.

        Args:
            weights: widened, each (k, ...); views that repeat one model k times will do.
            images: (k, n, C, H, W) in [0, 1].
            labels: int64 (k, n).
            shares: (k, n), the weight of each sample in its client's loss.

        Returns:
            The gradients, laid out like `weights`, and the losses (k,).
        """
        weights = {name: stack.detach().requires_grad_() for name, stack in weights.items()}
        x = ((images - self._model.mean) / self._model.std).flatten(start_dim=2)
        for name, layer in self._layers:
            if isinstance(layer, nn.Linear):
                x = StackedLinear.apply(_pad(x, REGISTER), weights[f"{name}.weight"], weights[f"{name}.bias"])
            else:
                x = layer(_pad(x, 2 * REGISTER))[..., : x.shape[-1]]
        losses = F.cross_entropy(x.flatten(end_dim=1), labels.flatten(), reduction="none").view_as(shares)
        losses = (losses * shares).sum(dim=1)
        gradients = torch.autograd.grad(losses.sum(), list(weights.values()))
        return dict(zip(weights, gradients, strict=True)), losses.detach()


class StackedLinear(torch.autograd.Function):
    """x W' + b for k clients; unlike autograd's, the gradient of W lies in memory as W does."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return (k, n, outputs) for x (k, n, inputs), weight (k, outputs, inputs) and bias (k, outputs)."""
        ctx.save_for_backward(x, weight)
        return torch.baddbmm(bias.unsqueeze(1), x, weight.mT)

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        """Return the gradients of x, weight and bias, given that of the output."""
        (gradient,) = outer
        x, weight = ctx.saved_tensors
        inner = gradient.bmm(weight) if ctx.needs_input_grad[0] else None
        return inner, gradient.mT.bmm(x), gradient.sum(dim=1)


def _pad(rows: Tensor, multiple: int) -> Tensor:
    missing = -rows.shape[-1] % multiple
    return F.pad(rows, (0, missing)) if missing else rows


def trim(stacks: Tensors, original: Tensors) -> Tensors:
    """Return stacks (k, ...) of widened tensors, cut back to the row length of the `original` ones."""
    return {name: stack[..., : original[name].shape[-1]] for name, stack in stacks.items()}
