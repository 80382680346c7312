"""What else is asked of candidates: to be smooth, small, in the box, like their siblings. One number each, (R,)."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable


def total_variation(images: Tensor) -> Tensor:
    """Return mean |dx| + mean |dy| of images (R, ..., H, W), as in JonasGeiping/invertinggradients."""
    return TotalVariation.apply(images)


class TotalVariation(Function):
    """`total_variation`: its derivative is a few signs, but autograd writes a whole image for each slice of one."""

    @staticmethod
    def forward(ctx: Any, images: Tensor) -> Tensor:
        """Return (R,)."""
        ctx.shape, total = images.shape, images.new_zeros(len(images))
        ctx.differences = [images.diff(dim=axis) for axis in (-1, -2)]
        for differences in ctx.differences:
            total += torch.linalg.vector_norm(differences.flatten(1), 1, dim=1) / differences[0].numel()
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> Tensor:
        """Return the derivative for the images."""
        slope = outer.new_zeros(ctx.shape)
        for axis, differences in zip((-1, -2), ctx.differences, strict=True):
            signs, side = differences.sign(), ctx.shape[axis]
            slope.narrow(axis, 1, side - 1).add_(signs, alpha=1 / differences[0].numel())
            slope.narrow(axis, 0, side - 1).sub_(signs, alpha=1 / differences[0].numel())
        return slope.mul_(outer.view(-1, *(1 for _ in ctx.shape[1:])))


def out_of_box(pixels: Tensor) -> Tensor:
    """Return the mean squared distance of pixels (R, ...) from [0, 1].

    Source: Geng et al., arXiv 2110.09074, and Dimitrov et al., TMLR 2022. Deviation: a mean, not a sum.
    """
    return (pixels - pixels.clamp(0, 1)).flatten(1).square().mean(dim=1)


def root_mean_square(values: Tensor) -> Tensor:
    """Return the root mean square of values (R, ...); its derivative at zero is taken as zero.

    Source: the norms of GradInversion (Yin et al., CVPR 2021). Deviation: divided by the root of the number of
    values, so that one weight serves every image size.
    """
    return torch.linalg.vector_norm(values.flatten(1), dim=1) / values[0].numel() ** 0.5


def epoch_order(copies: Tensor) -> Tensor:
    """Return the mean squared difference between copies (R, E, n, C, H, W), whatever the order of the images in each.

    Every copy is summed up by the mean and the maximum of its images, pixel by pixel. Source: the order-invariant
    prior of Dimitrov et al., Data Leakage in Federated Averaging, TMLR 2022. Deviations: mean and maximum together,
    no random convolution before them; each copy is compared with the mean of all, which is half the mean over pairs.
    """
    sums = torch.stack([copies.mean(dim=2), copies.amax(dim=2)], dim=1)
    return (sums - sums.mean(dim=2, keepdim=True)).flatten(1).square().mean(dim=1)
