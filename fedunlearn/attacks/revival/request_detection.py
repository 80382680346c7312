"""Whether, when and for which class a pruning request was served, from what changed between two global models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fedunlearn.attacks.base import ATTACKS, Attack, Finds
from fedunlearn.attacks.forgotten_class.decisions import broken_ties
from fedunlearn.attacks.revival.masks import difference, matrices
from fedunlearn.federation import Weights
from fedunlearn.observer.access import Access, AccessRefused
from fedunlearn.observer.findings import ForgottenClasses, Said
from fedunlearn.observer.knowledge import Knowledge
from fedunlearn.observer.view import View


@dataclass(frozen=True)
class Step:
    """Two consecutive global models.

    Attributes:
        round: the last round that was seen with them.
        before, after: the models, or None where they are not on record whole.
        split: how many rounds came before, should the change be a request's.
    """

    round: int
    before: Weights | None
    after: Weights | None
    split: int


@ATTACKS.register("mask-difference")
class MaskDifference(Attack):
    """The request and its class from weights that became exactly 0, or that alone changed, between two global models.

    Knowledge: the global model of every round. Formula: an ordinary round changes nearly every weight and makes none
    exactly 0. Where matrices have new zeros, or changed in at most half of their entries (a defence put something in
    place), a request was served. The class is the one whose logit falls most by what is gone: s_c = -sum over layers of
    R_c . (row sums of W_after - W_before over what changed), R_c the class's read-out of the layer's units: the product
    of the later matrices, and s centred over the classes. Decision: the class with the largest s_c of the first such
    change; none without one. Rounds that are not on record whole are passed over.

    Source: mask differences as a signal are ours, for pruning as in Roots Beneath the Cut (arXiv 2603.06640).
    Deviations: none. The read-out takes every unit for active: it needs no data.
    """

    needs: ClassVar[Access] = "broadcasts"
    finds: ClassVar[Finds] = "forgotten-classes"

    def run(self, view: View, knowledge: Knowledge, rng: np.random.Generator) -> ForgottenClasses:
        """Compare consecutive models, and say after each round what was seen so far."""
        said: dict[int, Said] = {}
        scores, named = np.zeros(knowledge.num_classes), tuple[int, ...]()
        split, kind, seen = -1, "none", 0
        for step in steps(view):
            if step.before is not None and step.after is not None:
                seen += 1
                found = gone(step.before, step.after)
                if found and split < 0:
                    split, kind = step.split, found[0]
                    scores = fallen(step.before, step.after, found[1], knowledge.num_classes)
                    named = (int(scores.argmax()),)
            said[step.round] = Said(step.round, broken_ties(scores, rng), named)
        if not seen:
            raise AccessRefused("no two consecutive models are on record whole")
        notes = {"seen": kind, "models-compared": seen} | ({"request-round": split} if split >= 0 else {})
        last = said[max(said)]
        return ForgottenClasses(last.scores, last.named, notes, said=tuple(said.values()))


def steps(view: View) -> Iterator[Step]:
    """Yield every change of the global model: by the server before a round, in a round, and after the last."""
    previous: Weights | None = None
    for number in range(1, view.num_rounds + 1):
        start, end = _whole(view, number)
        if number > 1:
            yield Step(number, previous, start, number - 1)
        yield Step(number, start, end, number - 1)
        previous = end
    yield Step(view.num_rounds, previous, view.final(), view.num_rounds)


def _whole(view: View, number: int) -> tuple[Weights | None, Weights | None]:
    try:
        return view.broadcast(number), view.result(number)
    except AccessRefused:  # of this round only the last layer is on record
        return None, None


def gone(before: Weights, after: Weights) -> tuple[str, Weights] | None:
    """Return how it shows that something was pruned, and where by matrix; None where nothing does.

    A partial change counts where all other matrices stayed as they were.
    """
    old, new = matrices(before), matrices(after)
    try:
        kind, where = difference(old, new)
    except AccessRefused:
        return None
    still = all(np.array_equal(old[name], new[name]) for name in new if name not in where)
    return (kind, where) if kind == "zeros" or still else None


def fallen(before: Weights, after: Weights, where: Weights, num_classes: int) -> np.ndarray:
    """Return how much each class's logit falls by what changed at `where`, (num_classes,), of zero mean."""
    old, new = matrices(before), matrices(after)
    total = np.zeros(num_classes)
    for name, mask in where.items():
        moved = np.where(mask, new[name] - old[name], 0.0).sum(axis=1)
        read = read_out(old, name, num_classes)
        if read is not None and len(moved) == read.shape[1]:
            total -= read @ moved
    return np.asarray(total - total.mean())


def read_out(layers: Weights, name: str, num_classes: int) -> np.ndarray | None:
    """Return the linear map (num_classes, units) from a matrix's units to the logits; None where it cannot be read."""
    names = list(layers)
    mapped = np.eye(len(layers[name]))
    for following in names[names.index(name) + 1 :]:
        matrix, units = layers[following], len(mapped)
        if matrix.shape[1] % units:
            return None
        mapped = matrix.reshape(len(matrix), units, -1).sum(axis=2) @ mapped
    return mapped if len(mapped) == num_classes else None
