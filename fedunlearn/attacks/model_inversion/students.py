"""Small nets that are taught what a model answers to public images: pictures that only the model knows do not fool all.

Source: the model augmentation of Nguyen, Chandrasegaran, Abdollahzadeh, Cheung, CVPR 2023 (arXiv 2304.01669), by
distillation at temperature 1. Deviation: small nets where they have EfficientNets.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fedunlearn.attacks.forgotten_class.prototypes import contents
from fedunlearn.attacks.model_inversion.priors.augment import random_batch
from fedunlearn.attacks.model_inversion.settings import ObjectiveSettings
from fedunlearn.attacks.model_inversion.target import public_images
from fedunlearn.models import Architecture, Classifier, build, load_weights, to_weights
from fedunlearn.observer.cache import Arrays
from fedunlearn.observer.knowledge import Knowledge
from fedunlearn.randomness import rng as stream

KINDS = (Architecture("lenet"), Architecture("convnet", width=16))  # in turn
BATCH, LEARNING_RATE = 64, 5e-3


def taught(model: Classifier, settings: ObjectiveSettings, knowledge: Knowledge) -> list[Classifier]:
    """Return the students of a model, kept by content of model, public images and settings."""
    return [_student(number, model, settings.student_steps, knowledge) for number in range(settings.students)]


def _student(number: int, model: Classifier, steps: int, knowledge: Knowledge) -> Classifier:
    images, kind = public_images(knowledge), KINDS[number % len(KINDS)]
    draws = stream(number, "attack")
    pixel_stats = model.mean.flatten().tolist(), model.std.flatten().tolist()
    student = build(kind, knowledge.image_shape, model.head.out_features, draws, pixel_stats).to(knowledge.device)

    def make() -> Arrays:
        distil(model, student, torch.from_numpy(images).to(knowledge.device), steps, draws)
        return to_weights(student)

    recipe = [kind.name, kind.width, number, steps, BATCH, LEARNING_RATE]
    content = {"model": contents(model), "public": knowledge.public_digest, "recipe": recipe}
    load_weights(student, knowledge.cache.get("inversion-student", content, make))
    return student.eval().requires_grad_(False)


def distil(teacher: Classifier, student: Classifier, images: Tensor, steps: int, rng: np.random.Generator) -> None:
    """Teach a student the teacher's probabilities on images (n, C, H, W), a little shifted, by Adam."""
    optimiser = torch.optim.Adam(student.parameters(), lr=LEARNING_RATE)
    student.train()
    for _ in range(steps):
        batch = random_batch(images, BATCH, rng)
        with torch.no_grad():
            wanted = teacher(batch).softmax(dim=1)
        optimiser.zero_grad()
        F.cross_entropy(student(batch), wanted).backward()
        optimiser.step()
