"""Data Leakage in Federated Averaging."""

from typing import ClassVar

from fedunlearn.attacks.base import ATTACKS
from fedunlearn.attacks.gradient_inversion.inversion import GradientInversion
from fedunlearn.attacks.gradient_inversion.settings import InversionSettings, preset


@ATTACKS.register("dlf")
class FederatedAveragingLeakage(GradientInversion):
    """Images by simulating a FedAvg client's local steps: one copy of its images per epoch, merged at the end.

    The steps are unrolled from the broadcast; labels are restored with interpolated statistics, shuffled, and the same
    in every epoch. Copies may order the images differently: a prior asks only for equal means and maxima over an
    epoch, and at last they are matched to the first copy one-to-one and averaged. FedSGD is one step of it.

    Source: Dimitrov, Balunovic, Konstantinov, Vechev, Data Leakage in Federated Averaging, TMLR 2022. Deviations: all
    layers weigh the same, and the distance is relative; mean and maximum without a random convolution before them; a
    rate that falls as a cosine; the best candidate is kept; above 1000 local steps the mean gradient stands for them.
    """

    Settings: ClassVar[type[InversionSettings]] = preset(
        "dlf",
        labels="weight-form",
        total_variation=2e-4,
        box=1.0,
        epoch_order=1.0,
        optimiser="adam",
        steps=400,
        start="normal",
        space="normalised",
        unroll=1000,
        copies="per-epoch",
    )
