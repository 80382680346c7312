"""Images from a gradient, by search for images whose gradient matches."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from fedunlearn.attacks.base import ATTACKS, Attack, Finds
from fedunlearn.attacks.gradient_inversion.objectives import OBJECTIVES, total_variation
from fedunlearn.attacks.gradient_inversion.optimisers import OPTIMISERS, Candidate, Loss
from fedunlearn.attacks.gradients import mean_gradient
from fedunlearn.attacks.label_restoration.restoring import round_counts
from fedunlearn.attacks.targets import Clients, Target, UpdateSettings, choose_targets
from fedunlearn.federation import Weights
from fedunlearn.models import Classifier
from fedunlearn.observer.access import Access
from fedunlearn.observer.findings import LabelCounts, Reconstructions
from fedunlearn.observer.knowledge import Knowledge
from fedunlearn.observer.view import View

RestartWatch = Callable[[int, int, float], None]  # (number of the restart from 1, steps done, loss)


class MatchingSettings(UpdateSettings):
    """Settings of `gradient-matching`."""

    clients: Clients = Field(
        default="first", description='The clients: "first" (the lowest id that answered), "all" or a list of ids.'
    )
    objective: Literal["euclidean", "cosine"] = Field(
        default="euclidean", description="How the distance of two gradients is measured."
    )
    optimiser: Literal["lbfgs", "signed-adam"] = Field(
        default="lbfgs", description="L-BFGS for smooth models, signed Adam for ReLU models."
    )
    total_variation: float = Field(default=0.0, ge=0, description="Weight of mean |dx| + mean |dy| in the loss.")
    steps: int = Field(default=3000, ge=1, description="Iterations of the optimiser, at most, per restart.")
    tolerance: float = Field(default=1e-7, ge=0, description="A loss at which the search ends, restarts included.")
    restarts: int = Field(default=1, ge=1, description="Starts, of which the one with the lowest loss is kept.")
    labels: Literal["known", "bias-form", "weight-form"] = Field(
        default="bias-form", description='The label attack that gives the labels, or "known" for an oracle.'
    )
    images: int = Field(
        default=16, ge=1, description="Images to rebuild at most of a FedAvg client's data, labels in proportion."
    )


@ATTACKS.register("gradient-matching")
class GradientMatching(Attack):
    """Images whose gradient matches the observed one (DLG with L-BFGS, or Inverting Gradients with signed Adam).

    Loss: distance(gradient(candidate), observed) + weight * TV(candidate), in pixel space, labels fixed beforehand
    (their order within the batch is free). Start: grey with a little noise, 0.5 + 0.1 N(0, 1). The best restart is
    the one with the lowest loss. Weights (FedAvg) are converted to the mean gradient of the local steps and matched
    at the broadcast model, which is exact only for one step on the whole of a client's data.

    Sources: Zhu et al., NeurIPS 2019 (`euclidean` + `lbfgs`); Geiping et al., NeurIPS 2020 (`cosine` +
    `signed-adam` + total variation). Deviations: labels are not optimised; the euclidean distance is relative; the
    start is grey instead of normal noise; batch normalisation uses the model's own statistics.
    """

    Settings: ClassVar[type[MatchingSettings]] = MatchingSettings
    needs: ClassVar[Access] = "updates"
    finds: ClassVar[Finds] = "images"

    def run(self, view: View, knowledge: Knowledge, rng: np.random.Generator) -> Reconstructions:
        """Return the best candidate for each chosen update."""
        settings: MatchingSettings = self.settings
        targets = choose_targets(view, settings)
        broadcast = view.broadcast(settings.round)
        model = knowledge.model(broadcast)
        rebuilt, labels, converted = [], [], False
        for target in targets:
            update = view.update(*target)
            gradient = mean_gradient(update, broadcast, knowledge.learning)
            counts = self._label_counts(view, knowledge, target, rng)
            if update.kind == "weights":
                converted = True
                counts = round_counts(counts.astype(float), min(settings.images, update.num_examples))
            labels.append(np.repeat(np.arange(len(counts)), counts))
            watch = _watch(knowledge, target[1])
            rebuilt.append(rebuild(model, gradient, labels[-1], knowledge.image_shape, settings, rng, watch))
        notes = {
            "losses": [candidate.loss for candidate in rebuilt],
            "target": "mean gradient of the local steps, converted from weights" if converted else "gradient",
        }
        images = tuple(candidate.images.numpy(force=True) for candidate in rebuilt)
        return Reconstructions(targets, images, tuple(labels), settings.labels, notes)

    def _label_counts(self, view: View, knowledge: Knowledge, target: Target, rng: np.random.Generator) -> np.ndarray:
        if self.settings.labels == "known":
            return np.bincount(knowledge.true_labels(*target), minlength=knowledge.num_classes)
        attack = ATTACKS[self.settings.labels]
        restored = attack(attack.Settings(round=target[0], clients=(target[1],)))(view, knowledge, rng)  # type: ignore[call-arg]
        assert isinstance(restored, LabelCounts)
        return restored.counts[0]


def rebuild(
    model: Classifier,
    gradient: Weights,
    labels: np.ndarray,
    image_shape: tuple[int, int, int],
    settings: MatchingSettings,
    rng: np.random.Generator,
    watch: RestartWatch = lambda restart, done, loss: None,
) -> Candidate:
    """Search for images with these labels whose mean gradient at `model` matches.

    Args:
        model: with the broadcast weights.
        gradient: the observed gradient by parameter name; entries that are no parameters are not used.
        labels: (n,) classes of the images.
        image_shape: (channels, height, width).
        settings: objective, optimiser and how long.
        rng: for the starts.
        watch: called now and then with (number of the restart from 1, steps done, loss).

    Returns:
        n images and their loss; NaN images where every restart diverged.
    """
    device = model.head.weight.device
    loss = matching_loss(model, gradient, torch.from_numpy(labels).to(device), settings)
    best: Candidate | None = None
    for restart in range(1, settings.restarts + 1):
        start = torch.from_numpy(0.5 + 0.1 * rng.normal(size=(len(labels), *image_shape))).float().to(device)
        found = OPTIMISERS[settings.optimiser](loss, start, settings.steps, settings.tolerance, partial(watch, restart))
        best = found if best is None or found.loss < best.loss else best
        if best.loss <= settings.tolerance:
            break
    assert best is not None  # at least one restart
    return best


def matching_loss(model: Classifier, gradient: Weights, labels: Tensor, settings: MatchingSettings) -> Loss:
    """Return the function from candidate images (n, C, H, W) to what is minimised."""
    parameters = dict(model.named_parameters())
    observed = [torch.from_numpy(gradient[name]).to(p.device, p.dtype) for name, p in parameters.items()]
    objective = OBJECTIVES[settings.objective]

    def loss(images: Tensor) -> Tensor:
        found = torch.autograd.grad(model.loss(images, labels), list(parameters.values()), create_graph=True)
        distance = objective(found, observed)
        return distance + settings.total_variation * total_variation(images) if settings.total_variation else distance

    return loss


def _watch(knowledge: Knowledge, client: int) -> RestartWatch:
    def tell(restart: int, done: int, loss: float) -> None:
        knowledge.progress(f"client {client}, restart {restart}, step {done}, loss {loss:.2g}")

    return tell
