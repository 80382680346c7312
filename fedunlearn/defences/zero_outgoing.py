"""What used to carry a pruned unit's output onwards is zero as well."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from pydantic import Field

from fedunlearn.defences.base import DEFENCES, Occasion, ReleaseDefence
from fedunlearn.defences.head import Head
from fedunlearn.errors import ScenarioError
from fedunlearn.federation import Weights
from fedunlearn.settings import Settings

CLOSE = 1e-4  # of the largest logit: what float32 sums in another order may differ by
REFUSED = (
    'defences: "zero-outgoing" needs pruned units that are silent and layers in a row; here it would change what the '
    "model puts out"
)


class ZeroOutgoingSettings(Settings):
    """Settings of `zero-outgoing`."""

    share: float = Field(
        default=1.0, ge=0, le=1, description="Share of the pruned units whose outgoing weights are zeroed; 0: off."
    )


@DEFENCES.register("zero-outgoing")
class ZeroOutgoing(ReleaseDefence):
    """The outgoing weights of pruned units and channels are zeroed too: outputs stay, where they led is gone.

    A unit whose incoming weights and bias are zero puts nothing out (with an activation that is 0 at 0), so its
    outgoing weights do nothing. But they still say which classes it spoke for: give the unit any random weights, and
    the class is back. Only whole pruned units are concerned: single weights, as `concept-prune` removes them, are not.
    Acts where unlearning has pruned units that are still silent.

    Needs layers in a row, each seeing nothing but the one before; where zeroing would change the outputs on pictures
    of noise (shortcuts, sigmoid), it is refused.

    Adaptive: `donor-rows` gives the unit the weights of others, `past-round-oracle` saw its own in an earlier round,
    `class-bias-revival` touches no weight, and `revival` fills both sides at random.
    """

    Settings = ZeroOutgoingSettings
    adaptive = ("donor-rows", "past-round-oracle", "class-bias-revival", "revival")
    costs = "nothing on outputs; a pruned unit can learn nothing any more"

    def release(self, weights: Weights, occasion: Occasion) -> Weights:
        """Return the model without the silent pruned units' outgoing weights.

        Raises:
            ScenarioError: when that changes the model's outputs.
        """
        cut, draws = {}, occasion.fixed()
        kernels = [name for name, array in weights.items() if array.ndim > 1]
        for name, follower in pairwise(kernels):
            silent = silent_units(name, weights, occasion.pruned)
            silent &= draws.random(len(silent)) < self.settings.share
            without = without_inputs(weights[follower], silent) if silent.any() else weights[follower]
            if not np.array_equal(without, weights[follower]):
                cut[follower] = without
        if not cut:
            return weights
        before, after = (Head.of(w).logits(occasion.features(w, "uniform")) for w in (weights, weights | cut))
        if np.abs(after - before).max() > CLOSE * np.abs(before).max():
            raise ScenarioError(REFUSED)
        return weights | cut


def silent_units(name: str, weights: Weights, pruned: Weights) -> np.ndarray:
    """Return bool (out,): the units of a layer's kernel `name` of which all is under the mask and still zero."""
    if name not in pruned:
        return np.zeros(len(weights[name]), bool)
    gone = pruned[name] & (weights[name] == 0)
    bias = weights.get(name.removesuffix("weight") + "bias", np.zeros(len(gone)))
    return np.asarray(gone.reshape(len(gone), -1).all(axis=1) & (bias == 0))


def without_inputs(kernel: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Return a kernel (out, in, ...) with zero for the inputs that come from `units` (m,).

    A linear layer behind flattened maps has in = m * pixels inputs, a channel's next to each other.

    Raises:
        ScenarioError: when the inputs are no multiple of the units.
    """
    positions, rest = divmod(kernel.shape[1], len(units))
    if rest:
        raise ScenarioError(REFUSED)
    gone = np.repeat(units, positions)
    return np.where(gone.reshape(1, -1, *[1] * (kernel.ndim - 2)), np.zeros_like(kernel), kernel)
