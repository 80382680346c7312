"""Priors, learnt from public images once per run."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from fedunlearn.attacks.model_inversion.priors.gan import Soft, Training, train_gan
from fedunlearn.attacks.model_inversion.priors.networks import Generator, Reader, load_state, state_of, undrawn
from fedunlearn.attacks.model_inversion.priors.prior import Prior
from fedunlearn.attacks.model_inversion.priors.vae import train_vae
from fedunlearn.attacks.model_inversion.settings import PriorSettings
from fedunlearn.attacks.model_inversion.target import public_images
from fedunlearn.observer.cache import Arrays
from fedunlearn.observer.knowledge import Knowledge
from fedunlearn.randomness import rng as stream

VAE_SEED, GAN_SEED = 2, 3  # of the generators that cached work draws from
BATCH = 32
CRITIC_SHARE = 4  # the critic is trained for so many times fewer steps than the autoencoder


class PriorSchool:
    """Makes the priors of one attacker; what equal public images and settings gave is made once.

    Args:
        settings: which prior, and how it is trained.
        knowledge: public images, and where the result is kept.
    """

    def __init__(self, settings: PriorSettings, knowledge: Knowledge) -> None:
        self._settings, self._knowledge, self._images = settings, knowledge, public_images(knowledge)
        self.shape = knowledge.image_shape

    def prior(self) -> Prior:
        """Return the prior that the settings name."""
        if self._settings.prior == "vae":
            return Prior(self._decoder(), None)
        return self._against_critic("inversion-dcgan", 1, None, {})

    def class_aware(self, soft: Soft, num_classes: int, content: Any) -> Prior:
        """Return a prior whose critic knows how a model sorts images.

        Args:
            soft: the model's class probabilities (n, num_classes) of images.
            num_classes: outputs of the critic.
            content: what `soft` follows from.
        """
        return self._against_critic("inversion-class-gan", num_classes, soft, content)

    def _against_critic(self, kind: str, outputs: int, soft: Soft | None, content: Any) -> Prior:
        generator, critic = self._decoder(), self._reader(outputs)
        steps = -(-self._settings.prior_steps // CRITIC_SHARE)

        def make() -> Arrays:
            generator.requires_grad_(True)
            train_gan(generator, critic, self._public(), Training(steps, BATCH), stream(GAN_SEED, "attack"), soft)
            return state_of(generator, "generator") | state_of(critic, "critic")

        arrays = self._knowledge.cache.get(kind, self._content | {"of": content}, make)
        load_state(generator, arrays, "generator")
        load_state(critic, arrays, "critic")
        return Prior(generator.eval().requires_grad_(False), critic.eval().requires_grad_(False))

    def _decoder(self) -> Generator:
        settings = self._settings
        decoder = undrawn(Generator, settings.latent, self.shape, settings.prior_width).to(self._knowledge.device)

        def make() -> Arrays:
            training = Training(settings.prior_steps, BATCH)
            train_vae(decoder, self._reader(2 * settings.latent), self._public(), training, stream(VAE_SEED, "attack"))
            return state_of(decoder, "generator")

        load_state(decoder, self._knowledge.cache.get("inversion-vae", self._content, make), "generator")
        return decoder.eval().requires_grad_(False)

    def _reader(self, outputs: int) -> Reader:
        return undrawn(Reader, self.shape, self._settings.prior_width, outputs).to(self._knowledge.device)

    def _public(self) -> Tensor:
        self._knowledge.progress("learning a prior from public images")
        return torch.from_numpy(np.ascontiguousarray(self._images)).to(self._knowledge.device)

    @property
    def _content(self) -> dict[str, Any]:
        recipe = self._settings.model_dump(include={"latent", "prior_width", "prior_steps"})
        return {"images": self._images, "recipe": recipe, "batch": BATCH}
