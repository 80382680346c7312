"""The forgotten class from the equations between class shares and the change of the head's bias."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from fedunlearn.attacks.base import ATTACKS
from fedunlearn.attacks.forgotten_class.class_mix import Mix, mix_of_biases
from fedunlearn.attacks.forgotten_class.mixing import MixingAttack, MixSettings
from fedunlearn.attacks.label_restoration.outputs import Outputs
from fedunlearn.federation import Weights


class BiasSystemSettings(MixSettings):
    """Settings of `bias-system`."""

    firmness: float = Field(default=10.0, ge=1, description="Weight of the equation that class shares sum to 1.")


@ATTACKS.register("bias-system")
class BiasSystem(MixingAttack):
    """Classes whose share in the training data falls, by the change of the head's bias and public predictions.

    Needs broadcasts recorded whole and labelled public images. Formula: with P_jc the mean probability of class c over
    public images of class j, solve change of b = scale * (shares - P^T shares), shares >= 0, and sum of shares = 1.
    The last equation is indispensable: 1 - P^T has a null vector, and without it a wrong answer fits exactly. `scale`
    is the product of rate and local steps: the rate where learning-known says that a round is one step, else the sum
    of the amounts that explain the whole head's change (`last-layer-nnls`, whose score and distribution are used).
    Decision: see the settings; the test's level is alpha over (classes * candidate rounds).

    Source: the bias gradient of softmax cross-entropy is mean probability - share of the class. Deviations: as in
    `last-layer-nnls`. Refused for a head without bias.
    """

    Settings: ClassVar[type[BiasSystemSettings]] = BiasSystemSettings

    def refine(self, mix: Mix, move: Weights, models: list[Outputs], scale: float) -> Mix:
        """Solve the equations of the bias."""
        return mix_of_biases(move, models, scale, self.settings.firmness)
