"""What a Flower strategy may be told: its options, their types and ranges, and how many clients they take."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import flwr.serverapp.strategy as flower_strategies

from fedunlearn.errors import ScenarioError
from fedunlearn.registry import nearest
from fedunlearn.scenario import FederationSettings, Strategy
from fedunlearn.scenario.messages import problem
from fedunlearn.settings import kebab

TABLE = "federation.strategy-options"
# Arguments of Flower's classes that choose nodes, name records or are functions: none of them a hyper-parameter.
PLUMBING = (
    "fraction-", "min-", "weighted-by", "arrayrecord", "configrecord", "train-metrics", "evaluate-metrics",
    "selection-rule",
)  # fmt: skip
# Arguments that concern the clients, and the keys that tell them.
ELSEWHERE = {"proximal-mu": "federation.proximal-mu", "eta-l": "federation.learning-rate"}

Rule = tuple[Callable[[float], bool], str]
ANYTHING: Rule = (lambda value: True, "")
POSITIVE: Rule = (lambda value: value > 0, " above 0")
SHARE: Rule = (lambda value: 0 <= value < 1, " from 0 to below 1")
RULES: dict[str, Rule] = {
    "beta": (lambda value: 0 <= value < 0.5, " from 0 to below 0.5"),
    "beta-1": SHARE,
    "beta-2": SHARE,
    "eta": POSITIVE,
    "tau": POSITIVE,
    "server-learning-rate": POSITIVE,
    "server-momentum": SHARE,
    "num-malicious-nodes": (lambda value: value >= 0, " from 0 up"),
    "num-nodes-to-select": (lambda value: value >= 1, " from 1 up"),
}
# With f malicious clients a round needs at least factor * f + 3. Krum: Blanchard et al., NeurIPS 2017; Bulyan: El
# Mhamdi et al., ICML 2018. Flower checks it for Bulyan only, and in the middle of the run.
CLIENTS_PER_MALICIOUS = {"Krum": 2, "MultiKrum": 2, "Bulyan": 4}


def constructor_arguments(strategy: Strategy, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return `options` (kebab-case) as arguments of the Flower class, checked.

    Raises:
        ScenarioError: for an option that the strategy does not have, or a value that it cannot have.
    """
    flower_class = getattr(flower_strategies, strategy)
    parameters = inspect.signature(flower_class).parameters.values()
    kinds = {kebab(parameter.name): type(parameter.default) for parameter in parameters}
    known = {name: kind for name, kind in kinds.items() if not name.startswith(PLUMBING)}
    own = known.keys() - ELSEWHERE.keys()
    arguments = {}
    for name, value in options.items():
        if name not in own:
            hint = f"; give {ELSEWHERE[name]}" if name in known else nearest(name, own)
            raise ScenarioError(problem(f"{TABLE}.{name}", value, f"{strategy} has no such option{hint}"))
        arguments[name.replace("-", "_")] = _checked(name, value, known[name])
    if arguments:
        try:
            flower_class(**arguments)
        except (TypeError, ValueError) as error:  # a rule of Flower's that is not in the table above
            raise ScenarioError(problem(TABLE, dict(options), f"{strategy}: {error}")) from error
    return arguments


def _checked(name: str, value: Any, kind: type) -> Any:
    """Return the value of an option as its type; an integer will do for a float."""
    accepts, range_ = RULES.get(name, ANYTHING)
    fits = isinstance(value, (int, float) if kind is float else kind) and isinstance(value, bool) == (kind is bool)
    if not fits or not accepts(value):
        named = {float: "a number", int: "an integer"}.get(kind, f"a {kind.__name__}")
        raise ScenarioError(problem(f"{TABLE}.{name}", value, f"must be {named}{range_}"))
    return kind(value)


def fewest_updates(strategy: Strategy, arguments: Mapping[str, Any]) -> int:
    """Return how many updates a round needs for a strategy with these `constructor_arguments`."""
    factor = CLIENTS_PER_MALICIOUS.get(strategy)
    return 1 if factor is None else factor * arguments.get("num_malicious_nodes", 0) + 3


def check_strategy(federation: FederationSettings) -> None:
    """Check a federation's strategy options, and that its rounds have enough clients for them.

    Raises:
        ScenarioError: one line that names key, value and what would be right.
    """
    strategy, clients = federation.strategy, federation.round_size
    arguments = constructor_arguments(strategy, federation.strategy_options)
    if clients < fewest_updates(strategy, {}):
        why = f"needs at least {fewest_updates(strategy, {})} clients per round; there are {clients}"
        raise ScenarioError(problem("federation.strategy", strategy, why))
    if clients < fewest_updates(strategy, arguments):
        factor = CLIENTS_PER_MALICIOUS[strategy]
        why = f"must be at most {(clients - 3) // factor}: {strategy} needs {factor}f + 3 clients per round for f"
        why = f"{why} malicious ones, and there are {clients}"
        raise ScenarioError(problem(f"{TABLE}.num-malicious-nodes", arguments["num_malicious_nodes"], why))
    if (selected := arguments.get("num_nodes_to_select", 1)) > clients:
        why = f"must be at most the {clients} clients of a round"
        raise ScenarioError(problem(f"{TABLE}.num-nodes-to-select", selected, why))
