"""Fine-tuning on the retained data: the server simply goes on training without what is to be forgotten.

Source: the baseline of Golatkar, Achille and Soatto, "Eternal Sunshine of the Spotless Net", CVPR 2020 (arXiv
1911.04933). Scopes: all. Who takes part: the retained clients. Needs from the server: nothing. Deviation: the
federation's own optimiser settings are kept instead of a separate fine-tuning schedule, so with an empty forget set it
equals the same number of ordinary rounds. That includes the memory of a server optimiser (momentum), which stems from
all data: this is ordinary training, nothing moves the model otherwise.
"""

from fedunlearn.federation import Federation, Weights
from fedunlearn.requests import UnlearningRequest
from fedunlearn.unlearning.base import UNLEARNERS, History, Unlearner


@UNLEARNERS.register("finetune")
class FineTune(Unlearner):
    """Continue ordinary training on the retained data."""

    def forget(self, weights: Weights, request: UnlearningRequest, federation: Federation, history: History) -> Weights:
        """Return the model after `rounds` ordinary rounds on retained data."""
        return history.training.run(federation, weights, self.rounds)
