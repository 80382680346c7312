"""What a model that generates images makes of each class.

Where a model only classifies, it is judged by its answers to true images. One that generates is judged by what the
judge's own classifier takes its images for: the same measures, the class that was asked for in place of the true one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from fedunlearn.models.diffusion import Diffusion

STEPS, GUIDANCE = 25, 0.0  # of the sampler
SHOWN = 4  # columns of a picture grid


@dataclass(frozen=True)
class Portraits:
    """Generated images, class by class.

    Attributes:
        images: float32 (n, C, H, W) in [0, 1].
        labels: int64 (n,), the class that was asked for; of each class equally many.
    """

    images: np.ndarray
    labels: np.ndarray

    def grid(self) -> np.ndarray:
        """Return (classes, columns, C, H, W), float16: the first images of each class."""
        shown = [self.images[self.labels == label][:SHOWN] for label in np.unique(self.labels)]
        return np.stack(shown).astype(np.float16)  # halves the file, and shows the same

    def describe(self) -> Mapping[str, Any]:
        """Return how they were made."""
        each = len(self.labels) // len(np.unique(self.labels))
        return {"per-class": each, "sampler": "DDIM", "steps": STEPS, "guidance": GUIDANCE}


def portray(model: Diffusion, each: int, rng: np.random.Generator) -> Portraits:
    """Return `each` images of every class; generators in equal states give models the same noise to begin with."""
    labels = np.arange(model.head.out_features).repeat(each)
    asked = torch.from_numpy(labels).to(model.null.device)
    return Portraits(model.generate(asked, rng, STEPS, GUIDANCE).numpy(force=True), labels)
