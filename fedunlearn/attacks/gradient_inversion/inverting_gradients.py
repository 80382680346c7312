"""Inverting Gradients."""

from typing import ClassVar

from fedunlearn.attacks.base import ATTACKS
from fedunlearn.attacks.gradient_inversion.inversion import GradientInversion
from fedunlearn.attacks.gradient_inversion.settings import InversionSettings, preset


@ATTACKS.register("inverting-gradients")
class InvertingGradients(GradientInversion):
    """Images by signed Adam on the angle between the gradients and the total variation: for ReLU models too.

    Source: Geiping, Bauermeister, Droege, Moeller, Inverting Gradients, NeurIPS 2020: N(0, 1) in normalised space, box,
    rate 0.1 cut at 3/8, 5/8 and 7/8. Deviations: labels are restored, where the paper mostly grants them; 4800 steps
    (its library's default; its command line has 24,000); the answer is the best candidate, not the last. FedAvg: up to
    20 local steps are simulated on one set of images, with the signed Adam of FedSGD (the paper: unsigned at rate 1);
    more are converted to their mean gradient. Batch normalisation uses running statistics.
    """

    Settings: ClassVar[type[InversionSettings]] = preset(
        "inverting-gradients",
        labels="auto",
        objective="cosine",
        total_variation=1e-4,
        optimiser="signed-adam",
        steps=4800,
        start="normal",
        space="normalised",
        unroll=20,
    )
