"""Convolutions whose second derivatives are convolutions as well, for many trials of one network at once.

PyTorch differentiates a convolution's backward pass by way of kernels as large as the maps, and computes a gradient of
the weights that nobody asks for. Here each of the four derivatives that a search needs is one ordinary convolution.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

NARROW = 16  # output channels; up to here one grouped convolution is faster than one convolution per trial
Pair = tuple[int, int]


class SharedConvolution(Function):
    """The convolution of maps (N, C, H, W) with weights that are constants."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair) -> Tensor:
        """Return (N, O, h, w)."""
        ctx.save_for_backward(maps)
        ctx.layer = (weight, stride, padding)
        return torch.conv2d(maps, weight, bias, stride, padding)

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None, None, None, None]:
        """Return the derivative for the maps."""
        return InputGradient.apply(outer, ctx.saved_tensors[0], *ctx.layer), None, None, None, None


class InputGradient(Function):
    """The derivative of `SharedConvolution` with respect to its maps, linear in what comes from outside."""

    @staticmethod
    def forward(ctx: Any, outer: Tensor, maps: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
        """Return (N, C, H, W)."""
        ctx.layer = (weight, stride, padding)
        return _backward(outer, maps, weight, stride, padding, wanted=0)

    @staticmethod
    def backward(ctx: Any, again: Tensor) -> tuple[Tensor, None, None, None, None]:
        """Return the derivative for `outer`."""
        weight, stride, padding = ctx.layer
        return torch.conv2d(again, weight, None, stride, padding), None, None, None, None


class WeightGradients(Function):
    """Each trial's gradient of a convolution's weights, bilinear in its maps and in the derivative of its outputs."""

    @staticmethod
    def forward(
        ctx: Any, maps: Tensor, outer: Tensor, weight: Tensor, trials: int, stride: Pair, padding: Pair
    ) -> Tensor:
        """Return (R, O, C, k, k) for maps (R n, C, H, W) and derivatives (R n, O, h, w)."""
        ctx.layer, ctx.grouped = (trials, stride, padding), trials > 1 and len(weight) <= NARROW
        if ctx.grouped:
            maps, outer = _abreast(maps, trials), _abreast(outer, trials)
            like = weight.expand(trials, *weight.shape).flatten(0, 1)
            gradients = _backward(outer, maps, like, stride, padding, wanted=1, groups=trials).view(-1, *weight.shape)
        else:
            gradients = weight.new_empty(trials, *weight.shape)
            for trial, (d, m) in enumerate(zip(outer.chunk(trials), maps.chunk(trials), strict=True)):
                gradients[trial] = _backward(d, m, weight, stride, padding, wanted=1)
        ctx.save_for_backward(maps, outer)
        return gradients

    @staticmethod
    def backward(ctx: Any, directions: Tensor) -> tuple[Tensor, Tensor, None, None, None, None]:
        """Return the derivatives for the maps and for `outer`: convolutions with `directions` as weights."""
        (maps, outer), (trials, stride, padding) = ctx.saved_tensors, ctx.layer
        if ctx.grouped:
            weight = directions.flatten(0, 1)
            for_outer = _in_a_row(torch.conv2d(maps, weight, None, stride, padding, 1, trials), trials)
            for_maps = _in_a_row(_backward(outer, maps, weight, stride, padding, wanted=0, groups=trials), trials)
        else:
            parts = list(zip(maps.chunk(trials), outer.chunk(trials), directions, strict=True))
            for_outer = torch.cat([torch.conv2d(m, v, None, stride, padding) for m, _, v in parts])
            for_maps = torch.cat([_backward(d, m, v, stride, padding, wanted=0) for m, d, v in parts])
        return for_maps, for_outer, None, None, None, None


def _backward(
    outer: Tensor, maps: Tensor, weight: Tensor, stride: Pair, padding: Pair, wanted: int, groups: int = 1
) -> Tensor:
    """Return a convolution's derivative for its maps (wanted = 0) or its weights (1)."""
    mask = (wanted == 0, wanted == 1, False)
    layer = (None, stride, padding, (1, 1), False, (0, 0), groups, mask)  # no bias, dilation 1, not transposed
    return torch.ops.aten.convolution_backward(outer, maps, weight, *layer)[wanted]


def _abreast(maps: Tensor, trials: int) -> Tensor:
    """Return maps (R n, C, H, W) as (n, R C, H, W), the layout of a grouped convolution, channels last in memory."""
    by_trial = maps.unflatten(0, (trials, -1)).permute(1, 3, 4, 0, 2)  # (n, H, W, R, C)
    return by_trial.flatten(3).permute(0, 3, 1, 2)


def _in_a_row(maps: Tensor, trials: int) -> Tensor:
    """Return maps (n, R C, H, W) as (R n, C, H, W), channels last in memory."""
    by_trial = maps.permute(0, 2, 3, 1).unflatten(3, (trials, -1)).permute(3, 0, 1, 2, 4)  # (R, n, H, W, C)
    return by_trial.flatten(0, 1).permute(0, 3, 1, 2)
