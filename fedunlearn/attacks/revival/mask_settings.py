"""How the revival attacks are told where weights are missing."""

from __future__ import annotations

from pydantic import Field

from fedunlearn.attacks.revival import masks
from fedunlearn.attacks.revival.masks import MaskName
from fedunlearn.federation import Weights
from fedunlearn.observer.view import View
from fedunlearn.settings import Settings


class MaskSettings(Settings):
    """Settings of the attacks that look for what is missing."""

    mask: MaskName = Field(
        default="zeros",
        description="Where weights are missing. zeros; known (flag mask-known); difference: what became 0 with the "
        "request, or where nothing did what alone changed (access weights-before-after); smallest, scaled: the "
        "`fraction` that is smallest by |w|, or by |w| times its column's norm; mixture, row-mixture: as "
        "many of the smallest as the narrower of two normal distributions holds, fitted to a layer or to a row.",
    )
    fraction: float = Field(default=0.08, gt=0, lt=1, description="Share of a layer that smallest and scaled mark.")
    layers: tuple[str, ...] = Field(
        default=(),
        strict=False,
        description='Tensors that are looked at ("body.fc2.weight"); absent: every weight matrix.',
    )


def find_mask(view: View, weights: Weights, settings: MaskSettings) -> Weights:
    """Return where weights are missing, bool (outputs, inputs) by tensor, as the settings say.

    Raises:
        AccessRefused: where nothing was pruned, or view or flags do not give what the mask is told by.
    """
    layers = masks.matrices(weights, settings.layers)
    if settings.mask == "zeros":
        return masks.exact_zeros(layers)
    if settings.mask == "known":
        told = masks.known(view.pruned())
        return {name: mask for name, mask in told.items() if name in layers}
    if settings.mask == "difference":
        return masks.difference(masks.matrices(view.before(), settings.layers), layers)[1]
    if settings.mask == "smallest":
        return masks.smallest(layers, settings.fraction)
    if settings.mask == "scaled":
        return masks.scaled(layers, settings.fraction)
    return masks.mixture(layers, by_row=settings.mask == "row-mixture")
