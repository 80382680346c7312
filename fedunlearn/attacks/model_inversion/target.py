"""The attacked model, in front of an attacker who sees its weights; and how often it was asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fedunlearn.models import Classifier
from fedunlearn.observer.access import AccessRefused
from fedunlearn.observer.knowledge import Knowledge


@dataclass(frozen=True)
class Answer:
    """What a classifier says of images: logits (n, K) and the head's inputs (n, d)."""

    logits: Tensor
    features: Tensor


class Target:
    """A model whose gradients are asked for, and students of it.

    Attributes:
        model: in evaluation mode, its parameters without gradients.
        evaluations: how many images the model itself was given so far.
    """

    def __init__(self, model: Classifier, students: Sequence[Classifier] = ()) -> None:
        self.model, self.students = model.eval().requires_grad_(False), students
        self.evaluations = 0

    @property
    def num_classes(self) -> int:
        """How many classes the model tells apart."""
        return self.model.head.out_features

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.model.head.weight.device

    def ask(self, images: Tensor) -> Answer:
        """Return what the model says of images (n, C, H, W)."""
        self.evaluations += len(images)
        return answer(self.model, images)

    def ask_all(self, images: Tensor) -> list[Answer]:
        """Return what the model says, and then what each student says."""
        return [self.ask(images), *(answer(student, images) for student in self.students)]


def answer(model: Classifier, images: Tensor) -> Answer:
    """Return logits and features of images (n, C, H, W)."""
    features = model.features(images)
    return Answer(model.head(features), features)


def wanted_classes(classes: tuple[int, ...] | None, num_classes: int) -> np.ndarray:
    """Return the classes (k,) that pictures are to be made of.

    Raises:
        AccessRefused: when the model has no such class.
    """
    wanted = np.arange(num_classes) if classes is None else np.unique(classes)
    if len(unknown := wanted[(wanted < 0) | (wanted >= num_classes)]):
        raise AccessRefused(f"classes: {unknown[0]} is unknown, the model has classes 0 to {num_classes - 1}")
    return wanted


def public_images(knowledge: Knowledge) -> np.ndarray:
    """Return the public images (n, C, H, W) that a prior is learnt from.

    Raises:
        AccessRefused: when there are none.
    """
    images = knowledge.public_images
    if images is None or not len(images):
        raise AccessRefused('public images are needed: the flag "public-unlabelled" and a public split')
    return images
