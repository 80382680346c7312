"""Images from a gradient, by a search of which every part can be chosen."""

from typing import ClassVar

from fedunlearn.attacks.base import ATTACKS
from fedunlearn.attacks.gradient_inversion.inversion import GradientInversion
from fedunlearn.attacks.gradient_inversion.settings import InversionSettings


@ATTACKS.register("gradient-matching")
class GradientMatching(GradientInversion):
    """Images whose gradient matches the observed one: every part of the search is a setting.

    Loss: distance(gradient(candidate), observed) + weighted regularisers, labels fixed beforehand (their order within
    the batch is free). The best restart is the one with the lowest loss. The defaults are L-BFGS in pixel space from a
    grey start, for smooth models. Weights (FedAvg) are converted to the mean gradient of the local steps and matched
    at the broadcast model, which is exact only for one step on the whole of a client's data, or simulated (`unroll`).

    Sources: Zhu et al., NeurIPS 2019 (`euclidean` + `lbfgs`); Geiping et al., NeurIPS 2020 (`cosine` +
    `signed-adam` + total variation); Yin et al., CVPR 2021 (`layer-norms` + `adam`, batch normalisation, consistency);
    Dimitrov et al., TMLR 2022 (`unroll`, `copies`, `epoch-order`). Deviations: see the presets named after them.
    """

    Settings: ClassVar[type[InversionSettings]] = InversionSettings
