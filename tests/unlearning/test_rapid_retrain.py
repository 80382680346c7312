"""Diagonal Newton steps against closed forms, and against Adam where the two are one."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedunlearn.unlearning import UNLEARNERS
from fedunlearn.unlearning.rapid_retrain import DiagonalNewton, RapidRetrainSettings, derivatives
from fedunlearn.unlearning.small_federation import SmallFederation

curvatures = st.lists(st.floats(0.1, 10), min_size=1, max_size=6)


def quadratic(a, theta):
    return 0.5 * (a * theta.square()).sum()


@given(curvatures, st.integers(0, 2**32 - 1))
def test_the_diagonal_of_a_diagonal_hessian_is_exact_for_any_signs(a, seed):
    a = torch.tensor(a, dtype=torch.float64)
    theta = torch.linspace(-1, 2, len(a), dtype=torch.float64, requires_grad=True)
    [gradient], [diagonal] = derivatives(quadratic(a, theta), [theta], np.random.default_rng(seed))
    torch.testing.assert_close(diagonal, a, rtol=0, atol=0)
    torch.testing.assert_close(gradient, (a * theta).detach(), rtol=1e-15, atol=0)


def test_the_estimate_is_right_on_average():
    draws = np.random.default_rng(0)
    half = torch.from_numpy(draws.normal(size=(4, 4)))
    hessian, theta = half @ half.T, torch.zeros(4, dtype=torch.float64, requires_grad=True)
    estimates = [derivatives(0.5 * theta @ hessian @ theta, [theta], draws)[1][0] for _ in range(4000)]
    error = (hessian.square().sum(1) - hessian.diagonal().square()).sqrt() / 4000**0.5
    assert ((torch.stack(estimates).mean(0) - hessian.diagonal()).abs() < 4 * error).all()
    assert len({tuple(estimate.tolist()) for estimate in estimates}) > 1


@given(curvatures)
def test_one_newton_step_reaches_the_minimum(a):
    a = torch.tensor(a, dtype=torch.float64)
    theta = torch.linspace(-3, 2, len(a), dtype=torch.float64, requires_grad=True)
    settings = RapidRetrainSettings(learning_rate=1.0, beta1=0.0, beta2=0.0, epsilon=1e-300)
    DiagonalNewton([theta], settings).step(quadratic(a, theta), np.random.default_rng(0))
    torch.testing.assert_close(theta.detach(), torch.zeros_like(a), rtol=0, atol=1e-14)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_it_is_adam_where_gradient_and_curvature_agree(decay):
    """Of the sum of exp(theta) both are exp(theta)."""
    start = torch.linspace(-1, 1, 5, dtype=torch.float64)
    ours, theirs = start.clone().requires_grad_(), start.clone().requires_grad_()
    settings = RapidRetrainSettings(learning_rate=0.05, epsilon=1e-8, weight_decay=decay)
    newton, draws = DiagonalNewton([ours], settings), np.random.default_rng(0)
    adam = torch.optim.AdamW([theirs], 0.05, weight_decay=decay)
    for _ in range(20):
        newton.step(ours.exp().sum(), draws)
        adam.zero_grad()
        theirs.exp().sum().backward()
        adam.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_a_small_power_of_the_hessian_is_gradient_descent():
    theta = torch.tensor([2.0, -1.0], dtype=torch.float64, requires_grad=True)
    settings = RapidRetrainSettings(learning_rate=0.1, beta1=0.0, beta2=0.0, epsilon=1e-300, hessian_power=1e-12)
    DiagonalNewton([theta], settings).step(quadratic(torch.tensor([4.0, 5.0]), theta), np.random.default_rng(0))
    torch.testing.assert_close(theta.detach(), torch.tensor([1.2, -0.5], dtype=torch.float64), rtol=1e-7, atol=0)


def test_every_client_and_round_draws_its_own_signs(tmp_path, monkeypatch):
    drawn = []

    def spy(loss, parameters, draws):
        drawn.append(draws.bit_generator.state["state"]["state"])
        return derivatives(loss, parameters, draws)

    monkeypatch.setattr("fedunlearn.unlearning.rapid_retrain.derivatives", spy)
    small = SmallFederation(tmp_path)
    weights, history = small.trained
    request, federation = small.request("class"), small.federation()
    federation.open_request(request.samples)
    UNLEARNERS["rapid-retrain"](RapidRetrainSettings(), 2)(weights, request, federation, history)
    assert len(drawn) == len(set(drawn)) == 2 * 4 * 5  # rounds, clients, steps


def test_two_rounds_learn_what_is_retained_and_nothing_of_what_is_not(tmp_path):
    small = SmallFederation(tmp_path)
    weights, history = small.trained
    request, federation = small.request("class"), small.federation()
    federation.open_request(request.samples)
    unlearned = UNLEARNERS["rapid-retrain"](RapidRetrainSettings(rounds=2), 4)(weights, request, federation, history)
    forgotten = np.concatenate(list(request.samples.values()))
    retained = np.setdiff1d(np.concatenate(small.held), forgotten)
    assert federation.spent.rounds == 2
    assert small.accuracy(unlearned, forgotten) == 0
    assert small.accuracy(unlearned, retained) > 0.9
