"""Towards General Deep Leakage in Federated Learning."""

from typing import ClassVar

from fedunlearn.attacks.base import ATTACKS
from fedunlearn.attacks.gradient_inversion.inversion import GradientInversion
from fedunlearn.attacks.gradient_inversion.settings import InversionSettings, preset


@ATTACKS.register("general-deep-leakage")
class GeneralDeepLeakage(GradientInversion):
    """Images by L-BFGS with smoothness and a box, labels restored zero-shot: for FedSGD and for FedAvg.

    Source: Geng, Mou, Li, Li, Beyan, Decker, Rong, Towards General Deep Leakage in Federated Learning, arXiv
    2110.09074; the weights of its loss are known at second hand only, from a reimplementation. Deviations: a relative
    distance, and means in place of the regularisers' sums; a line search in place of a step chosen by batch size;
    labels stay as restored instead of being optimised further; no scale term (its weight is zero there); a grey start,
    from which batches come out better; one seed, as L-BFGS knows no consensus here. FedAvg: up to 20 local steps are
    simulated from the broadcast, where the reimplementation takes the weights between the steps for known; more are
    converted to their mean gradient.
    """

    Settings: ClassVar[type[InversionSettings]] = preset(
        "general-deep-leakage",
        labels="weight-form",
        total_variation=1e-6,
        box=1e-3,
        steps=2000,
        unroll=20,
    )
