"""What a prior is: a generator of images from latent vectors, and an opinion of how real an image is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fedunlearn.attacks.model_inversion.priors.networks import Generator, Reader

BATCH = 512


@dataclass(frozen=True)
class Prior:
    """A generator trained on public images, for latent vectors that were standard normal; in evaluation mode.

    Attributes:
        generator: from latent vectors (n, latent) to images (n, C, H, W) in [0, 1].
        critic: tells real images from generated ones; of several outputs, their log-sum-exp does. None: there is none.
    """

    generator: Generator
    critic: Reader | None

    @property
    def latent(self) -> int:
        """Length of a latent vector."""
        return self.generator.latent

    def realism(self, images: Tensor, latents: Tensor) -> Tensor:
        """Return how real (n,) images are, higher being more real; without a critic, how likely their latents.

        A critic of one output tells its logit, one of several ln of the probability that the image is real.
        """
        if self.critic is None:
            return -latents.square().sum(dim=1) / 2
        scores = self.critic(images)
        return scores[:, 0] if scores.shape[1] == 1 else F.logsigmoid(scores.logsumexp(dim=1))

    @torch.no_grad()
    def pictures(self, latents: np.ndarray) -> np.ndarray:
        """Return the images, float32 (n, C, H, W), of latent vectors (n, latent)."""
        device = self.generator.middle.device
        batches = torch.from_numpy(latents.astype(np.float32)).to(device).split(BATCH)
        return np.concatenate([self.generator(batch).numpy(force=True) for batch in batches])
