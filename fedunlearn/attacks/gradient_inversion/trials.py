"""Many candidates side by side: the loss of each and its derivative, for all of them in one evaluation."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fedunlearn.attacks.gradient_inversion.batch_norm import (
    Gauge,
    Statistics,
    normalised_layers,
    statistics_distance,
    use_batch_statistics,
)
from fedunlearn.attacks.gradient_inversion.objectives import OBJECTIVES
from fedunlearn.attacks.gradient_inversion.products import CosineDistance, can_tell
from fedunlearn.attacks.gradient_inversion.regularisers import (
    epoch_order,
    out_of_box,
    root_mean_square,
    total_variation,
)
from fedunlearn.attacks.gradient_inversion.settings import InversionSettings
from fedunlearn.attacks.gradient_inversion.simulation import Tensors, simulate
from fedunlearn.attacks.gradient_inversion.spaces import SPACES
from fedunlearn.attacks.gradient_inversion.stacked import stacked_losses
from fedunlearn.attacks.gradient_inversion.target import Target
from fedunlearn.models import Classifier

SMALL_MODEL = 300_000  # parameters; the maps of more images of a larger one leave the cache of a CPU
IMAGES = {"small": 64, "large": 8, "cuda": 1024}  # in one evaluation


def together(model: Classifier, device: str, images: int, told: bool) -> int:
    """Return how many trials share one batched evaluation: a fixed rule, so that it never depends on a measurement.

    As many as fit in a CPU's cache; one at a time where whole gradients are needed (not `told`) of large nets or of
    linear layers, which then gain nothing. On CUDA many, as every kernel is too small for it.

    Args:
        model: the network.
        device: "cpu" or "cuda".
        images: of one trial.
        told: whether the gradients are never written down (`CosineDistance`).
    """
    small = sum(parameter.numel() for parameter in model.parameters()) <= SMALL_MODEL
    if device == "cpu" and not told and (model.linear_only or not small):
        return 1
    limit = IMAGES["cuda" if device != "cpu" else "small" if small else "large"]
    return max(1, limit // images)


class Trials:
    """The losses of R candidates, each of its own target, as a function of all of them.

    Args:
        model: with the broadcast weights; it is copied, not changed.
        targets: of each trial; same work, names of gradients and kind of statistics.
        image_shape: (channels, height, width).
        settings: objective, regularisers, space and precision.
        restarts: trials in a row that are of one target, for the consistency between them.

    Attributes:
        space: where the candidates live.
        like: a tensor of their device and precision.
    """

    def __init__(
        self,
        model: Classifier,
        targets: Sequence[Target],
        image_shape: tuple[int, int, int],
        settings: InversionSettings,
        restarts: int = 1,
    ) -> None:
        first = targets[0]
        self._settings, self._restarts, self._work = settings, restarts, first.work
        self._model = copy.deepcopy(model).to(getattr(torch, settings.precision))
        if first.trained:
            use_batch_statistics(self._model)
        self._gauge = Gauge(self._model) if settings.batch_norm and normalised_layers(self._model) else None
        parameters = dict(self._model.named_parameters())
        self._weights = {name: weight.detach() for name, weight in parameters.items() if name in first.gradient}
        self.like = self._model.head.weight.detach()
        self._alone = all(target is first for target in targets)
        self._told = self._teller(first)
        self._together = together(model, self.like.device.type, self._work.images, self._told is not None)
        self.space = SPACES[settings.space](self._model, image_shape)
        self._own = self._stack(targets)

    def _teller(self, first: Target) -> CosineDistance | None:
        """Return the distance from the one observed gradient, where it can be told without writing gradients down."""
        one_step = self._work.steps == 1 and not self._work.decay
        if self._settings.objective != "cosine" or not self._alone or not one_step or self._gauge or first.trained:
            return None
        if not can_tell(self._model):
            return None
        observed = {name: torch.from_numpy(first.gradient[name]).to(self.like) for name in self._weights}
        return CosineDistance(self._model, observed)

    def _stack(self, targets: Sequence[Target]) -> Tensors:
        """Return what differs between trials, (R, ...) each: one view of it where all are of one target."""
        place, alone = self._model.head.weight, self._alone

        def stacked(arrays: Sequence[np.ndarray], kind: torch.dtype = place.dtype) -> Tensor:
            if alone:
                one = torch.from_numpy(np.asarray(arrays[0])).to(place.device, kind)
                return one.expand(len(targets), *one.shape)
            return torch.from_numpy(np.stack(arrays)).to(place.device, kind)

        own = {name: stacked([target.gradient[name] for target in targets]) for name in self._weights}
        own["labels"] = stacked([target.labels for target in targets], torch.int64)
        for layer in range(len(targets[0].statistics) if self._gauge else 0):
            for part, name in enumerate(("mean", "variance")):
                own[f"{name} {layer}"] = stacked([target.statistics[layer][part] for target in targets])
        return own

    def evaluate(self, candidates: Tensor, trials: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return losses (k,) and their derivatives for candidates (k, copies, n, C, H, W).

        Args:
            candidates: of all trials, or of those numbered.
            trials: (k,) their numbers; not with consistency, which is between all.
        """
        if trials is None:
            own = dict(self._own)
        elif self._alone:
            own = {name: values[: len(trials)] for name, values in self._own.items()}
        else:
            own = {name: values[trials] for name, values in self._own.items()}
        if self._settings.consistency:
            own["consensus"] = self._consensus(candidates)
        parts = []
        for start in range(0, len(candidates), self._together):
            chunk = slice(start, start + self._together)
            variable = candidates[chunk].detach().requires_grad_()
            losses = self.losses(variable, {name: values[chunk] for name, values in own.items()})
            parts.append((losses.detach(), torch.autograd.grad(losses.sum(), variable)[0]))
        return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])

    def _consensus(self, candidates: Tensor) -> Tensor:
        """Return for every trial the mean of the finite candidates of its target."""
        grouped = candidates.detach().unflatten(0, (-1, self._restarts))
        return grouped.nanmean(dim=1, keepdim=True).expand_as(grouped).flatten(0, 1)

    def losses(self, candidates: Tensor, own: Tensors) -> Tensor:
        """Return the losses (R,) of candidates (R, copies, n, C, H, W), given what differs between the trials."""
        settings = self._settings
        losses, seen = self._distances(candidates, own)
        if settings.total_variation:
            losses = losses + settings.total_variation * total_variation(self.space.picture(candidates))
        if settings.l2:
            losses = losses + settings.l2 * root_mean_square(candidates)
        if settings.box:
            losses = losses + settings.box * out_of_box(self.space.pixels(candidates))
        if settings.epoch_order and self._work.copies > 1:
            losses = losses + settings.epoch_order * epoch_order(self.space.pixels(candidates))
        if settings.consistency:
            losses = losses + settings.consistency * root_mean_square(candidates - own["consensus"])
        if seen:
            wanted = [(own[f"mean {layer}"], own[f"variance {layer}"]) for layer in range(len(seen))]
            losses = losses + settings.batch_norm * statistics_distance(seen, wanted)
        return losses

    def _distances(self, candidates: Tensor, own: Tensors) -> tuple[Tensor, Statistics]:
        """Return how far the gradients of candidates are from the observed ones, (R,), and their statistics."""
        if self._told:
            return self._told(self.space.inputs(candidates).squeeze(1), own["labels"][:, 0]), []
        found, seen = self.gradients(self.space.pixels(candidates), own["labels"])
        return OBJECTIVES[self._settings.objective](list(found.values()), [own[name] for name in found]), seen

    def gradients(self, pixels: Tensor, labels: Tensor) -> tuple[Tensors, Statistics]:
        """Return what clients with these images and labels would send, and the statistics of their first local steps.

        Args:
            pixels: (R, copies, n, C, H, W) in [0, 1].
            labels: int64 (R, copies, n).

        Returns:
            (R, ...) of every matched parameter; and of every layer of batch normalisation the means and variances
            (R, channels), none where the loss does not ask for them.
        """
        first: Statistics = []

        def differentiate(weights: Tensors, images: Tensor, classes: Tensor) -> Tensors:
            nonlocal first
            losses, seen = stacked_losses(self._model, weights, images, classes, self._gauge)
            first = first or seen
            parts = torch.autograd.grad(losses.sum(), list(weights.values()), create_graph=True)
            return dict(zip(weights, parts, strict=True))

        size = len(pixels)
        weights = {name: w.expand(size, *w.shape).requires_grad_() for name, w in self._weights.items()}
        return simulate(self._work, differentiate, weights, pixels, labels), first
