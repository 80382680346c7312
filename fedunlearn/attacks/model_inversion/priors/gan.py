"""A small DCGAN, and the same with a critic that also knows how the attacked model sorts public images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fedunlearn.attacks.model_inversion.priors.augment import random_batch
from fedunlearn.attacks.model_inversion.priors.networks import Generator, Reader, draw

CRITIC_RATE, GENERATOR_RATE, BETAS = 5e-4, 2e-4, (0.5, 0.9)
GRADIENT_PENALTY, PENALTY_EVERY = 1.0, 4  # of the critic's slope at real images, and in how many steps once
ENTROPY_WEIGHT = 1e-4  # of the entropy of the critic's classes, in the loss of the class-aware generator

Soft = Callable[[Tensor], Tensor]  # images (n, C, H, W) to class probabilities (n, K)


@dataclass(frozen=True)
class Training:
    """How long a prior is trained: steps of so many images."""

    steps: int
    batch: int = 64


def train_gan(
    generator: Generator,
    critic: Reader,
    public: Tensor,
    training: Training,
    rng: np.random.Generator,
    soft: Soft | None = None,
) -> None:
    """Train a critic, and a generator that already makes rough images, on public images (n, C, H, W).

    The critic minimises softplus(-LSE D(x)) on public images, plus softplus(LSE D(G(z))), LSE being the log-sum-exp of
    its outputs (of one output, itself), plus a penalty on its slope at public images. Without `soft` the generator
    minimises softplus(-D(G(z))): the usual GAN. With it, the critic has one output per class and minimises its
    cross-entropy with soft(x) too, those other terms counting half; the generator matches the mean features of the
    critic in absolute value, plus a little of the entropy of its classes.

    Args:
        generator: the decoder of an autoencoder: a few hundred steps from noise make none that is of use.
        critic: fresh.
        public: images in [0, 1].
        training: how long.
        rng: where the critic's initial weights, batches and latents come from.
        soft: tells how the attacked model sorts images.
    """
    draw(critic, rng)
    makers = torch.optim.Adam(generator.parameters(), lr=GENERATOR_RATE, betas=BETAS)
    critics = torch.optim.Adam(critic.parameters(), lr=CRITIC_RATE, betas=BETAS)
    for step in range(training.steps):
        real = random_batch(public, training.batch, rng)
        made = generator(normal(training.batch, generator.latent, rng, public.device))
        critics.zero_grad()
        _critic_loss(critic, real, made.detach(), soft, penalised=step % PENALTY_EVERY == 0).backward()
        critics.step()
        makers.zero_grad()
        _generator_loss(critic, real, made, aware=soft is not None).backward()
        makers.step()
    for network in (generator, critic):
        network.requires_grad_(False)


def normal(count: int, latent: int, rng: np.random.Generator, device: torch.device) -> Tensor:
    """Return standard normal draws, float32 (count, latent)."""
    return torch.from_numpy(rng.standard_normal((count, latent), dtype=np.float32)).to(device)


def _critic_loss(critic: Reader, real: Tensor, made: Tensor, soft: Soft | None, *, penalised: bool) -> Tensor:
    real = real.requires_grad_(penalised)
    scores, fake = critic(real), critic(made).logsumexp(dim=1)
    reals = scores.logsumexp(dim=1)
    loss = F.softplus(-reals).mean() + F.softplus(fake).mean()
    if soft is not None:
        loss = F.cross_entropy(scores, soft(real.detach())) + loss / 2
    if penalised:
        (slope,) = torch.autograd.grad(reals.sum(), [real], create_graph=True)
        loss = loss + GRADIENT_PENALTY * PENALTY_EVERY / 2 * slope.square().flatten(1).sum(dim=1).mean()
    return loss


def _generator_loss(critic: Reader, real: Tensor, made: Tensor, *, aware: bool) -> Tensor:
    if not aware:
        return F.softplus(-critic(made).logsumexp(dim=1)).mean()
    with torch.no_grad():
        wanted = critic.features(real).mean(dim=0)
    features = critic.features(made)
    spread = torch.distributions.Categorical(logits=critic.head(features), validate_args=False).entropy().mean()
    return (features.mean(dim=0) - wanted).abs().mean() + ENTROPY_WEIGHT * spread
