"""A class brought back by its output bias alone: what every revival has to be held against."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch

from fedunlearn.attacks.base import ATTACKS, Attack, Finds
from fedunlearn.attacks.revival.aims import AimSettings, aim
from fedunlearn.observer.access import Access, AccessRefused
from fedunlearn.observer.findings import RevivedModel
from fedunlearn.observer.knowledge import QUERY_BATCH, Knowledge
from fedunlearn.observer.view import View


@ATTACKS.register("class-bias-revival")
class ClassBiasRevival(Attack):
    """A forgotten class called again because its output bias is raised, no weight being restored: a control.

    Knowledge: the final weights, public images without labels, and the forgotten class: told under the flag
    request-target, or found by a named attack. Formula: b_u <- b_u + x with the least x at which u is predicted for
    1/K of the public images; K is the number of classes. Nothing is changed where it is predicted as often already.
    Decision: none; the model is the finding. Pruning lowers the logit of a class more than it takes away its
    representation: what this attack reaches, a revival of weights must exceed.

    Source: control of this testbed. Deviations: none; of several classes the first is raised.
    """

    Settings: ClassVar[type[AimSettings]] = AimSettings
    needs: ClassVar[Access] = "final-weights"
    needs_flags: ClassVar[frozenset[str]] = frozenset({"public-unlabelled"})
    finds: ClassVar[Finds] = "revival"

    def run(self, view: View, knowledge: Knowledge, rng: np.random.Generator) -> RevivedModel:
        """Raise the bias until the class is predicted at the mean rate."""
        weights, images = view.final(), knowledge.public_images
        if "head.bias" not in weights:
            raise AccessRefused("the head has no bias to raise")
        if images is None:
            raise AccessRefused("there are no public images")
        chosen, source = aim(view, knowledge, self.settings, rng)
        raised = least_rise(logits(knowledge, weights, images), chosen)
        bias = weights["head.bias"].copy()
        bias[chosen] += raised
        notes = {"class-from": source, "raised": raised, "public-images": len(images)}
        return RevivedModel(weights | {"head.bias": bias}, {}, chosen, notes)


def least_rise(answers: np.ndarray, chosen: int) -> float:
    """Return by how much a class's logit must rise to be the largest on 1/K of the answers (n, K); at least 0."""
    others = np.delete(answers, chosen, axis=1).max(axis=1)
    behind = np.sort(others - answers[:, chosen])
    count = max(round(len(answers) / answers.shape[1]), 1)
    following = behind[min(count, len(behind) - 1)]
    return max(float(behind[count - 1] + following) / 2, 0.0)


@torch.no_grad()
def logits(knowledge: Knowledge, weights: dict[str, np.ndarray], images: np.ndarray) -> np.ndarray:
    """Return the logits (n, K), float64, of a model with these weights."""
    model = knowledge.model(weights)
    parts = (images[start : start + QUERY_BATCH] for start in range(0, len(images), QUERY_BATCH))
    found = [model(torch.from_numpy(part).to(knowledge.device)).numpy(force=True) for part in parts]
    return np.concatenate(found).astype(np.float64)
