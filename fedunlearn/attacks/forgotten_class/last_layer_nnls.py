"""The forgotten class from the mix of class gradients that explains how a round moved the whole head."""

from __future__ import annotations

from fedunlearn.attacks.base import ATTACKS
from fedunlearn.attacks.forgotten_class.class_mix import Mix
from fedunlearn.attacks.forgotten_class.mixing import MixingAttack
from fedunlearn.attacks.label_restoration.outputs import Outputs
from fedunlearn.federation import Weights


@ATTACKS.register("last-layer-nnls")
class LastLayerNnls(MixingAttack):
    """Classes whose share in the training data falls, by the public class gradients that explain the head's change.

    Needs broadcasts recorded whole and labelled public images (20 to 50 of each class), neither rate nor steps.
    Formula: g_j = mean head gradient (weights and bias) of public images of class j at the broadcast; amounts =
    argmin over a >= 0 of |change of head + sum of a_j g_j|; the class shares are a / sum of a, and the sum is the
    product of rate and local steps.

    Rounds after the request are compared with the later half of those before: s_c = Student's t of the fall of the
    class's share, which must go beyond the drift before as well. Where the federation began again from a model that it
    had broadcast before (retraining, FedEraser), each round is compared with its twin instead, and s_c = the fall of
    the share less the median one, in median absolute deviations: the errors of the bases are the same in both, and
    cancel. `distribution`: see `forgotten_shares`; it also tells of partial forgetting, and of samples or clients of
    several classes.
    Decision: see the settings; the test's level is alpha over (classes * candidate rounds).

    Source: least squares over class gradients, known of label counts (class-conditional-nnls) and of Dai, Zhou, Fu et
    al., Decaf (arXiv 2405.15316). Deviations: where the clients may take several steps, gradients averaged over the
    models at the start and at the end of the round are tried as well, and those that explain more are kept; a test
    against the rounds before takes the place of -share as a score, which public images unlike the clients' bias.
    """

    def refine(self, mix: Mix, move: Weights, models: list[Outputs], scale: float) -> Mix:
        """Return the mix of gradients as it is."""
        return mix
