"""The server step: our mean, and Flower's strategies driven from outside a Flower run."""

import gc
import inspect
import re
from dataclasses import replace
from typing import get_args

import flwr.serverapp.strategy as flower_strategies
import numpy as np
import pytest

from clients.app import app
from fedunlearn.aggregation import weighted_mean
from fedunlearn.errors import EngineFailure, QuorumLost, ScenarioError
from fedunlearn.federation import Federation, Update
from fedunlearn.learning import evaluate
from fedunlearn.models import load_weights
from fedunlearn.scenario import Cell, Strategy
from fedunlearn.settings import kebab
from server.aggregation import Aggregator, check_strategies
from server.grid_engine import grid_engine
from server.local_grid import in_process
from server.strategy_options import ELSEWHERE, PLUMBING, RULES
from tests.server.toy import scenario, set_stage

STRATEGIES = get_args(Strategy)
PARAMETERS = frozenset({"w"})
WEIGHTS = {"w": np.zeros(3, np.float32), "steps": np.array(4)}


@pytest.fixture(autouse=True)
def _short_collections():
    """Flower's Bulyan collects garbage for every client: without what pytest has imported, as in a run."""
    gc.freeze()
    yield
    gc.unfreeze()


def updates(rng, clients=7, kind="weights"):
    return [
        Update(c, kind, {"w": rng.normal(size=3).astype(np.float32), "steps": np.array(5)}, int(rng.integers(1, 9)))
        for c in range(clients)
    ]


def options_of(strategy):
    """Return options that make a difference, where the strategy has any."""
    options = {"num-malicious-nodes": 1} if strategy in {"Krum", "MultiKrum", "Bulyan"} else {}
    options |= {"num-nodes-to-select": 3} if strategy == "MultiKrum" else {}
    return options | ({"server-momentum": 0.9} if strategy == "FedAvgM" else {})


def cells(strategy, options, **federation):
    """Return the only cell of a scenario with 8 clients."""
    tables = {"clients": 8, "proximal-mu": 0.1, "strategy": strategy, "strategy-options": options} | federation
    return [Cell("only", {}, scenario(federation=tables))]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("kind", ["weights", "gradient"])
def test_every_strategy_aggregates_both_kinds(strategy, kind):
    aggregate = Aggregator(strategy, options_of(strategy), 0.5, PARAMETERS)
    rng, weights, state = np.random.default_rng(0), WEIGHTS, None
    for _ in range(3):
        weights, state = aggregate(weights, updates(rng, kind=kind), state)
    assert list(weights) == ["w", "steps"]
    assert weights["w"].dtype == np.float32
    assert weights["w"].shape == (3,)
    assert np.isfinite(weights["w"]).all()
    assert weights["steps"] == 5
    assert state is None or all(isinstance(value, np.ndarray) for value in state.values())


def test_fedsgd_mean_is_sgd_on_the_weighted_gradient():
    sent = updates(np.random.default_rng(1), kind="gradient")
    got, _ = Aggregator("FedAvg", {}, 0.5, PARAMETERS)(WEIGHTS, sent, None)
    mean = np.average([u.payload["w"] for u in sent], axis=0, weights=[u.num_examples for u in sent])
    np.testing.assert_allclose(got["w"], -0.5 * mean, rtol=1e-6)


def test_fedmedian_is_the_median():
    sent = updates(np.random.default_rng(2))
    got, _ = Aggregator("FedMedian", {}, 0.5, PARAMETERS)(WEIGHTS, sent, None)
    np.testing.assert_allclose(got["w"], np.median([u.payload["w"] for u in sent], axis=0), rtol=1e-6)


def test_fedavgm_follows_the_momentum_recursion():
    """m_t = beta m_{t-1} + (w_t - mean_t); w_{t+1} = w_t - lr m_t (Hsu et al., arXiv 1909.06335)."""
    aggregate = Aggregator("FedAvgM", {"server-momentum": 0.9, "server-learning-rate": 0.5}, 0.1, PARAMETERS)
    rng, weights, state = np.random.default_rng(3), WEIGHTS, None
    w, m = np.zeros(3), None
    for _ in range(4):
        sent = updates(rng)
        weights, state = aggregate(weights, sent, state)
        mean = np.average([u.payload["w"] for u in sent], axis=0, weights=[u.num_examples for u in sent])
        m = w - mean if m is None else 0.9 * m + (w - mean)
        w = w - 0.5 * m
        np.testing.assert_allclose(weights["w"], w, rtol=1e-4, atol=1e-6)


