"""Images in closed form, where the first thing a model does is a linear layer."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from torch import nn

from fedunlearn.attacks.base import ATTACKS, Attack, Finds
from fedunlearn.attacks.gradient_inversion.inversion import as_floats
from fedunlearn.attacks.gradient_inversion.labels import sought_labels
from fedunlearn.attacks.gradient_inversion.observing import CONVERTED, matchable
from fedunlearn.attacks.gradient_inversion.settings import ImageSettings
from fedunlearn.attacks.gradients import mean_gradient
from fedunlearn.attacks.targets import Target, choose_targets, each_target
from fedunlearn.models import Classifier
from fedunlearn.observer.access import Access, AccessRefused
from fedunlearn.observer.findings import Reconstructions
from fedunlearn.observer.knowledge import Knowledge
from fedunlearn.observer.view import View

FAINT = 1e-4  # of the largest bias gradient; in single precision, units below are mostly rounding
SAME = 1e-5  # root mean square distance, in pixels, of two readings of one image


@ATTACKS.register("linear-analytic")
class LinearAnalytic(Attack):
    """Images read off the gradient of a first linear layer with bias: exact for one image, no search.

    Unit k's weights have the gradient sum_i d_ik x_i and its bias sum_i d_ik, so their ratio is a mixture of the inputs
    with weights that add to one: the image itself where only one sets the unit off (one image in the batch, or a ReLU
    unit that the others leave cold). One reading of all units is exact for one image. For more, units that agree are
    read as one; those on which most units agree come first, then those that stay within [0, 1] best. Weights (FedAvg)
    are converted to the mean gradient, which mixes the images of all steps.

    Source: folklore, see Geiping et al., NeurIPS 2020, proposition D.1. Deviation: the choice among mixtures is ours.
    """

    Settings: ClassVar[type[ImageSettings]] = ImageSettings
    needs: ClassVar[Access] = "updates"
    finds: ClassVar[Finds] = "images"

    def run(self, view: View, knowledge: Knowledge, rng: np.random.Generator) -> Reconstructions:
        """Return as many distinct readings as there are images, per chosen update."""
        settings: ImageSettings = self.settings
        broadcast = as_floats(view.broadcast(settings.round))
        model = knowledge.model(broadcast)
        layer = first_linear(model)
        chosen = choose_targets(view, settings)
        rngs = dict(zip(chosen, rng.spawn(len(chosen)), strict=True))
        converted = False

        def read(place: Target) -> tuple[np.ndarray, np.ndarray]:
            nonlocal converted
            update = view.update(*place)
            gradient, _ = matchable(mean_gradient(update, broadcast, knowledge.learning), model, update.client_id)
            if not {f"{layer}.weight", f"{layer}.bias"} <= gradient.keys():
                raise AccessRefused(f"client {place[1]}: its update has no gradient of {layer}")
            total = update.num_examples
            if update.kind == "weights":
                converted, total = True, min(settings.images, total)
            inputs = readings(gradient[f"{layer}.weight"], gradient[f"{layer}.bias"], total, _scale(model, knowledge))
            labels = sought_labels(view, knowledge, place, settings, total, rngs[place])[0][0]
            return inputs.reshape(-1, *knowledge.image_shape), labels

        found, skipped = each_target(chosen, read)
        images, labels = zip(*found.values(), strict=True) if found else ((), ())
        notes: dict[str, Any] = {"layer": layer, "target": CONVERTED if converted else "gradient"}
        notes |= {"skipped": skipped} if skipped else {}
        return Reconstructions(tuple(found), images, labels, settings.label_source, notes)


def first_linear(model: nn.Module) -> str:
    """Return the name of the linear layer that sees the pixels.

    Raises:
        AccessRefused: when the first layer with weights is another one, or has no bias.
    """
    name, layer = next((n, m) for n, m in model.named_modules() if list(m.parameters(recurse=False)))
    if not isinstance(layer, nn.Linear) or layer.bias is None:
        raise AccessRefused(f"the first layer with weights, {name}, is no linear layer with a bias")
    return name


def _scale(model: Classifier, knowledge: Knowledge) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and deviation of every pixel, (d,) each."""
    shape = knowledge.image_shape
    mean, std = (np.broadcast_to(t.double().numpy(force=True), shape).ravel() for t in (model.mean, model.std))
    return mean, std


def readings(weight: np.ndarray, bias: np.ndarray, count: int, scale: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Return `count` images (count, d) in [0, 1], float32; the last one repeated where the units have too few.

    Args:
        weight: gradient (units, d) of the layer's weights.
        bias: gradient (units,) of its bias.
        count: how many images the client has.
        scale: mean and deviation (d,) of the model's normalisation.
    """
    mean, std = scale
    if count == 1:  # least squares over all units
        rows = (bias @ weight / (bias @ bias))[None]
    else:
        seen = np.abs(bias) > FAINT * np.abs(bias).max()
        rows = weight[seen] / bias[seen, None]
    pixels = mean + std * rows
    chosen = distinct(pixels)[:count]
    chosen = np.concatenate([chosen, np.repeat(chosen[-1:], count - len(chosen), axis=0)])
    return np.clip(pixels[chosen], 0, 1).astype(np.float32)


def distinct(pixels: np.ndarray) -> np.ndarray:
    """Return the rows of (units, d) that differ: the most often read first, then the nearest to [0, 1]."""
    excess = ((pixels - np.clip(pixels, 0, 1)) ** 2).mean(axis=1)
    left = list(np.argsort(excess, kind="stable"))
    readers: list[tuple[int, int]] = []  # (how many units read the same, row)
    while left:
        near = np.sqrt(((pixels[left] - pixels[left[0]]) ** 2).mean(axis=1)) < SAME
        readers.append((int(near.sum()), left[0]))
        left = [row for row, same in zip(left, near, strict=True) if not same]
    order = sorted(range(len(readers)), key=lambda place: -readers[place][0])
    return np.array([readers[place][1] for place in order])
