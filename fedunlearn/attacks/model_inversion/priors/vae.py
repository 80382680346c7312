"""A small variational autoencoder, whose decoder is the generator."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fedunlearn.attacks.model_inversion.priors.augment import random_batch
from fedunlearn.attacks.model_inversion.priors.gan import Training, normal
from fedunlearn.attacks.model_inversion.priors.networks import Generator, Reader, draw

LEARNING_RATE = 2e-3
SHARPNESS = 10240.0  # weight of the mean squared pixel error beside the divergence, whatever the size of the image


def train_vae(
    decoder: Generator, encoder: Reader, public: Tensor, training: Training, rng: np.random.Generator
) -> None:
    """Train both on public images (n, C, H, W): mean squared pixel error, weighed, plus divergence from N(0, I).

    Args:
        decoder, encoder: fresh; the encoder tells means and log-variances.
        public: images in [0, 1].
        training: how long.
        rng: where initial weights, batches and latents come from.
    """
    for network in (decoder, encoder):
        draw(network, rng)
    decoder.centre(public)
    parameters = [*decoder.parameters(), *encoder.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=LEARNING_RATE)
    for _ in range(training.steps):
        images = random_batch(public, training.batch, rng)
        mean, log_variance = encoder(images).chunk(2, dim=1)
        noise = normal(training.batch, decoder.latent, rng, public.device)
        rebuilt = decoder(mean + (log_variance / 2).exp() * noise)
        error = SHARPNESS * training.batch * F.mse_loss(rebuilt, images)
        loss = error + divergence(mean, log_variance).sum()
        optimiser.zero_grad()
        (loss / training.batch).backward()
        optimiser.step()
    for network in (decoder, encoder):
        network.requires_grad_(False)


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergence (n,), in nats, of N(mean, exp(log_variance)) from N(0, I)."""
    return (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1) / 2
