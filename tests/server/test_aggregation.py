"""The server step: our mean, and Flower's strategies driven from outside a Flower run."""

import numpy as np
import pytest

from fedunlearn.errors import ScenarioError
from fedunlearn.federation import Update
from server.aggregation import STRATEGIES, Aggregator

PARAMETERS = frozenset({"w"})
WEIGHTS = {"w": np.zeros(3, np.float32), "steps": np.array(4)}


def updates(rng, clients=7, kind="weights"):
    return [
        Update(c, kind, {"w": rng.normal(size=3).astype(np.float32), "steps": np.array(5)}, int(rng.integers(1, 9)))
        for c in range(clients)
    ]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("kind", ["weights", "gradient"])
def test_every_strategy_aggregates_both_kinds(strategy, kind):
    options = {"num-malicious-nodes": 1} if strategy in {"Krum", "MultiKrum", "Bulyan"} else {}
    options |= {"num-nodes-to-select": 3} if strategy == "MultiKrum" else {}
    aggregate = Aggregator(strategy, options, 0.5, PARAMETERS)
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


@pytest.mark.parametrize(
    ("strategy", "options", "words"),
    [
        ("FedAvgg", {}, ["FedAvgg", 'did you mean "FedAvg"']),
        ("FedAdam", {"beta-3": 0.1}, ["strategy-options.beta-3", "beta-"]),
        ("FedAvg", {"fraction-train": 0.1}, ["strategy-options.fraction-train"]),
        ("FedProx", {"proximal-mu": 0.1}, ["strategy-options.proximal-mu"]),
    ],
)
def test_wrong_names(strategy, options, words):
    with pytest.raises(ScenarioError) as error:
        Aggregator(strategy, options, 0.1, PARAMETERS)
    assert all(word in str(error.value) for word in words)
