"""The server step: our own weighted mean, or any Flower strategy by name."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import flwr.serverapp.strategy as flower_strategies
import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.app.metadata import Metadata
from flwr.serverapp.strategy.fedopt import FedOpt

from fedunlearn.aggregation import as_weights, gradient_step, weighted_mean
from fedunlearn.errors import EngineFailure, QuorumLost, ScenarioError
from fedunlearn.federation import Update, Weights
from fedunlearn.scenario import Cell, Strategy
from server.strategy_options import check_strategy, constructor_arguments, fewest_updates

# A strategy reports every aggregation as if it were news.
logging.getLogger("flwr").setLevel(logging.WARNING)

State = dict[str, np.ndarray]  # a server optimiser's memory, flat so that a checkpoint can hold it

# What a Flower strategy remembers from round to round, under its own attribute names.
OPTIMISER_STATE = ("m_t", "v_t", "momentum_vector")


class Aggregator:
    """Turns a round's updates into the next global model.

    `FedAvg` and `FedProx`, which have no options here, are our own float64 mean. Every other strategy is Flower's
    class of that name: it receives ordered replies that hold local weights (a FedSGD gradient `g` becomes
    `w - lr * g`), the trained tensors only. Buffers are no parameters: whatever the strategy, the floating-point
    ones (running means) are averaged like FedAvg's weights, and counters are copied from the first client.
    Strategy objects live for one call; what they remember travels in `state`, so a branch can go on from it.

    Args:
        strategy: the name of Flower's class.
        options: its keyword arguments, in kebab-case (`server-momentum`).
        learning_rate: the FedSGD step.
        parameters: the names of the trained tensors; the others are buffers.

    Raises:
        ScenarioError: for an option that the strategy does not have, or a value that it cannot have.
    """

    def __init__(
        self, strategy: Strategy, options: Mapping[str, Any], learning_rate: float, parameters: frozenset[str]
    ) -> None:
        self._strategy = strategy
        self._arguments = constructor_arguments(strategy, options)
        self._fewest = fewest_updates(strategy, self._arguments)
        self._learning_rate = learning_rate
        self._parameters = set(parameters)

    def __call__(
        self, weights: Weights, updates: Sequence[Update], state: State | None
    ) -> tuple[Weights, State | None]:
        """Return (the next global model, the next optimiser state); `updates` are ordered by client id.

        Raises:
            ValueError: when there is nothing to average.
            QuorumLost: when there are too few updates for the strategy.
            EngineFailure: when Flower's strategy fails.
        """
        if self._strategy in ("FedAvg", "FedProx"):
            mean = weighted_mean([update.payload for update in updates], [update.num_examples for update in updates])
            if updates[0].kind == "gradient":
                mean = gradient_step(weights, mean, self._learning_rate, self._parameters)
            return mean, state
        return self._flower_step(weights, updates, state or {"round": np.array(0)})

    def _flower_step(self, weights: Weights, updates: Sequence[Update], state: State) -> tuple[Weights, State]:
        number = int(state["round"]) + 1
        where = f"strategy {self._strategy}, round {number}"
        if len(updates) < self._fewest:
            raise QuorumLost(f"{where}: {len(updates)} updates, and with its options it needs {self._fewest}")
        strategy = getattr(flower_strategies, self._strategy)(**self._arguments)
        restore_state(strategy, state)
        trained = {name: array for name, array in weights.items() if name in self._parameters}
        if hasattr(strategy, "current_arrays"):  # FedAvgM keeps a record, the adaptive ones a dict of ndarrays
            strategy.current_arrays = trained if isinstance(strategy, FedOpt) else _record(trained)
        replies = []
        for update in updates:
            local = as_weights(update, weights, self._learning_rate, self._parameters)
            replies.append(_reply({name: local[name] for name in trained}, update.num_examples))
        try:
            aggregated, _ = strategy.aggregate_train(number, replies)
        except Exception as error:
            reason = " ".join(str(error).split())
            raise EngineFailure(f"{where}: {type(error).__name__}: {reason}") from error
        if aggregated is None:
            raise EngineFailure(f"{where}: it made no model of {len(updates)} updates")
        new = _mean_of_buffers(updates, self._parameters)
        new |= {name: aggregated[name].numpy().astype(old.dtype) for name, old in trained.items()}
        return {name: new[name] for name in weights}, {"round": np.array(number)} | saved_state(strategy)


def check_strategies(cells: Iterable[Cell]) -> None:
    """Check every cell's strategy, its options and whether its rounds have enough clients for them.

    Raises:
        ScenarioError: one line that names the cell, key, value and what would be right.
    """
    for cell in cells:
        try:
            check_strategy(cell.scenario.federation)
        except ScenarioError as error:
            raise ScenarioError(f"cell {cell.name}: {error}" if cell.values else str(error)) from None


def saved_state(strategy: Any) -> State:
    """Return what a strategy remembers as flat arrays: `<attribute>/<tensor name or position>`."""
    state: State = {}
    for attribute in OPTIMISER_STATE:
        value = getattr(strategy, attribute, None) or {}
        items = value.items() if isinstance(value, dict) else enumerate(value)
        state |= {f"{attribute}/{key}": np.asarray(array) for key, array in items}
    return state


def restore_state(strategy: Any, state: State) -> None:
    """Give a strategy what `saved_state` took from one like it."""
    for attribute in OPTIMISER_STATE:
        prefix = f"{attribute}/"
        kept = {key.removeprefix(prefix): array for key, array in state.items() if key.startswith(prefix)}
        if kept:
            as_list = attribute == "momentum_vector"  # FedAvgM counts its tensors, the others name them
            setattr(strategy, attribute, [kept[str(i)] for i in range(len(kept))] if as_list else kept)


def _mean_of_buffers(updates: Sequence[Update], parameters: set[str]) -> Weights:
    buffers = [{name: array for name, array in u.payload.items() if name not in parameters} for u in updates]
    if not any(array.dtype.kind == "f" for array in buffers[0].values()):
        return buffers[0]
    return weighted_mean(buffers, [update.num_examples for update in updates])


def _record(weights: Weights) -> ArrayRecord:
    return ArrayRecord({name: Array(np.asarray(array, order="C")) for name, array in weights.items()})


def _reply(weights: Weights, num_examples: int) -> Message:
    """Return a client's reply as a strategy expects it; made here because grouped messages carry many clients."""
    content = RecordDict({"arrays": _record(weights), "metrics": MetricRecord({"num-examples": num_examples})})
    metadata = Metadata(
        run_id=1, message_id="", src_node_id=1, dst_node_id=0, reply_to_message_id="0", group_id="",
        created_at=0.0, ttl=1.0, message_type="train",
    )  # fmt: skip
    return Message(content=content, metadata=metadata)  # type: ignore[call-overload]
