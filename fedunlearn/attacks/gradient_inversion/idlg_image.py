"""Improved Deep Leakage from Gradients: its images."""

from typing import ClassVar

from fedunlearn.attacks.base import ATTACKS
from fedunlearn.attacks.gradient_inversion.inversion import GradientInversion
from fedunlearn.attacks.gradient_inversion.settings import InversionSettings, preset


@ATTACKS.register("idlg-image")
class ImprovedDeepLeakage(GradientInversion):
    """The search of `dlg` with the label that `idlg` reads from the gradient: meant for one image.

    Source: Zhao, Mopuri, Bilen, iDLG: Improved Deep Leakage from Gradients, 2020. Deviations: those of `dlg`, less
    the one about labels, which this paper restores too; for more than one image the labels are what `idlg` makes of
    them; 300 iterations of 20 are counted as 6000.
    """

    Settings: ClassVar[type[InversionSettings]] = preset(
        "idlg-image", labels="idlg", steps=6000, tolerance=1e-9, start="normal", space="normalised"
    )
