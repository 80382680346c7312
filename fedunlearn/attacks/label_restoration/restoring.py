"""What the label attacks share: an observation of each update, an estimate by the attack, rounding to counts."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from fedunlearn.attacks.base import Attack, Finds
from fedunlearn.attacks.gradients import direction, local_steps, mean_gradient, whole_model
from fedunlearn.attacks.label_restoration.observation import UNKNOWN_STEPS, Observation
from fedunlearn.attacks.label_restoration.outputs import Outputs, measure
from fedunlearn.attacks.label_restoration.scale import estimated_scale
from fedunlearn.attacks.targets import Target, UpdateSettings, choose_targets, each_target
from fedunlearn.federation import Update, Weights
from fedunlearn.observer.access import Access, AccessRefused
from fedunlearn.observer.files import HEAD, head_of
from fedunlearn.observer.findings import LabelCounts
from fedunlearn.observer.knowledge import Knowledge
from fedunlearn.observer.view import View

ImageNeed = Literal["none", "any", "labelled"]
MOST_CLASSES = 100  # for what is measured class by class: memory grows with the cube
SUM_RULE = 0.01  # share of the head's gradient above which its classes do not cancel as they must


class RestorationSettings(UpdateSettings):
    """Settings of label attacks that measure the head on images without labels."""

    statistics: Literal["auto", "dummies", "public"] = Field(
        default="auto",
        description='Where mean outputs are estimated: on normal noise ("dummies"), on public images, or "auto": '
        "public where the observer has some.",
    )
    samples: int = Field(default=1000, ge=1, description="At most so many dummies or public images.")


class LabelledSettings(UpdateSettings):
    """Settings of label attacks that measure the head on labelled public images."""

    samples: int = Field(default=1000, ge=1, description="At most so many public images.")


def round_counts(estimate: np.ndarray, total: int) -> np.ndarray:
    """Return integer counts (num_classes,) that sum to `total`, nearest to a real-valued estimate.

    Negative entries count as zero, the rest is scaled to `total`, and what is left after rounding down goes to
    the largest remainders (ties: the lower class). Where nothing is positive, the guess is uniform.

    Example:
        >>> round_counts(np.array([2.2, -0.3, 0.9, 0.9]), 4).tolist()
        [2, 0, 1, 1]
    """
    counts = scaled(estimate, total)
    whole = np.floor(counts).astype(np.int64)
    remainders = np.argsort(-(counts - whole), kind="stable")
    whole[remainders[: total - whole.sum()]] += 1
    return whole


def scaled(estimate: np.ndarray, total: float) -> np.ndarray:
    """Return an estimate (num_classes,) without its negative part, scaled to `total`; all equal if nothing is left."""
    counts = np.maximum(estimate, 0.0)
    largest = counts.max()
    counts = counts / largest if largest else np.ones_like(counts)  # first: the sum of the least numbers rounds
    return counts / counts.sum() * total


class LabelRestoration(Attack):
    """An estimate of the label counts from the head's gradient; subclasses give the formula.

    The batch of a FedSGD client has as many samples as the server counts for it; for FedAvg the counts are of all
    the client's data. Weights are converted to the mean gradient of the local steps first (see `Observation`). Where
    the learning rate and the steps are not known, the factor between update and gradient is estimated on labelled
    public images. Batch normalisation is used in evaluation mode, with the model's own statistics. Whatever was not
    as it should be is named in the finding's notes, under "fallback".

    Class attributes:
        images: what the attacker measures the head on: "none", "any" (public images or dummies) or "labelled".
        scale_free: whether the estimate is the same for any positive multiple of the gradient.
    """

    Settings: ClassVar[type[UpdateSettings]] = RestorationSettings
    needs: ClassVar[Access] = "updates"
    finds: ClassVar[Finds] = "labels"
    images: ClassVar[ImageNeed] = "any"
    scale_free: ClassVar[bool] = False

    @abstractmethod
    def estimate(self, seen: Observation) -> np.ndarray:
        """Return real-valued counts (C,); they are scaled to the number of samples and rounded afterwards."""

    def run(self, view: View, knowledge: Knowledge, rng: np.random.Generator) -> LabelCounts:
        """Return one count vector per chosen update."""
        broadcast, fallbacks = view.broadcast(self.settings.round), set[str]()
        images, labels = self._images(knowledge, broadcast, rng)
        start = None if images is None else measure(knowledge.model(broadcast), images, labels)
        if self.images == "labelled" and start is not None and start.absent:
            which = f"the classes {list(start.absent)}" if len(start.absent) < 10 else f"{len(start.absent)} classes"
            fallbacks.add(f"no public image of {which}: measured on all images")

        def estimate(target: Target) -> np.ndarray:
            update = view.update(*target)
            outputs = None if start is None else (start, start)
            if start is not None and images is not None and update.kind == "weights":
                outputs = (start, measure(knowledge.model(whole_model(update, broadcast)), images, labels))
            seen = self._observe(update, broadcast, knowledge, outputs, fallbacks)
            return scaled(self.estimate(seen), update.num_examples)

        estimates, skipped = each_target(choose_targets(view, self.settings), estimate)
        counts = tuple(round_counts(each, round(each.sum())) for each in estimates.values())
        notes: dict[str, Any] = {"fallback": sorted(fallbacks)} if fallbacks else {}
        notes |= {"skipped": skipped} if skipped else {}
        return LabelCounts(tuple(estimates), counts, notes, tuple(estimates.values()))

    def _images(
        self, knowledge: Knowledge, broadcast: Weights, rng: np.random.Generator
    ) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Return public images and their labels where known, or dummies: normal in the model's normalised space."""
        classes = len(broadcast[HEAD[0]]) if HEAD[0] in broadcast else 0
        if self.images == "labelled" and classes > MOST_CLASSES:
            raise AccessRefused(f"class by class it serves at most {MOST_CLASSES} classes, the model has {classes}")
        if self.images == "none":
            return None, None
        public, labels, samples = knowledge.public_images, knowledge.public_labels, self.settings.samples
        wanted = getattr(self.settings, "statistics", "auto")
        if wanted == "public" and public is None:
            raise AccessRefused('statistics = "public" needs the flag "public-unlabelled"')
        if wanted == "dummies" or public is None:
            model = knowledge.model(broadcast)
            noise = rng.normal(size=(samples, *knowledge.image_shape))
            mean, std = (values.numpy(force=True) for values in (model.mean, model.std))
            return (mean + std * noise).astype(np.float32), None
        chosen = rng.permutation(len(public))[:samples]
        return public[chosen], None if labels is None else labels[chosen]

    def _observe(
        self,
        update: Update,
        broadcast: Weights,
        knowledge: Knowledge,
        outputs: tuple[Outputs, Outputs] | None,
        fallbacks: set[str],
    ) -> Observation:
        """Return the update as an observation, and add to `fallbacks` what is not as it should be."""
        shares, learning = np.ones(1), knowledge.learning
        if update.kind == "gradient" or learning is not None:
            gradient = head_of(mean_gradient(update, broadcast, learning))
            if update.kind == "weights":
                shares = local_steps(learning, update.num_examples).weights
        else:
            gradient, shares = head_of(direction(update, broadcast)), np.full(UNKNOWN_STEPS, 1 / UNKNOWN_STEPS)
        check_head(gradient, update, broadcast, fallbacks)
        ends = (head_of(broadcast), head_of(whole_model(update, broadcast) if update.kind == "weights" else broadcast))
        seen = Observation(gradient, update.num_examples, shares, ends, outputs)
        if update.kind == "weights" and learning is None and not self.scale_free:
            if outputs is None or outputs[0].labels is None or len(seen.weight) > MOST_CLASSES:
                raise AccessRefused(
                    'how far the client stepped is unknown: the observer needs the flag "learning-known", or '
                    f'"public-labelled" to estimate it (with at most {MOST_CLASSES} classes)'
                )
            fallbacks.add("steps and learning rate are unknown: their product is estimated on public images")
            scale = estimated_scale(seen)
            seen = replace(seen, gradient={name: array / scale for name, array in gradient.items()})
        return seen


