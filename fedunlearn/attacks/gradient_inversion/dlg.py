"""Deep Leakage from Gradients."""

from typing import ClassVar

from fedunlearn.attacks.base import ATTACKS
from fedunlearn.attacks.gradient_inversion.inversion import GradientInversion
from fedunlearn.attacks.gradient_inversion.settings import InversionSettings, preset


@ATTACKS.register("dlg")
class DeepLeakage(GradientInversion):
    """Images by L-BFGS on the squared distance of the gradients, from normal noise: for smooth models, few images.

    Source: Zhu, Liu, Han, Deep Leakage from Gradients, NeurIPS 2019. Deviations: labels are restored beforehand
    instead of optimised with the images; the distance is relative; a Wolfe line search in place of a fixed step
    of 1, with which the published search often explodes; 300 outer times 20 inner iterations are counted as
    6000, and the search may end before them; the answer is clamped to [0, 1].
    """

    Settings: ClassVar[type[InversionSettings]] = preset(
        "dlg", labels="auto", steps=6000, tolerance=1e-9, start="normal", space="normalised"
    )
