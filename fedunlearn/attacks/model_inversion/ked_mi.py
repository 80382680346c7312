"""Pictures of classes drawn from a distribution per class, found in the latent space of a GAN made for the model."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from fedunlearn.attacks.base import ATTACKS, Attack, Finds
from fedunlearn.attacks.forgotten_class.prototypes import contents
from fedunlearn.attacks.gradient_inversion.denormals import flushed_denormals
from fedunlearn.attacks.model_inversion.finding import chosen, rows_of
from fedunlearn.attacks.model_inversion.objective import Objective
from fedunlearn.attacks.model_inversion.priors.gan import normal
from fedunlearn.attacks.model_inversion.priors.learning import PriorSchool
from fedunlearn.attacks.model_inversion.priors.prior import Prior
from fedunlearn.attacks.model_inversion.selection import steadiness
from fedunlearn.attacks.model_inversion.settings import ObjectiveSettings, PriorSettings, RestartSettings
from fedunlearn.attacks.model_inversion.target import Target, wanted_classes
from fedunlearn.observer.access import Access
from fedunlearn.observer.findings import ClassImages
from fedunlearn.observer.knowledge import Knowledge
from fedunlearn.observer.view import View


class KedMiSettings(RestartSettings, PriorSettings, ObjectiveSettings):
    """Settings of `ked-mi`."""

    steps: int = Field(default=100, ge=1, description="Steps of Adam.")
    learning_rate: float = Field(default=0.02, gt=0, description="Of Adam, on means and ln of deviations.")
    draws: int = Field(default=2, ge=1, description="Draws from each distribution at every step.")


@ATTACKS.register("ked-mi")
class KedMi(Attack):
    """Pictures of classes drawn from a distribution per class, found in the latent space of a GAN made for the model.

    Knowledge: the final model's weights, and public images, of whatever classes.
    Formula: the critic D has an output per class and learns the model's probabilities of public images beside telling
    real from made (softplus(LSE D) - LSE D on real ones, softplus(LSE D) on made ones), the generator matches its mean
    features. Then, per class and restart, mean and deviation s of z ~ N(mean, s^2) minimise E[softplus(LSE D(G(z))) -
    LSE D(G(z)) + w * L(f(G(z)), y)], w = 100, by Adam; L the cross-entropy or the loss that the settings name,
    averaged over the model and its students.
    Decision: of each class, the distribution whose draws the model is surest of, on average; its pictures are new draws
    from it.

    Source: Chen, Kahla, Jia, Qi, Knowledge-Enriched Distributional Model Inversion Attacks, ICCV 2021 (arXiv
    2010.04092); loss = "logit" and students as in `gmi`. Deviations: fewer steps (2400 there); the generator is small,
    its training starts from the decoder of a variational autoencoder; public images serve as the labelled and the
    unlabelled half of the critic's loss; latents are not clamped.
    """

    Settings: ClassVar[type[KedMiSettings]] = KedMiSettings
    needs: ClassVar[Access] = "final-weights"
    needs_flags: ClassVar[frozenset[str]] = frozenset({"public-unlabelled"})
    finds: ClassVar[Finds] = "class-images"

    def run(self, view: View, knowledge: Knowledge, rng: np.random.Generator) -> ClassImages:
        """Recover the distributions, choose one per class, and draw its pictures."""
        settings: KedMiSettings = self.settings
        classes = wanted_classes(settings.classes, knowledge.num_classes)
        objective = Objective(settings, view.final(), knowledge)
        target = objective.target
        prior = class_aware_prior(settings, knowledge, target)
        labels = torch.from_numpy(rows_of(classes, settings.restarts)).to(target.device)
        mean, deviation, notes = recover(prior, objective, labels, settings, rng)
        drawn = settings.images_per_class

        def pictures(rows: np.ndarray) -> Tensor:
            each = torch.from_numpy(rows).to(target.device).repeat_interleave(drawn)
            noise = normal(len(each), prior.latent, rng, target.device)
            with torch.no_grad():
                return prior.generator(mean[each] + deviation[each] * noise)

        everywhere = np.arange(len(labels))
        sure = steadiness(target, pictures(everywhere), labels.repeat_interleave(drawn)).reshape(-1, drawn).mean(axis=1)
        best = everywhere.reshape(-1, settings.restarts)[
            np.arange(len(classes)), sure.reshape(-1, settings.restarts).argmax(axis=1)
        ]
        notes |= {"distributions": settings.restarts, "deviation": float(deviation.mean())}
        return chosen(target, pictures(best), labels[best].repeat_interleave(drawn), 1, notes)


def class_aware_prior(settings: PriorSettings, knowledge: Knowledge, target: Target) -> Prior:
    """Return the prior whose critic knows how the model sorts public images."""

    def soft(images: Tensor) -> Tensor:
        with torch.no_grad():
            return target.ask(images).logits.softmax(dim=1)

    return PriorSchool(settings, knowledge).class_aware(soft, target.num_classes, contents(target.model))


def recover(
    prior: Prior, objective: Objective, labels: Tensor, settings: KedMiSettings, rng: np.random.Generator
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Return the means and the deviations (n, latent) of the latent distributions for `labels` (n,), and notes."""
    mean = torch.zeros(len(labels), prior.latent, device=labels.device, requires_grad=True)
    log_deviation = torch.zeros_like(mean, requires_grad=True)
    optimiser = torch.optim.Adam([mean, log_deviation], lr=settings.learning_rate)
    shown = labels.repeat_interleave(settings.draws)
    anchors = objective.anchors(len(shown), rng)
    with flushed_denormals():
        for _ in range(settings.steps):
            noise = normal(len(shown), prior.latent, rng, labels.device)
            spread = log_deviation.exp().repeat_interleave(settings.draws, dim=0)
            latents = mean.repeat_interleave(settings.draws, dim=0) + spread * noise
            images = prior.generator(latents)
            realism, missed = prior.realism(images, latents), objective(images, shown, anchors)
            optimiser.zero_grad()
            (missed - realism).sum().backward()
            optimiser.step()
    notes = {"realism": float(realism.detach().mean()), "objective": float(missed.detach().mean())}
    return mean.detach(), log_deviation.detach().exp(), notes
