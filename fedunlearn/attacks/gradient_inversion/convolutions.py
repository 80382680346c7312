"""Convolutions whose second derivatives are convolutions as well, for many trials of one network at once.

PyTorch differentiates a convolution's backward pass by way of kernels as large as the maps, and computes a gradient of
the weights that nobody asks for. Here each of the four derivatives that a search needs is one ordinary convolution.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

NARROW = 16  # channels; up to here one grouped convolution is faster than one convolution per trial
LANES = 16  # results of a group that a CPU computes at once: 12 channels are slower than 16
Pair = tuple[int, int]


class Kernel:
    """What convolves maps (N, G C, H, W) to (N, G O, h, w): the weights of G groups and how they are applied.

    Args:
        weight: (G O, C, k, l).
        stride: down and across.
        padding: with zeros, down and across.
        groups: G.
    """

    def __init__(self, weight: Tensor, stride: Pair, padding: Pair, groups: int = 1) -> None:
        self.weight, self._stride, self._padding, self._groups = weight, stride, padding, groups

    def like(self, weight: Tensor, groups: int = 1) -> Kernel:
        """Return other weights that are applied in the same way."""
        return Kernel(weight, self._stride, self._padding, groups)

    def run(self, maps: Tensor, bias: Tensor | None = None) -> Tensor:
        """Return the convolved maps of all groups in a row, (G N, O, h, w)."""
        if self._groups == 1:
            return torch.conv2d(maps, self.weight, bias, self._stride, self._padding)
        by_group = self.weight.unflatten(0, (self._groups, -1))
        _, size, channels, height, width = by_group.shape
        weight = by_group.new_zeros(self._groups, _in_lanes(size), height, width, channels).permute(0, 1, 4, 2, 3)
        weight[:, :size] = by_group
        outputs = torch.conv2d(maps, weight.flatten(0, 1), bias, self._stride, self._padding, 1, self._groups)
        return in_a_row(outputs, self._groups, size)

    def input_gradient(self, outer: Tensor, maps: Tensor) -> Tensor:
        """Return the derivative for the maps, of all groups in a row, (G N, C, H, W), given that of the outputs."""
        channels = self.weight.shape[1]
        if (phases := self._phases(maps, outer)) is None:
            return in_a_row(self.derivative(outer, maps, wanted=0), self._groups, channels)
        weight, padding = phases
        sides = (size // step for size, step in zip(maps.shape[2:], self._stride, strict=True))
        like = maps.new_empty(len(maps), *sides, self._groups * weight.shape[1]).permute(0, 3, 1, 2)
        plain = Kernel(weight, (1, 1), padding, self._groups)
        return in_a_row(plain.derivative(outer, like, wanted=0), self._groups, channels, self._stride)

    def weight_gradient(self, outer: Tensor, maps: Tensor) -> Tensor:
        """Return the derivative for the weights."""
        return self.derivative(outer, maps, wanted=1)

    def derivative(self, outer: Tensor, maps: Tensor, wanted: int) -> Tensor:
        """Return the derivative for the maps (`wanted` 0) or the weights (1), given that of the outputs."""
        mask = (wanted == 0, wanted == 1, False)
        layer = (None, self._stride, self._padding, (1, 1), False, (0, 0), self._groups, mask)  # no bias, dilation 1
        return torch.ops.aten.convolution_backward(outer, maps, self.weight, *layer)[wanted]

    def _phases(self, maps: Tensor, outputs: Tensor) -> tuple[Tensor, Pair] | None:
        """Return weights and padding of the same convolution without strides, the pixels of a stride as channels.

        Its derivative is several times as fast on a CPU as that of a narrow convolution with strides. Pixel s q + r of
        the maps, channel r of pixel q, is seen by output q + j through tap r + padding - s j (the sub-pixel
        convolution of Shi et al., CVPR 2016). None where the padding would differ between opposite sides, and where
        nothing is gained: one image a group is not worth arranging the weights.
        """
        plain = self._groups == 1 and self._stride == (1, 1)
        if plain or self.weight.shape[1] > NARROW or maps.device.type != "cpu" or len(maps) == 1 < self._groups:
            return None
        paddings = []
        for axis, (step, padding) in enumerate(zip(self._stride, self._padding, strict=True), start=2):
            size, rest = divmod(maps.shape[axis], step)
            farthest = (step - 1 + padding) // step
            taps = -(-(farthest * step - padding + self.weight.shape[axis]) // step)
            if rest or size + 2 * farthest - taps + 1 != outputs.shape[axis]:
                return None
            paddings.append(farthest)
        return self._phase_weight, (paddings[0], paddings[1])

    @cached_property
    def _phase_weight(self) -> Tensor:
        """(G O, s t C, k / s, l / t), with zeros for more channels if there are several groups."""
        (down, across), border = self._stride, list[int]()
        for axis, (step, padding) in enumerate(zip(self._stride, self._padding, strict=True), start=2):
            before = (step - 1 + padding) // step * step - padding
            border = [before, -(before + self.weight.shape[axis]) % step, *border]  # the last axis comes first
        parts = F.pad(self.weight, border).unflatten(3, (-1, across)).unflatten(2, (-1, down))
        size, channels, height, _, width, _ = parts.shape
        wanted = down * across * channels
        phases = parts.new_zeros(size, height, width, wanted if self._groups == 1 else _in_lanes(wanted))
        phases[..., :wanted].unflatten(3, (down, across, channels)).copy_(parts.permute(0, 2, 4, 3, 5, 1))
        return phases.permute(0, 3, 1, 2)


class SharedConvolution(Function):
    """The convolution of maps (N, C, H, W) with weights that are constants."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, kernel: Kernel, bias: Tensor | None) -> Tensor:
        """Return (N, O, h, w)."""
        ctx.save_for_backward(maps)
        ctx.kernel = kernel
        return kernel.run(maps, bias)

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None, None]:
        """Return the derivative for the maps."""
        return InputGradient.apply(outer, ctx.saved_tensors[0], ctx.kernel), None, None


