"""What a request changed between two rounds, as if the forgotten samples had sent a gradient of their own.

Before the request a client's mean gradient is over n samples, afterwards over n - m: n times the one less n - m times
the other is the summed gradient of the m forgotten samples. That is exact when both are taken at the same model over
all of the client's data, and it is when a federation begins again from its first model (retraining, FedEraser): its
first broadcast is one that the observer has seen before. Otherwise the two rounds next to the request are compared,
and what the model learned in between enters as an error. Source of the idea: Hu, Wang, Dong, Xiong, Liu, Learn What
You Want to Unlearn (IEEE S&P 2024, arXiv 2404.03233), who compare two models that one owner fine-tuned; here the
observer of a federation compares two rounds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedunlearn.attacks.gradients import mean_gradient
from fedunlearn.federation import Update, Weights
from fedunlearn.observer.access import CAPABILITIES, AccessRefused
from fedunlearn.observer.view import View


@dataclass(frozen=True)
class Change:
    """The difference of two rounds.

    Attributes:
        update: a gradient update of the samples that are no longer there; `num_examples` says how many.
        broadcast: the model that it is taken at.
        rounds: the round before and the round after.
        same_model: whether both rounds broadcast the same model.
        missing: how many samples were there before and not afterwards; where none, `update` is taken for one.
    """

    update: Update
    broadcast: Weights
    rounds: tuple[int, int]
    same_model: bool
    missing: int


def change_of(view: View, learning: Mapping[str, Any] | None) -> Change:
    """Return what changed with the request.

    An observer that sees single updates looks at the clients whose number of samples fell; where none did, at those
    that are gone; where none is, at the client that changed most. One that sees only sums compares sums.

    Raises:
        AccessRefused: when the rounds around the request were not recorded, or weights are to be compared that cannot
            be converted.
    """
    after = view.request_round + 1
    broadcast = view.broadcast(after)
    before, same = _earlier(view, broadcast, after)
    earlier, later = (_gradients(view, round, learning) for round in (before, after))
    pairs = [(sent, later[client]) for client, sent in earlier.items() if client in later]
    if not earlier or not later:
        raise AccessRefused(f"nobody sent anything in round {after if earlier else before}")
    fell = [(one, other) for one, other in pairs if one.num_examples > other.num_examples]
    gone = [(sent, _nothing(sent)) for client, sent in earlier.items() if client not in later]
    chosen = fell or gone or [max(pairs, key=lambda pair: _length(_difference(*pair)))]
    missing = max(sum(one.num_examples - other.num_examples for one, other in chosen), 0)
    count = max(missing, 1)
    summed = [_difference(*pair) for pair in chosen]
    payload = {name: (np.sum([part[name] for part in summed], axis=0) / count).astype(np.float32) for name in summed[0]}
    return Change(Update(0, "gradient", payload, count), broadcast, (before, after), same, missing)


def _earlier(view: View, broadcast: Weights, after: int) -> tuple[int, bool]:
    """Return the last round before `after` with the same broadcast, or else the one next to it."""
    for round in range(after - 1, 0, -1):
        try:
            known = view.broadcast(round)
        except AccessRefused:  # of this round only the last layer is on record
            continue
        if all(np.array_equal(known[name], array) for name, array in broadcast.items()):
            return round, True
    return after - 1, False


def _gradients(view: View, round: int, learning: Mapping[str, Any] | None) -> dict[int, Update]:
    """Return the updates of a round as gradients: of each client, or of all together under the id EVERYBODY."""
    broadcast = view.broadcast(round)
    if "updates" in CAPABILITIES[view.access]:
        updates = [view.update(round, client) for client in view.clients(round)]
    else:
        updates = [view.total(round)]
        if updates[0].kind == "weights":
            raise AccessRefused("a sum of weights cannot be converted: how many steps each client took is unknown")
    return {
        update.client_id: Update(
            update.client_id, "gradient", mean_gradient(update, broadcast, learning), update.num_examples
        )
        for update in updates
    }


def _difference(one: Update, other: Update) -> Weights:
    """Return the difference of two summed gradients."""
    return {
        name: one.num_examples * array - other.num_examples * other.payload[name] for name, array in one.payload.items()
    }


def _nothing(like: Update) -> Update:
    return Update(like.client_id, "gradient", {name: 0 * array for name, array in like.payload.items()}, 0)


def _length(gradient: Weights) -> float:
    return float(sum((array**2).sum() for array in gradient.values()))