class LabelledRestoration(LabelRestoration):
    """A label attack that measures each class on labelled public images."""

    Settings: ClassVar[type[UpdateSettings]] = LabelledSettings
    needs_flags: ClassVar[frozenset[str]] = frozenset({"public-labelled"})
    images: ClassVar[ImageNeed] = "labelled"


def check_head(gradient: Weights, update: Update, broadcast: Weights, fallbacks: set[str]) -> None:
    """Refuse an update that says nothing about the head, and note one whose head is no clean gradient.

    Softmax cross-entropy moves the classes against each other: their rows sum to zero, for weights up to the rounding
    of what was added to them.
    """
    if HEAD[0] not in gradient:
        raise AccessRefused(f"client {update.client_id}'s update has no {HEAD[0]}: no label can be read off it")
    if not any(array.any() for array in gradient.values()):
        raise AccessRefused(f"client {update.client_id} left the head as it was: a frozen head tells no labels")
    for name, array in gradient.items():
        allowed = SUM_RULE * np.abs(array).max()
        if update.kind == "weights":
            change = np.abs(update.payload[name] - broadcast[name]).max()
            rounding = np.finfo(np.float32).eps * np.abs(broadcast[name]).max() * len(array)
            allowed += rounding * np.abs(array).max() / max(float(change), 1e-300)
        if np.abs(array.sum(axis=0)).max() > allowed:
            fallbacks.add(
                "the head's gradient does not sum to zero over the classes, as a clean one does: read as it is"
            )