class InputGradient(Function):
    """The derivative of `SharedConvolution` with respect to its maps, linear in what comes from outside."""

    @staticmethod
    def forward(ctx: Any, outer: Tensor, maps: Tensor, kernel: Kernel) -> Tensor:
        """Return (N, C, H, W)."""
        ctx.kernel = kernel
        return kernel.input_gradient(outer, maps)

    @staticmethod
    def backward(ctx: Any, again: Tensor) -> tuple[Tensor, None, None]:
        """Return the derivative for `outer`."""
        return ctx.kernel.run(again), None, None


class WeightTerms(Function):
    """What an angle takes of each trial's gradient of a convolution's weights: a product and the squared norm."""

    @staticmethod
    def forward(
        ctx: Any, maps: Tensor, outer: Tensor, observed: Tensor, trials: int, kernel: Kernel
    ) -> tuple[Tensor, Tensor]:
        """Return the products with the observed gradient (O, C, k, l), and the squared norms, (R,) each.

        Args:
            maps: (R n, C, H, W).
            outer: (R n, O, h, w), the derivatives of the outputs.
            observed: the observed gradient.
            trials: R.
            kernel: of the layer, with any weights.
        """
        ctx.layer, ctx.grouped = (observed, trials, kernel), trials > 1 and len(observed) <= NARROW
        if ctx.grouped:
            maps, outer = _abreast(maps, trials), _abreast(outer, trials)
            abreast = kernel.like(observed.expand(trials, *observed.shape).flatten(0, 1), trials)
            gradients = abreast.weight_gradient(outer, maps).view(-1, *observed.shape)
        else:
            gradients = observed.new_empty(trials, *observed.shape)
            for trial, (d, m) in enumerate(zip(outer.chunk(trials), maps.chunk(trials), strict=True)):
                gradients[trial] = kernel.weight_gradient(d, m)
        ctx.save_for_backward(maps, outer, gradients)
        flat = gradients.flatten(1)
        return flat @ observed.flatten(), flat.square().sum(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, products: Tensor, squares: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        """Return the derivatives for the maps and for `outer`: convolutions with those for the gradients as weights."""
        (maps, outer, gradients), (observed, trials, layer) = ctx.saved_tensors, ctx.layer
        along, outwards = (factors.view(-1, 1, 1, 1, 1) for factors in (products, squares))
        directions = (along * observed).addcmul_(outwards, gradients, value=2)
        if ctx.grouped:
            kernel = layer.like(directions.flatten(0, 1), trials)
            for_outer, for_maps = kernel.run(maps), kernel.input_gradient(outer, maps)
        else:
            kernels = [layer.like(direction) for direction in directions]
            parts = list(zip(kernels, maps.chunk(trials), outer.chunk(trials), strict=True))
            for_outer = torch.cat([kernel.run(m) for kernel, m, _ in parts])
            for_maps = torch.cat([kernel.input_gradient(d, m) for kernel, m, d in parts])
        return for_maps, for_outer, None, None, None


def in_a_row(maps: Tensor, groups: int, channels: int, stride: Pair = (1, 1)) -> Tensor:
    """Return maps (n, G K, h, w) as (G n, C, s h, t w), channels last in memory.

    Args:
        maps: in every group channels (s, t, C) of each pixel of a stride, and perhaps others after them.
        groups: G.
        channels: C.
        stride: (s, t).
    """
    down, across = stride
    by_group = maps.permute(0, 2, 3, 1).unflatten(3, (groups, -1))[..., : down * across * channels]  # (n, h, w, G, K)
    pixels = by_group.unflatten(4, (down, across, channels)).permute(3, 0, 1, 4, 2, 5, 6)  # (G, n, h, s, w, t, C)
    return pixels.flatten(4, 5).flatten(2, 3).flatten(0, 1).permute(0, 3, 1, 2)


def _abreast(maps: Tensor, trials: int) -> Tensor:
    """Return maps (R n, C, H, W) as (n, R C, H, W), the layout of a grouped convolution, channels last in memory."""
    by_trial = maps.unflatten(0, (trials, -1)).permute(1, 3, 4, 0, 2)  # (n, H, W, R, C)
    return by_trial.flatten(3).permute(0, 3, 1, 2)


def _in_lanes(channels: int) -> int:
    """Return how many channels are computed, the rest of them zero."""
    return -(-channels // LANES) * LANES
