"""Auxiliary models: what an attacker trains itself, on public data, to compare a model's head with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from fedunlearn.attacks.forgotten_class.heads import Head
from fedunlearn.attacks.forgotten_class.prototypes import contents
from fedunlearn.federation import Weights
from fedunlearn.models import Classifier, to_weights
from fedunlearn.observer.access import AccessRefused
from fedunlearn.observer.cache import Arrays
from fedunlearn.observer.knowledge import Knowledge
from fedunlearn.randomness import rng as stream

Sample = tuple[np.ndarray, np.ndarray]  # images (n, C, H, W) in [0, 1] and labels (n,)
BATCH = 512
# Of an auxiliary head, on features of unit mean square. Without it a head that separates its data grows for ever, and
# how far it got would be what is compared.
L2 = 0.0025
EPOCHS, TRAIN_BATCH, LEARNING_RATE = 30, 32, 1e-3  # of an auxiliary model that is trained from scratch
SCRATCH_SEED, NOISE_SEED = 0, 1  # of the generators that cached work draws from


@dataclass(frozen=True)
class Auxiliary:
    """An auxiliary model, as far as its last layer shows it.

    Attributes:
        head: its own.
        prototypes: float64 (num_classes, d), the mean features that its backbone gives each class's public images.
    """

    head: Head
    prototypes: np.ndarray


def labelled_sample(knowledge: Knowledge, per_class: int) -> Sample:
    """Return the first `per_class` public images of every class, and their labels.

    Raises:
        AccessRefused: without labelled public images, or when a class has none, or there are more classes than the
            model has.
    """
    images, labels = knowledge.public_images, knowledge.public_labels
    if images is None or labels is None:
        raise AccessRefused('auxiliary models need the flag "public-labelled" and a public split')
    classes = knowledge.num_classes
    if len(foreign := np.setdiff1d(labels, np.arange(classes))):
        raise AccessRefused(f"the public images have a class {foreign[0]}, the model has {classes} classes")
    if len(absent := np.setdiff1d(np.arange(classes), labels)):
        raise AccessRefused(f"no public image is of class {absent[0]}: its row cannot be compared")
    chosen = np.sort(np.concatenate([np.flatnonzero(labels == label)[:per_class] for label in range(classes)]))
    return images[chosen], labels[chosen]


def unrelated_sample(knowledge: Knowledge, per_class: int) -> Sample:
    """Return noise, `per_class` pictures for every class: uniform grey values, labels that mean nothing."""
    draws = stream(NOISE_SEED, "attack")
    labels = np.repeat(np.arange(knowledge.num_classes), per_class)
    return draws.random((len(labels), *knowledge.image_shape), dtype=np.float32), labels


def retrained_head(knowledge: Knowledge, weights: Weights, sample: Sample) -> Auxiliary:
    """Return the backbone of a model with a head trained on `sample`: multinomial logistic regression, L2 penalty.

    Kept by content. The head starts from zero, so nothing of the model's own head is left in it. Its numbers are
    rounded as a model's are, so that it equals a model that was given it.
    """
    model = known_model(knowledge, weights)
    images, labels = sample

    def make() -> Arrays:
        inputs = features(model, images)
        return {"prototypes": class_means(inputs, labels), **fitted(inputs, labels)}

    content = {"model": contents(model), "images": images, "labels": labels, "l2": L2}
    arrays = knowledge.cache.get("auxiliary-head", content, make)
    return Auxiliary(Head.read(arrays), arrays["prototypes"])


def own_head(knowledge: Knowledge, weights: Weights, sample: Sample) -> Auxiliary:
    """Return a model as it is, with the class means of its features over `sample`."""
    images, labels = sample
    return Auxiliary(Head.read(weights), class_means(features(known_model(knowledge, weights), images), labels))


def independent_model(knowledge: Knowledge, like: Weights, sample: Sample) -> Auxiliary:
    """Return a model of the architecture of `like`, initialised anew and trained on `sample` alone; kept by content."""
    images, labels = sample
    model = known_model(knowledge, like)
    content = {"layers": str(model), "images": images, "labels": labels, "recipe": [EPOCHS, TRAIN_BATCH, LEARNING_RATE]}
    weights = knowledge.cache.get("auxiliary-model", content, lambda: from_scratch(model, sample))
    return own_head(knowledge, weights, sample)


def known_model(knowledge: Knowledge, weights: Weights) -> Classifier:
    """Return the model with these weights.

    Raises:
        AccessRefused: when they are not of the architecture that the observer knows.
    """
    try:
        return knowledge.model(weights)
    except ValueError as error:
        raise AccessRefused(f"the models to compare are of different architectures: {error}") from None


@torch.no_grad()
def features(model: Classifier, images: np.ndarray) -> np.ndarray:
    """Return the head's inputs (n, d), float64, for images (n, C, H, W)."""
    device = model.head.weight.device
    parts = (torch.from_numpy(images[i : i + BATCH]).to(device) for i in range(0, len(images), BATCH))
    return np.concatenate([model.features(part).numpy(force=True) for part in parts]).astype(np.float64)


def class_means(inputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the mean (num_classes, d) of the inputs (n, d) of each class; every class has some."""
    return np.stack([inputs[labels == label].mean(axis=0) for label in range(labels.max() + 1)])


def fitted(inputs: np.ndarray, labels: np.ndarray) -> Arrays:
    """Return `head.weight` (num_classes, d) and `head.bias` of the logistic regression of labels on inputs (n, d).

    Minimises mean cross-entropy + L2 / 2 * |W|^2 by L-BFGS, in float64, on inputs divided by their root mean square.
    """
    scale = max(float(np.sqrt((inputs**2).sum(axis=1).mean())), np.finfo(np.float64).tiny)
    regression = LogisticRegression(C=1 / (L2 * len(labels)), max_iter=1000).fit(inputs / scale, labels)
    weight, bias = regression.coef_, regression.intercept_
    if len(weight) == 1:  # of two classes scikit-learn tells the difference of the rows
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return {"head.weight": (weight / scale).astype(np.float32), "head.bias": bias.astype(np.float32)}


def from_scratch(model: Classifier, sample: Sample) -> Arrays:
    """Return the weights of a model trained on `sample` from new initial weights, by Adam."""
    draws = stream(SCRATCH_SEED, "attack")
    for module in model.modules():  # normalisation layers, which `initialise` leaves alone
        if isinstance(module, (torch.nn.BatchNorm2d, torch.nn.GroupNorm)):
            module.reset_parameters()
    model.initialise(draws)
    images, labels = (torch.from_numpy(array).to(model.head.weight.device) for array in sample)
    optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    model.train()
    for _ in range(EPOCHS):
        for batch in torch.from_numpy(draws.permutation(len(labels))).split(TRAIN_BATCH):
            optimiser.zero_grad()
            model.loss(images[batch], labels[batch]).backward()
            optimiser.step()
    return to_weights(model.eval())
