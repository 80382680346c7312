"""The forgotten class from one model's head, read without any other knowledge."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from fedunlearn.attacks.base import ATTACKS, Attack, Finds
from fedunlearn.attacks.forgotten_class.decisions import ClassEvidence, DecidedSettings, conclude
from fedunlearn.federation import Weights
from fedunlearn.observer.access import Access, AccessRefused
from fedunlearn.observer.findings import ForgottenClasses
from fedunlearn.observer.knowledge import Knowledge
from fedunlearn.observer.shadows import Shadow
from fedunlearn.observer.view import View


class NullClassBiasSettings(DecidedSettings):
    """Settings of `null-class-bias`."""

    part: Literal["bias", "row-norm"] = Field(
        default="bias", description="What is read of a class: its bias, or the l2 norm of its row of weights."
    )


@ATTACKS.register("null-class-bias")
class NullClassBias(Attack):
    """Classes with the lowest bias, or the shortest row, in the head of the final model: a baseline.

    Knowledge: the final weights. Formula: s_c = -b_c, or s_c = -|w_c|. Decision: see the settings; an outlier test by
    default. The bias of a class that is absent from training falls in every step, yet one model does not tell from
    where; methods that zero or redraw a row give themselves away by its norm.

    Source: baseline of forgotten-class inference; the loss of an absent class pushes its bias down in every step. A
    head without bias is refused with `part = "bias"`.
    """

    Settings: ClassVar[type[NullClassBiasSettings]] = NullClassBiasSettings
    needs: ClassVar[Access] = "final-weights"
    finds: ClassVar[Finds] = "forgotten-classes"

    def run(self, view: View, knowledge: Knowledge, rng: np.random.Generator) -> ForgottenClasses:
        """Read the head, and rank the classes."""
        settings: NullClassBiasSettings = self.settings

        def measure(shadow: Shadow) -> ClassEvidence:
            return self._evidence(shadow.after)

        return conclude(self, self._evidence(view.final()), knowledge, measure, rng, {"part": settings.part})

    def _evidence(self, weights: Weights) -> ClassEvidence:
        if self.settings.part == "row-norm":
            return ClassEvidence.of(-np.linalg.norm(weights["head.weight"].astype(np.float64), axis=1))
        if "head.bias" not in weights:
            raise AccessRefused('the head has no bias to read; part = "row-norm" reads its rows')
        return ClassEvidence.of(-weights["head.bias"].astype(np.float64))
