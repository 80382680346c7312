"""A small class-conditional diffusion model, which generates images and classifies them by what it learned for that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fedunlearn.errors import ScenarioError
from fedunlearn.models.base import MODELS, Classifier, Shape

TIMES = 1000  # steps of the noising process
TOKEN = 32  # numbers per class token
DROPPED = 0.1  # share of training samples whose class is withheld, so that the null token learns the mean of all
CLASSIFIED_AT = (200, 400)  # times at which images are classified
FIXED = 1  # seeds the noise that images are classified with
GROUPS, HEADS = 8, 4  # of the group normalisations, and of the attention


@MODELS.register("diffusion")
class Diffusion(Classifier):
    """A class-conditional UNet that predicts noise; its logits say which class predicts an image's noise best.

    Two levels of `width` (16) and twice as many channels, attention to the class token at the lower one alone; the
    class reaches the net through the transformer blocks and nowhere else. Training: epsilon-MSE of Ho, Jain, Abbeel
    (NeurIPS 2020) on the squared-cosine schedule of 1000 steps, the class withheld from a tenth of the samples (Ho,
    Salimans, arXiv 2207.12598). Logits: l_c = -mean over a fixed set of (t, eps) of |eps - eps_theta(x_t, t, c)|^2, the
    diffusion classifier of Li et al. (ICCV 2023, arXiv 2303.16203); ten classes are ten passes of the net per pair, so
    the set is of two. The rows of `head`, which has no bias, are the class tokens: rows of absent classes get a
    gradient of exactly zero. There are no features in front of it.
    """

    default_activation = "silu"
    default_width: ClassVar[int | None] = 16
    fixed_noise: Tensor

    def __init__(self, image_shape: Shape, num_classes: int, activation: str, width: int | None, norm: str) -> None:
        super(Classifier, self).__init__()
        if activation != self.default_activation:
            raise ScenarioError(f'model.activation = "{activation}": "diffusion" is made of silu; leave it out')
        self._shape, self._scheduler = image_shape, scheduler()
        self.body = self.make_body(image_shape, nn.SiLU, width or self.default_width or 0, norm)
        self.head = nn.Linear(TOKEN, num_classes, bias=False)
        self.null = nn.Parameter(torch.zeros(TOKEN))
        noise = np.random.default_rng(FIXED).standard_normal((len(CLASSIFIED_AT), *image_shape), dtype=np.float32)
        self.register_buffer("fixed_noise", torch.from_numpy(noise), persistent=False)

    def make_body(self, shape: Shape, activation: type[nn.Module], width: int, norm: str) -> nn.Module:
        """Return the UNet.

        Raises:
            ScenarioError: for a width or a picture that it cannot halve or group, or without the package diffusers.
        """
        channels, *sides = shape
        if width % GROUPS:
            raise ScenarioError(f'model.width = {width}: of "diffusion" it must be a multiple of {GROUPS}')
        if any(side % 2 for side in sides):
            raise ScenarioError(f'model.name = "diffusion": halves pictures, and {sides} is odd; set data.side')
        unet: nn.Module = diffusers("UNet2DConditionModel")(
            sample_size=tuple(sides),
            in_channels=channels,
            out_channels=channels,
            layers_per_block=1,
            block_out_channels=(width, 2 * width),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=TOKEN,
            attention_head_dim=HEADS,  # what diffusers calls so is the number of heads
            norm_num_groups=GROUPS,
        )
        return unet

    @torch.no_grad()
    def initialise(self, rng: np.random.Generator) -> None:
        """Draw layers from PyTorch's default distributions, and tokens from N(0, 1) as `nn.Embedding` does."""
        super().initialise(rng)
        for tokens in (self.head.weight, self.null):
            tokens.copy_(torch.from_numpy(rng.standard_normal(tuple(tokens.shape))))

    def features(self, images: Tensor) -> Tensor:
        """Refuse: the head's rows are inputs of the net.

        Raises:
            ScenarioError: always.
        """
        raise ScenarioError('model.name = "diffusion": it has no features in front of its head')

    def predict(self, noisy: Tensor, times: Tensor, tokens: Tensor) -> Tensor:
        """Return the noise (n, C, H, W) predicted in images at times (n,), given class tokens (n, 32)."""
        found: Tensor = self.body(noisy, times, encoder_hidden_states=tokens[:, None]).sample
        return found

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (n, num_classes) for images (n, C, H, W) in [0, 1]."""
        n, scaled = len(images), 2 * images - 1
        logits = images.new_zeros(n, self.head.out_features)
        for time, fixed in zip(CLASSIFIED_AT, self.fixed_noise, strict=True):
            times, noise = torch.full((n,), time, device=images.device), fixed.expand_as(images)
            noisy = self._scheduler.add_noise(scaled, noise, times)
            errors = [
                (self.predict(noisy, times, token.expand(n, -1)) - noise).square().flatten(1).sum(1)
                for token in self.head.weight
            ]
            logits = logits - torch.stack(errors, dim=1) / len(CLASSIFIED_AT)
        return logits

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the mean squared error of the predicted noise, at times and with noise that `draws` gives."""
        draws, n = self.draws or np.random.default_rng(FIXED), len(images)
        times = torch.from_numpy(draws.integers(TIMES, size=n)).to(images.device)
        noise = torch.from_numpy(draws.standard_normal(tuple(images.shape), dtype=np.float32)).to(images.device)
        withheld = torch.from_numpy(draws.random(n) < DROPPED).to(images.device)
        tokens = torch.where(withheld[:, None], self.null, self.head.weight[labels])
        noisy = self._scheduler.add_noise(2 * images - 1, noise, times)
        return F.mse_loss(self.predict(noisy, times, tokens), noise)

    @torch.no_grad()
    def denoise(
        self, labels: Tensor, rng: np.random.Generator, steps: int = 25, guidance: float = 0.0
    ) -> Iterator[Tensor]:
        """Yield the images (n, C, H, W), scaled to [-1, 1], after each step of DDIM sampling from noise.

        Args:
            labels: int64 (n,), what each image is to show.
            rng: where the noise comes from.
            steps: how many of them.
            guidance: w of classifier-free guidance, (1 + w) eps_c - w eps_null; 0 leaves the null token out.
        """
        sampler = scheduler()
        sampler.set_timesteps(steps)
        drawn = rng.standard_normal((len(labels), *self._shape), dtype=np.float32)
        images = torch.from_numpy(drawn).to(self.null.device)
        tokens = self.head.weight[labels]
        for time in sampler.timesteps:
            times = time.expand(len(labels)).to(images.device)
            noise = self.predict(images, times, tokens)
            if guidance:
                noise = (1 + guidance) * noise - guidance * self.predict(images, times, self.null.expand_as(tokens))
            images = sampler.step(noise, int(time), images).prev_sample
            yield images

    def generate(self, labels: Tensor, rng: np.random.Generator, steps: int = 25, guidance: float = 0.0) -> Tensor:
        """Return images (n, C, H, W) in [0, 1] of classes (n,); arguments as `denoise`."""
        *_, images = self.denoise(labels, rng, steps, guidance)
        return ((images + 1) / 2).clamp(0, 1)

    def prunable(self) -> dict[str, nn.Linear]:
        """Return the second layers of the feed-forward blocks, by name: where single skills are pruned."""
        named = self.named_modules()
        return {name: m for name, m in named if name.endswith(".ff.net.2") and isinstance(m, nn.Linear)}

    def token_readers(self) -> list[str]:
        """Return the names of the layers that make values of class tokens: the class enters the net by them alone.

        An image has one token, so attention to it has nothing to choose: its values are added whatever the image is.
        """
        return [name for name, _ in self.named_modules() if name.endswith(".attn2.to_v")]


def scheduler() -> Any:
    """Return the noising process and its deterministic sampler (DDIM: Song, Meng, Ermon, ICLR 2021)."""
    return diffusers("DDIMScheduler")(num_train_timesteps=TIMES, beta_schedule="squaredcos_cap_v2")


def diffusers(name: str) -> Any:
    """Return a class of the package diffusers, which takes seconds to import and which most runs do not need.

    Raises:
        ScenarioError: where it is not installed.
    """
    try:
        import diffusers as package
    except ImportError as error:
        why = "needs the package diffusers; install fedunlearn[diffusion]"
        raise ScenarioError(f'model.name = "diffusion": {why}') from error
    return getattr(package, name)