def test_state_that_went_through_a_checkpoint_goes_on_the_same():
    for strategy in ("FedAvgM", "FedAdam", "FedYogi", "FedAdagrad"):
        options = {"server-momentum": 0.9} if strategy == "FedAvgM" else {}
        results = []
        for copied in (False, True):
            rng, weights, state = np.random.default_rng(4), WEIGHTS, None
            for _ in range(4):
                aggregate = Aggregator(strategy, options, 0.5, PARAMETERS)  # a resumed run has new objects
                state = {name: array.copy() for name, array in state.items()} if copied and state else state
                weights, state = aggregate(weights, updates(rng), state)
            results.append(weights["w"])
        np.testing.assert_array_equal(*results)


def with_buffers(rng, kind):
    """Return updates of a model with batch norm: one trained tensor, a running mean, a counter."""
    sent = updates(rng, kind=kind)
    for update in sent:
        update.payload["running"] = rng.normal(size=5).astype(np.float32) + 100
    return sent


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("kind", ["weights", "gradient"])
def test_buffers_are_averaged_and_never_optimised(strategy, kind):
    aggregate = Aggregator(strategy, options_of(strategy), 0.5, PARAMETERS)
    weights, state = WEIGHTS | {"running": np.zeros(5, np.float32)}, None
    rng = np.random.default_rng(5)
    for _ in range(3):
        sent = with_buffers(rng, kind)
        weights, state = aggregate(weights, sent, state)
        sizes = [update.num_examples for update in sent]
        expected = weighted_mean([update.payload for update in sent], sizes)["running"]
        np.testing.assert_array_equal(weights["running"], expected)
        oracle = np.average([update.payload["running"] for update in sent], axis=0, weights=sizes)
        np.testing.assert_allclose(weights["running"], oracle, rtol=1e-6)
    assert list(weights) == ["w", "steps", "running"]
    assert not [name for name in state or {} if "running" in name]


def test_buffers_do_not_decide_whom_krum_selects():
    sent = updates(np.random.default_rng(6))
    aggregate = Aggregator("Krum", {"num-malicious-nodes": 1}, 0.5, PARAMETERS)
    alone, _ = aggregate(WEIGHTS, sent, None)
    for update in sent:
        update.payload["running"] = np.array([1e6 * update.client_id], np.float32)
    beside, _ = aggregate(WEIGHTS | {"running": np.zeros(1, np.float32)}, sent, None)
    np.testing.assert_array_equal(beside["w"], alone["w"])


def test_batch_norm_trains_under_an_adaptive_strategy(tmp_path):
    """Adam on running variances makes them negative or huge: this loss was 7,241."""
    federation = {"strategy": "FedAdam", "clients": 2}
    model = {"name": "resnet18", "norm": "batch", "width": 4}
    stage = set_stage(scenario(federation=federation, model=model, data={"train": 400}), tmp_path)

    def body(grid):
        return stage.training.run(Federation(grid_engine(stage, grid, 1), stage.held), stage.fresh(0), 10)

    trained = stage.model()
    load_weights(trained, in_process(app, 1, body))
    images, labels = stage.dataset.images(stage.splits.test), stage.dataset.labels(stage.splits.test)
    assert evaluate(trained, images, labels).loss < 20


@pytest.mark.parametrize(
    ("strategy", "options", "words"),
    [
        ("FedAdam", {"beta-3": 0.1}, ["beta-3 = 0.1: FedAdam has no such option", "beta-"]),
        ("FedAvg", {"fraction-train": 0.1}, ["fraction-train = 0.1: FedAvg has no such option"]),
        ("Bulyan", {"selection-rule": "x"}, ['selection-rule = "x": Bulyan has no such option; choose one of']),
        ("FedProx", {"proximal-mu": 0.1}, ["proximal-mu = 0.1", "give federation.proximal-mu"]),
        ("FedYogi", {"eta-l": 0.1}, ["eta-l = 0.1", "give federation.learning-rate"]),
        ("FedAdam", {"eta": "abc"}, ['eta = "abc": must be a number above 0']),
        ("FedAdam", {"eta": True}, ["eta = true: must be a number above 0"]),
        ("FedAdam", {"eta": 0}, ["eta = 0: must be a number above 0"]),
        ("FedAdam", {"beta-1": 1}, ["beta-1 = 1: must be a number from 0 to below 1"]),
        ("FedYogi", {"beta-2": -0.1}, ["beta-2 = -0.1: must be a number from 0 to below 1"]),
        ("FedAdagrad", {"tau": 0.0}, ["tau = 0.0: must be a number above 0"]),
        ("FedAvgM", {"server-momentum": 1.0}, ["server-momentum = 1.0: must be a number from 0 to below 1"]),
        ("FedAvgM", {"server-learning-rate": -1}, ["server-learning-rate = -1: must be a number above 0"]),
        ("FedTrimmedAvg", {"beta": 0.7}, ["beta = 0.7: must be a number from 0 to below 0.5"]),
        ("Krum", {"num-malicious-nodes": -1}, ["num-malicious-nodes = -1: must be an integer from 0 up"]),
        ("Krum", {"num-malicious-nodes": 1.0}, ["num-malicious-nodes = 1.0: must be an integer from 0 up"]),
        ("MultiKrum", {"num-nodes-to-select": 0}, ["num-nodes-to-select = 0: must be an integer from 1 up"]),
        ("Krum", {"num-malicious-nodes": 9}, ["nodes = 9: must be at most 2: Krum needs 2f + 3", "there are 8"]),
        ("MultiKrum", {"num-malicious-nodes": 3}, ["num-malicious-nodes = 3: must be at most 2"]),
        ("MultiKrum", {"num-nodes-to-select": 9}, ["num-nodes-to-select = 9: must be at most the 8 clients"]),
        ("Bulyan", {"num-malicious-nodes": 2}, ["nodes = 2: must be at most 1: Bulyan needs 4f + 3", "there are 8"]),
    ],
)
def test_options_that_cannot_be_are_one_line(strategy, options, words):
    with pytest.raises(ScenarioError) as error:
        check_strategies(cells(strategy, options))
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("federation.strategy-options.")
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_options_that_can_be_pass(strategy):
    check_strategies(cells(strategy, options_of(strategy)))
    check_strategies(cells(strategy, {}))


