"""Pictures of classes from a generator that was trained on public images, by descent in its latent space."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch

from fedunlearn.attacks.base import ATTACKS, Attack, Finds
from fedunlearn.attacks.model_inversion.finding import chosen, rows_of
from fedunlearn.attacks.model_inversion.latent_search import DescentSettings, descend
from fedunlearn.attacks.model_inversion.objective import Objective
from fedunlearn.attacks.model_inversion.priors.gan import normal
from fedunlearn.attacks.model_inversion.priors.learning import PriorSchool
from fedunlearn.attacks.model_inversion.settings import ObjectiveSettings, PriorSettings, RestartSettings
from fedunlearn.attacks.model_inversion.target import wanted_classes
from fedunlearn.observer.access import Access
from fedunlearn.observer.findings import ClassImages
from fedunlearn.observer.knowledge import Knowledge
from fedunlearn.observer.view import View


class GmiSettings(RestartSettings, PriorSettings, ObjectiveSettings, DescentSettings):
    """Settings of `gmi`."""


@ATTACKS.register("gmi")
class Gmi(Attack):
    """Pictures of classes from a generator that was trained on public images, by descent in its latent space.

    Knowledge: the final model's weights, and public images, of whatever classes.
    Formula: z = argmin of -D(G(z)) + w * L(f(G(z)), y), w = 100, z in [-1, 1], by descent with Nesterov's momentum; L
    the cross-entropy, or the loss that the settings name, averaged over the model and its students where there are
    any. All classes, pictures and restarts are one batch.
    Decision: of the restarts of a picture, the one that the model is surest of under shifts of two pixels.

    Source: Zhang, Jia, Pei, Wang, Li, Song, The Secret Revealer, CVPR 2020 (arXiv 1911.07135); loss = "logit" and
    students: Nguyen, Chandrasegaran, Abdollahzadeh, Cheung, Re-thinking Model Inversion Attacks, CVPR 2023 (arXiv
    2304.01669). Deviations: fewer steps (1500 there); the generator is small, its training starts from the decoder of
    a variational autoencoder; with prior = "vae" there is no critic, and ln N(z) stands for D; the features that
    "logit" pulls towards are drawn with the deviation of the public ones, once per picture.
    """

    Settings: ClassVar[type[GmiSettings]] = GmiSettings
    needs: ClassVar[Access] = "final-weights"
    needs_flags: ClassVar[frozenset[str]] = frozenset({"public-unlabelled"})
    finds: ClassVar[Finds] = "class-images"

    def run(self, view: View, knowledge: Knowledge, rng: np.random.Generator) -> ClassImages:
        """Search from several starts for every picture."""
        settings: GmiSettings = self.settings
        classes = wanted_classes(settings.classes, knowledge.num_classes)
        objective = Objective(settings, view.final(), knowledge)
        prior = PriorSchool(settings, knowledge).prior()
        device = objective.target.device
        labels = torch.from_numpy(rows_of(classes, settings.images_per_class, settings.restarts)).to(device)
        starts = normal(len(labels), prior.latent, rng, device).clamp(-settings.bound, settings.bound)
        latents, notes = descend(prior, objective, labels, starts, settings, rng)
        with torch.no_grad():
            images = prior.generator(latents)
        return chosen(objective.target, images, labels, settings.restarts, {"prior": settings.prior, **notes})
