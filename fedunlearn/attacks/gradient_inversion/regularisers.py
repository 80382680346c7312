"""What else is asked of candidates: to be smooth, small, in the box, like their siblings. One number each, (R,)."""

import torch
from torch import Tensor


def total_variation(images: Tensor) -> Tensor:
    """Return mean |dx| + mean |dy| of images (R, ..., H, W), as in JonasGeiping/invertinggradients."""
    across = (images[..., :, 1:] - images[..., :, :-1]).abs()
    down = (images[..., 1:, :] - images[..., :-1, :]).abs()
    return across.flatten(1).mean(dim=1) + down.flatten(1).mean(dim=1)


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
