"""NoT: turn the sign of the first layer's weights, then let ordinary training find its way back.

Source: Khalil, Brunswic, Lamghari, Li, Beitollahi and Chen, "NoT: Federated Unlearning via Weight Negation",
CVPR 2025 (arXiv 2503.05657). The weights of the first layer (a convolution, or the first linear layer where there is
none) are multiplied by -1; the activations of all later layers become unlike those that they were trained on.

Scopes: all. Who takes part: the server negates, the retained clients recover. Needs from the server: nothing, not
even a look at the forgotten data.

Deviations: the layer's bias keeps its sign, so exactly one tensor changes. Batch normalisation's running statistics
are left as they are: they belong to other activations until the recovery's training mode has replaced them.
"""

from fedunlearn.federation import Federation, Weights
from fedunlearn.requests import UnlearningRequest
from fedunlearn.unlearning.base import UNLEARNERS, History, Unlearner
from fedunlearn.unlearning.phases import install


@UNLEARNERS.register("not")
class WeightNegation(Unlearner):
    """Turn the sign of the first layer's weights, then train on retained data."""

    def forget(self, weights: Weights, request: UnlearningRequest, federation: Federation, history: History) -> Weights:
        """Return the model after negation and `rounds` ordinary rounds."""
        negated = install(negate_first_layer(weights, history.parameters), federation)
        return history.training.run(federation, negated, self.rounds)


def negate_first_layer(weights: Weights, parameters: frozenset[str]) -> Weights:
    """Return `weights` with the first trained tensor of two or more axes negated: biases and gains have one."""
    first = next(name for name, array in weights.items() if name in parameters and array.ndim > 1)
    return weights | {first: -weights[first]}
