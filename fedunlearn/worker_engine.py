"""An engine without Flower: carries orders to a worker of this process and averages what comes back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fedunlearn.aggregation import gradient_step, weighted_mean
from fedunlearn.federation import Order, Outcome, Update, Weights
from fedunlearn.learning import Worker


class WorkerEngine:
    """Serves small federations: shadows, and what methods are tried on.

    Args:
        worker: acts for the clients.
        parameters: the names of the trained tensors.
        learning_rate: the FedSGD step.
        apart: whether every client gets an order of its own.
    """

    def __init__(
        self, worker: Worker, parameters: frozenset[str], learning_rate: float, *, apart: bool = False
    ) -> None:
        self._worker, self._parameters = worker, set(parameters)
        self._learning_rate, self._apart = learning_rate, apart

    def deliver(self, order: Order) -> list[Outcome]:
        """Return one outcome per job."""
        outcomes: list[Outcome] = []
        groups = [[client] for client in order.jobs] if self._apart else [list(order.jobs)]
        for group in groups:
            part = Order(
                order.call, order.task, order.weights, {client: order.jobs[client] for client in group},
                order.past, order.current, order.private,
            )  # fmt: skip
            stacks, failures = self._worker.perform(part)
            outcomes += [*failures, *(update for stack in stacks for update in stack.updates())]
        return outcomes

    def aggregate(self, weights: Weights, updates: Sequence[Update], state: Any) -> tuple[Weights, Any]:
        """Return the weighted mean, or one step along it for gradients."""
        mean = weighted_mean([update.payload for update in updates], [update.num_examples for update in updates])
        if updates[0].kind == "gradient":
            mean = gradient_step(weights, mean, self._learning_rate, self._parameters)
        return mean, state
