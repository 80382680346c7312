"""Pruned weights taken from a model that was broadcast before the request."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from fedunlearn.attacks.base import ATTACKS, Attack, Finds
from fedunlearn.attacks.revival.masks import difference
from fedunlearn.observer.access import Access
from fedunlearn.observer.findings import RevivedModel
from fedunlearn.observer.knowledge import Knowledge
from fedunlearn.observer.view import View


@ATTACKS.register("past-round-oracle")
class PastRoundOracle(Attack):
    """Pruned weights put back from the model that was kept from before the request: the upper bound.

    Knowledge: the models before and after the request, as every participant of the round before it has them. Formula:
    w <- w_before wherever w is 0 now and was not before; where no weight became 0, wherever a tensor changed in at most
    half of its entries: a defence put something there. Decision: none; the model is the finding. Who kept the old
    model needs to recover nothing, and no defence of the weights changes that.

    Source: bound of this testbed, for the defences of Roots Beneath the Cut (arXiv 2603.06640). Deviations: none;
    vectors that belong to pruned units, such as biases, come back as well.
    """

    needs: ClassVar[Access] = "weights-before-after"
    finds: ClassVar[Finds] = "revival"

    def run(self, view: View, knowledge: Knowledge, rng: np.random.Generator) -> RevivedModel:
        """Fill what was pruned from before."""
        before, after = view.before(), view.final()
        told, mask = difference(before, after)
        new = after | {name: np.where(where, before[name], after[name]) for name, where in mask.items()}
        signs = {name: np.where(where, np.sign(before[name]), 0).astype(np.int8) for name, where in mask.items()}
        return RevivedModel(new, mask, None, {"mask": told}, signs)
