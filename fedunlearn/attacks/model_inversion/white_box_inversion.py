"""Pictures of classes by gradient descent on the pixels: the baseline that needs no public data."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from fedunlearn.attacks.base import ATTACKS, Attack, Finds
from fedunlearn.attacks.model_inversion.finding import chosen, rows_of
from fedunlearn.attacks.model_inversion.pixel_search import PixelSettings, descend, starts
from fedunlearn.attacks.model_inversion.target import Target, wanted_classes
from fedunlearn.observer.access import Access
from fedunlearn.observer.findings import ClassImages
from fedunlearn.observer.knowledge import Knowledge
from fedunlearn.observer.view import View


@ATTACKS.register("white-box-inversion")
class WhiteBoxInversion(Attack):
    """Pictures of classes by gradient descent on the pixels: the baseline that needs no public data.

    Knowledge: the final model's weights.
    Formula: x = argmin of 1 - p_y(x) + tv * TV(x) + l2 * mean x^2, pixels in [0, 1], from faint noise on grey. All
    classes, pictures and restarts are one batch.
    Decision: of the restarts of a picture, the one that the model is surest of under shifts of two pixels.

    Source: Fredrikson, Jha, Ristenpart, Model Inversion Attacks that Exploit Confidence Information, CCS 2015
    (MIFace). Deviations: Adam for plain descent, a set number of steps for the two stopping rules; a little total
    variation and squared pixels keep it from noise; it starts from noise on grey, so that pictures differ, where the
    source starts from black: of black most models are too sure for the cost to have a slope.
    """

    Settings: ClassVar[type[PixelSettings]] = PixelSettings
    needs: ClassVar[Access] = "final-weights"
    finds: ClassVar[Finds] = "class-images"

    def run(self, view: View, knowledge: Knowledge, rng: np.random.Generator) -> ClassImages:
        """Descend from several starts for every picture."""
        settings: PixelSettings = self.settings
        classes = wanted_classes(settings.classes, knowledge.num_classes)
        target = Target(knowledge.model(view.final()))
        rows = rows_of(classes, settings.images_per_class, settings.restarts)
        labels = torch.from_numpy(rows).to(target.device)

        def missed(images: Tensor) -> Tensor:
            return 1 - target.ask(images).logits.softmax(dim=1).gather(1, labels[:, None])[:, 0]

        first = starts(len(rows), knowledge.image_shape, rng).to(target.device)
        images = descend(first, missed, settings, rng, jitter=False)
        return chosen(target, images, labels, settings.restarts, {})
