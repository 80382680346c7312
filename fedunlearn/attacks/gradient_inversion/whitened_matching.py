"""Our own search: the natural image among those that explain the gradient."""

from typing import ClassVar

from fedunlearn.attacks.base import ATTACKS
from fedunlearn.attacks.gradient_inversion.inversion import GradientInversion
from fedunlearn.attacks.gradient_inversion.settings import InversionSettings, preset


@ATTACKS.register("whitened-matching")
class WhitenedMatching(GradientInversion):
    """Images by L-BFGS over the waves of natural images: our best for smooth models, FedSGD and FedAvg.

    A gradient has fewer independent equations than a batch has pixels: with the LeNet of `dlg` from two images on. The
    search begins at grey and ends near the solution of least norm, so that coordinates in which natural images have
    unit variance (`Whitened`) fill what the gradient leaves open as nature does; the second half of the steps
    refines the details. No regulariser is needed. Up to 20 local steps of FedAvg are simulated. One wrong label ruins a
    batch, and shows: the loss stays high. Up to six label counts are tried then, the nearest to the label attack's
    real-valued estimate first.

    Source: this project; the loss is that of Zhu, Liu, Han, NeurIPS 2019.
    """

    Settings: ClassVar[type[InversionSettings]] = preset(
        "whitened-matching",
        labels="auto",
        label_tries=6,
        steps=2000,
        space="whitened",
        second_space="half-whitened",
        tolerance=1e-9,
        unroll=20,
    )