def test_a_whole_number_is_a_number():
    check_strategies(cells("FedAvgM", {"server-learning-rate": 1, "server-momentum": 0}))


@pytest.mark.parametrize("strategy", ["Krum", "MultiKrum", "Bulyan"])
def test_too_few_clients_for_any_option(strategy):
    line = f'federation.strategy = "{strategy}": needs at least 3 clients per round; there are 2'
    with pytest.raises(ScenarioError, match=re.escape(line)):
        check_strategies(cells(strategy, {}, **{"clients-per-round": 2}))


def test_the_cell_is_named_when_there_are_several():
    (cell,) = cells("FedTrimmedAvg", {"beta": 0.7})
    with pytest.raises(ScenarioError, match=r"^cell robust: federation\.strategy-options\.beta = 0\.7"):
        check_strategies([replace(cell, name="robust", values={"federation.strategy": "FedTrimmedAvg"})])


def test_every_option_of_flower_has_a_range_here():
    for strategy in STRATEGIES:
        names = {kebab(name) for name in inspect.signature(getattr(flower_strategies, strategy)).parameters}
        assert {name for name in names if not name.startswith(PLUMBING)} <= RULES.keys() | ELSEWHERE.keys()


def test_what_flower_refuses_beyond_the_ranges_is_one_line(monkeypatch):
    monkeypatch.delitem(RULES, "beta")
    with pytest.raises(ScenarioError, match=r'strategy-options = {"beta": 0\.7}: FedTrimmedAvg: .*range \[0, 0\.5\)'):
        check_strategies(cells("FedTrimmedAvg", {"beta": 0.7}))


def test_the_schema_knows_flowers_strategies():
    assert all(hasattr(flower_strategies, strategy) for strategy in STRATEGIES)
    with pytest.raises(ScenarioError, match=r'federation\.strategy = "FedAvgg": .*did you mean "FedAvg"'):
        cells("FedAvgg", {})


@pytest.mark.parametrize(("strategy", "needed"), [("Krum", 5), ("MultiKrum", 5), ("Bulyan", 7)])
def test_too_few_updates_lose_the_quorum(strategy, needed):
    aggregate = Aggregator(strategy, {"num-malicious-nodes": 1}, 0.5, PARAMETERS)
    sent = updates(np.random.default_rng(7))
    weights, state = aggregate(WEIGHTS, sent[:needed], None)
    with pytest.raises(QuorumLost, match=rf"^strategy {strategy}, round 2: {needed - 1} updates, .* needs {needed}$"):
        aggregate(weights, sent[: needed - 1], state)


def test_an_error_inside_a_strategy_is_one_line(monkeypatch):
    def out_of_paper(self, server_round, replies):
        raise ValueError("out of paper\nand out of ink")

    aggregate, sent = Aggregator("FedMedian", {}, 0.5, PARAMETERS), updates(np.random.default_rng(8))
    _, state = aggregate(WEIGHTS, sent, None)
    monkeypatch.setattr(flower_strategies.FedMedian, "aggregate_train", out_of_paper)
    line = "strategy FedMedian, round 2: ValueError: out of paper and out of ink"
    with pytest.raises(EngineFailure, match=f"^{line}$"):
        aggregate(WEIGHTS, sent, state)
    monkeypatch.setattr(flower_strategies.FedMedian, "aggregate_train", lambda *_: (None, None))
    with pytest.raises(EngineFailure, match="it made no model of 7 updates"):
        aggregate(WEIGHTS, sent, state)
