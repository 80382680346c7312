"""Our L-BFGS for many searches at once: against SciPy's and PyTorch's for one."""

import numpy as np
import pytest
import scipy.optimize
import torch

from fedunlearn.attacks.gradient_inversion.lbfgs import HISTORY, State, _remember, lbfgs, newton
from fedunlearn.attacks.gradient_inversion.settings import InversionSettings

STRETCH = torch.logspace(0, 3, 60, dtype=torch.float64)


def rosenbrock(points):
    return (100 * (points[:, 1:] - points[:, :-1] ** 2) ** 2 + (1 - points[:, :-1]) ** 2).sum(dim=1)


def bowl(points):
    return (STRETCH * (points - 1) ** 2).sum(dim=1) / 2


class Counted:
    """The evaluation of a function of points, counted."""

    def __init__(self, function):
        self.function, self.calls, self.points = function, 0, 0

    def __call__(self, points, trials=None):
        self.calls, self.points = self.calls + 1, self.points + len(points)
        points = points.detach().requires_grad_()
        values = self.function(points)
        return values.detach(), torch.autograd.grad(values.sum(), points)[0]


def run(evaluate, start, tolerance, steps=500):
    return lbfgs(
        evaluate, start, InversionSettings(steps=steps), lambda losses: losses <= tolerance, lambda *told: None
    )


def starts(count, size):
    return torch.from_numpy(np.random.default_rng(1).uniform(0, 2, size=(count, size)))


@pytest.mark.parametrize(("function", "size"), [(rosenbrock, 2), (rosenbrock, 12), (bowl, 60)])
def test_every_search_ends_where_scipys_does_in_as_many_steps(function, size):
    evaluate, begun = Counted(function), starts(5, size)
    best = run(evaluate, begun, 1e-14)
    np.testing.assert_allclose(best.candidates, np.ones((5, size)), atol=1e-5)
    assert (best.losses <= 1e-14).all()

    def plain(point):
        value, slope = Counted(function)(torch.from_numpy(point)[None])
        return float(value), slope[0].numpy()

    for begin, iterations in zip(begun.numpy(), best.iterations.tolist(), strict=True):
        options = {"maxcor": HISTORY, "ftol": 0, "gtol": 0, "maxiter": 500}
        losses = []
        note = lambda point, losses=losses: losses.append(plain(point)[0])  # noqa: E731
        scipy.optimize.minimize(plain, begin, jac=True, method="L-BFGS-B", options=options, callback=note)
        needed = next(number for number, loss in enumerate(losses, 1) if loss <= 1e-14)
        assert iterations <= 1.3 * needed + 5
    assert evaluate.points <= 1.4 * int(best.iterations.sum()) + 20


def test_losses_fall_like_those_of_torch():
    begun = starts(1, 60)
    ours = run(Counted(bowl), begun, 0.0, steps=40)
    point = begun.clone().requires_grad_()
    theirs = torch.optim.LBFGS([point], max_iter=40, history_size=HISTORY, line_search_fn="strong_wolfe")

    def closure():
        value, point.grad = Counted(bowl)(point)
        return value.sum()

    theirs.step(closure)
    assert float(ours.losses[0]) <= 3 * float(bowl(point.detach())[0])


def test_searches_do_not_depend_on_those_beside_them():
    begun = starts(4, 12)
    together = run(Counted(rosenbrock), begun, 0.0, steps=30)
    for number in range(4):
        alone = run(Counted(rosenbrock), begun[number : number + 1], 0.0, steps=30)
        np.testing.assert_allclose(together.candidates[number], alone.candidates[0], rtol=1e-6)
        assert int(together.iterations[number]) == int(alone.iterations[0])


def test_a_search_that_is_over_is_not_evaluated_any_more():
    def easy_and_hard(points):
        return torch.where(points[:, 0] > 5, (points[:, 0] - 6) ** 2, rosenbrock(points))

    begun = torch.tensor([[6.1, 0.0], [-1.2, 1.0], [6.2, 0.0]], dtype=torch.float64)
    evaluate = Counted(easy_and_hard)
    best = run(evaluate, begun, 1e-12)
    assert (best.losses <= 1e-12).all()
    assert evaluate.points < 2 * evaluate.calls


def test_a_flat_function_and_one_without_bottom_end():
    flat = run(Counted(lambda points: (points * 0).sum(dim=1) + 1), starts(2, 3), 0.0)
    assert flat.losses.tolist() == [1.0, 1.0]
    falling = run(Counted(lambda points: -points.sum(dim=1)), starts(1, 3), -np.inf, steps=5)
    assert falling.iterations.tolist() == [5]


def test_directions_against_the_two_loop_recursion():
    rng = np.random.default_rng(0)
    hessian = np.diag(rng.uniform(1, 10, 8))
    state = State.begin(torch.zeros(2, 8, dtype=torch.float64), torch.zeros(2), torch.ones(2, 8, dtype=torch.float64))
    pairs = []
    for _ in range(HISTORY + 7):  # the ring goes round
        step = rng.normal(size=8)
        pairs.append((step, hessian @ step))
        both = [torch.from_numpy(np.tile(vector, (2, 1))) for vector in pairs[-1]]
        _remember(state, torch.tensor([True, False]), *both)
    slope = rng.normal(size=8)
    found = newton(state, torch.from_numpy(np.tile(slope, (2, 1))))
    q, shares = slope.copy(), []
    for step, turn in reversed(pairs[-HISTORY:]):
        shares.append(step @ q / (step @ turn))
        q -= shares[-1] * turn
    step, turn = pairs[-1]
    q *= step @ turn / (turn @ turn)
    for (step, turn), share in zip(pairs[-HISTORY:], reversed(shares), strict=True):
        q += (share - turn @ q / (step @ turn)) * step
    np.testing.assert_allclose(found[0], q, rtol=1e-6)
    np.testing.assert_allclose(found[1], slope)
