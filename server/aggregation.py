"""The server step: our own weighted mean, or any Flower strategy by name."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import flwr.serverapp.strategy as flower_strategies
import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.app.metadata import Metadata
from flwr.serverapp.strategy.fedopt import FedOpt

from fedunlearn.aggregation import as_weights, gradient_step, weighted_mean
from fedunlearn.errors import ScenarioError
from fedunlearn.federation import Update, Weights
from fedunlearn.registry import nearest
from fedunlearn.scenario import Cell
from fedunlearn.settings import kebab

# A strategy reports every aggregation as if it were news.
logging.getLogger("flwr").setLevel(logging.WARNING)

State = dict[str, np.ndarray]  # a server optimiser's memory, flat so that a checkpoint can hold it

# What a Flower strategy remembers from round to round, under its own attribute names.
OPTIMISER_STATE = ("m_t", "v_t", "momentum_vector")
STRATEGIES = (
    "FedAvg", "FedAvgM", "FedAdagrad", "FedAdam", "FedYogi", "FedProx",
    "FedMedian", "FedTrimmedAvg", "Krum", "MultiKrum", "Bulyan",
)  # fmt: skip


class Aggregator:
    """Turns a round's updates into the next global model.

    `FedAvg` and `FedProx` without options are our own float64 mean. Every other strategy is Flower's class of
    that name: it receives ordered replies that hold local weights (a FedSGD gradient `g` becomes `w - lr * g`).
    Strategy objects live for one call; what they remember travels in `state`, so a branch can go on from it.

    Args:
        strategy: a name in `STRATEGIES`.
        options: keyword arguments of the Flower class, in kebab-case (`server-momentum`).
        learning_rate: the FedSGD step.
        parameters: the names of the trained tensors; the others are buffers.

    Raises:
        ScenarioError: for an unknown strategy or option.
    """

    def __init__(
        self, strategy: str, options: Mapping[str, Any], learning_rate: float, parameters: frozenset[str]
    ) -> None:
        if strategy not in STRATEGIES:
            raise ScenarioError(f'federation.strategy = "{strategy}": unknown strategy{nearest(strategy, STRATEGIES)}')
        self._class = getattr(flower_strategies, strategy)
        self._options = {name.replace("-", "_"): value for name, value in options.items()}
        known = _option_names(self._class)
        for name, value in options.items():
            if name not in known:
                key = f"federation.strategy-options.{name} = {value}"
                raise ScenarioError(f"{key}: {strategy} has no such option{nearest(name, known)}")
        self._own_mean = strategy in {"FedAvg", "FedProx"}
        self._learning_rate = learning_rate
        self._parameters = set(parameters)

    def __call__(
        self, weights: Weights, updates: Sequence[Update], state: State | None
    ) -> tuple[Weights, State | None]:
        """Return (the next global model, the next optimiser state); `updates` are ordered by client id.

        Raises:
            ValueError: when there is nothing to average.
        """
        if self._own_mean:
            mean = weighted_mean([u.payload for u in updates], [u.num_examples for u in updates])
            if updates[0].kind == "gradient":
                mean = gradient_step(weights, mean, self._learning_rate, self._parameters)
            return mean, state
        return self._flower_step(weights, updates, state or {"round": np.array(0)})

    def _flower_step(self, weights: Weights, updates: Sequence[Update], state: State) -> tuple[Weights, State]:
        strategy = self._class(**self._options)
        restore_state(strategy, state)
        if hasattr(strategy, "current_arrays"):  # FedAvgM keeps a record, the adaptive ones a dict of ndarrays
            record = _record(weights)
            as_arrays = {name: array.numpy() for name, array in record.items()}
            strategy.current_arrays = as_arrays if isinstance(strategy, FedOpt) else record
        number = int(state["round"]) + 1
        replies = [
            _reply(as_weights(update, weights, self._learning_rate, self._parameters), update.num_examples)
            for update in updates
        ]
        aggregated, _ = strategy.aggregate_train(number, replies)
        if aggregated is None:
            raise ValueError(f"{self._class.__name__} returned no model for {len(updates)} updates")
        new = {
            name: aggregated[name].numpy().astype(old.dtype) if old.dtype.kind == "f" else updates[0].payload[name]
            for name, old in weights.items()
        }
        return new, {"round": np.array(number)} | saved_state(strategy)


def check_strategies(cells: Iterable[Cell]) -> None:
    """Check every cell's strategy and its options against Flower's.

    Raises:
        ScenarioError: one line that names key, value and the nearest right one.
    """
    for cell in cells:
        federation = cell.scenario.federation
        Aggregator(federation.strategy, federation.strategy_options, federation.learning_rate, frozenset())


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


def _option_names(strategy: type) -> set[str]:
    """Return the constructor's own hyper-parameters, without those that choose nodes or name records."""
    plumbing = ("fraction_", "min_", "weighted_by", "arrayrecord", "configrecord", "train_metrics", "evaluate_metrics")
    elsewhere = {"selection_rule", "proximal_mu"}  # a callable; a key of [federation], as it acts at the clients
    names = set(inspect.signature(strategy).parameters) - elsewhere
    own = {name for name in names if not name.startswith(plumbing)}
    return {kebab(name) for name in own}


def _record(weights: Weights) -> ArrayRecord:
    """Return the floating-point tensors; counters are no matter for an optimiser."""
    floats = {name: array for name, array in weights.items() if array.dtype.kind == "f"}
    return ArrayRecord({name: Array(np.asarray(array, order="C")) for name, array in floats.items()})


def _reply(weights: Weights, num_examples: int) -> Message:
    """Return a client's reply as a strategy expects it; made here because grouped messages carry many clients."""
    content = RecordDict({"arrays": _record(weights), "metrics": MetricRecord({"num-examples": num_examples})})
    metadata = Metadata(
        run_id=1, message_id="", src_node_id=1, dst_node_id=0, reply_to_message_id="0", group_id="",
        created_at=0.0, ttl=1.0, message_type="train",
    )  # fmt: skip
    return Message(content=content, metadata=metadata)  # type: ignore[call-overload]
