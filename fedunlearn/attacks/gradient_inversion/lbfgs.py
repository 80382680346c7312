"""L-BFGS for many searches at once, each with a line search and a history of its own: for smooth models."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from fedunlearn.attacks.gradient_inversion.optimisers import Best, Evaluate, Settled, Watch
from fedunlearn.attacks.gradient_inversion.settings import InversionSettings

HISTORY = 100
DECREASE, CURVATURE = 1e-4, 0.9  # the Wolfe conditions
TRIES = 25  # evaluations of one line search
LOOK = 20  # iterations between two looks at the loss
PATIENCE = 5  # looks in a row without this much progress end a search
PROGRESS = 0.98
TOLD_EVERY = 20  # evaluations


@dataclass
class State:
    """Where R searches are, each at a point of d numbers, on its way along a direction.

    Attributes:
        trial: (R,) the number of each search among all that were begun.
        points, losses, slopes: (R, d), (R,), (R, d): the latest accepted ones.
        directions, falls: (R, d), (R,): where a search is heading, and the derivative of its loss that way.
        lengths, lower, upper: (R,) the step that is tried next, and what brackets it.
        tries: (R,) evaluations since the latest accepted point.
        iterations: (R,) accepted points.
        earlier, stalled: (R,) the loss at the latest look, and how many looks in a row saw no progress.
        done: (R,) whether a search is over.
        steps, turns: (R, HISTORY, d): the latest differences of points and of slopes, a ring of slots.
        products, squares: (R, HISTORY, HISTORY) of steps with turns, and of turns with turns.
        pairs: (R,) how many of them were made.
    """

    trial: Tensor
    points: Tensor
    losses: Tensor
    slopes: Tensor
    directions: Tensor
    falls: Tensor
    lengths: Tensor
    lower: Tensor
    upper: Tensor
    tries: Tensor
    iterations: Tensor
    earlier: Tensor
    stalled: Tensor
    done: Tensor
    steps: Tensor
    turns: Tensor
    products: Tensor
    squares: Tensor
    pairs: Tensor

    @classmethod
    def begin(cls, points: Tensor, losses: Tensor, slopes: Tensor) -> State:
        """Return the state of searches that go downhill first, by a step whose sum is at most one."""
        count, size = points.shape
        zeros, whole = torch.zeros_like(losses), torch.zeros(count, dtype=torch.int64, device=points.device)
        ring, square = points.new_zeros(count, HISTORY, size), points.new_zeros(count, HISTORY, HISTORY)
        return cls(
            trial=torch.arange(count, device=points.device),
            points=points,
            losses=losses,
            slopes=slopes,
            directions=-slopes,
            falls=-(slopes**2).sum(dim=1),
            lengths=first_lengths(slopes),
            lower=zeros,
            upper=torch.full_like(losses, torch.inf),
            tries=whole,
            iterations=whole,
            earlier=losses,
            stalled=whole,
            done=~losses.isfinite() | ~slopes.isfinite().all(dim=1),
            steps=ring,
            turns=ring.clone(),
            products=square,
            squares=square.clone(),
            pairs=whole,
        )

    def only(self, rows: Tensor) -> State:
        """Return the state of some of the searches."""
        return State(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


def lbfgs(evaluate: Evaluate, start: Tensor, settings: InversionSettings, settled: Settled, watch: Watch) -> Best:
    """Search from every start (R, ...) for `settings.steps` iterations at most.

    The searches share only their evaluations: one that accepts its point goes on along a new direction, while another
    still tries lengths on its old one. A search is not bounded; it ends early when five times 20 iterations in a row
    each gain less than 2 %, when no length on the steepest way down is any better, or when it is settled.

    Sources: Liu and Nocedal 1989; directions in the compact form of Byrd, Nocedal, Schnabel 1994; line search by
    bisection for the weak Wolfe conditions, Lewis and Overton 2013.
    """
    losses, slopes = evaluate(start)
    state = State.begin(start.flatten(1).clone(), losses, slopes.flatten(1))
    best, calls = Best.none_yet(start).or_better(start, losses), 0
    while not state.done.all():
        if 2 * int(state.done.sum()) >= len(state.done):
            state = state.only((~state.done).nonzero().flatten())
        tried = state.points + state.lengths[:, None] * state.directions
        losses, slopes = evaluate(tried.view(-1, *start.shape[1:]), state.trial)
        _advance(state, tried, losses, slopes.flatten(1), settings)
        best = best.or_better(state.points.view(-1, *start.shape[1:]), state.losses, state.trial, state.iterations)
        state.done |= settled(best.losses)[state.trial] | (state.iterations >= settings.steps)
        calls += 1
        if calls % TOLD_EVERY == 0:
            watch(int(best.iterations.max()), float(best.losses.min()))
    return best


def _advance(state: State, tried: Tensor, losses: Tensor, slopes: Tensor, settings: InversionSettings) -> None:
    """Take the evaluated points into the state: accept some, and choose what every search tries next."""
    low = losses <= state.losses + DECREASE * state.lengths * state.falls  # never for NaN
    flat = (slopes * state.directions).sum(dim=1) >= CURVATURE * state.falls
    state.tries = state.tries + 1
    lost = ~(low & flat) & (state.tries >= TRIES)
    taken = (low & (flat | lost)) & ~state.done
    state.done = state.done | (lost & ~low & (state.pairs == 0))
    forgetful = lost & ~low
    state.pairs = torch.where(forgetful, 0, state.pairs)
    _remember(state, taken, tried - state.points, slopes - state.slopes)
    state.points = torch.where(taken[:, None], tried, state.points)
    state.slopes = torch.where(taken[:, None], slopes, state.slopes)
    state.losses = torch.where(taken, losses, state.losses)
    state.iterations = state.iterations + taken
    _look(state, taken)
    _aim(state, taken | forgetful, low, settings)


def _look(state: State, taken: Tensor) -> None:
    """See, every so many iterations, which searches stall."""
    due = taken & (state.iterations % LOOK == 0)
    slow = state.losses > PROGRESS * state.earlier
    state.stalled = torch.where(due, torch.where(slow, state.stalled + 1, 0), state.stalled)
    state.earlier = torch.where(due, state.losses, state.earlier)
    state.done = state.done | (state.stalled >= PATIENCE)


def _aim(state: State, anew: Tensor, low: Tensor, settings: InversionSettings) -> None:
    """Choose the next lengths: halve the bracket or double the step, and begin anew with a new direction."""
    state.upper = torch.where(low, state.upper, state.lengths)
    state.lower = torch.where(low, state.lengths, state.lower)
    middle = torch.where(state.upper.isinf(), 2 * state.lengths, (state.lower + state.upper) / 2)
    directions = -newton(state, state.slopes)
    falls = (directions * state.slopes).sum(dim=1)
    uphill = ~(falls < 0)
    directions = torch.where(uphill[:, None], -state.slopes, directions)
    falls = torch.where(uphill, -(state.slopes**2).sum(dim=1), falls)
    begun = torch.where((state.pairs == 0) | uphill, first_lengths(state.slopes), settings.rate or 1.0)
    state.directions = torch.where(anew[:, None], directions, state.directions)
    state.falls = torch.where(anew, falls, state.falls)
    state.lengths = torch.where(anew, begun, middle)
    state.lower = torch.where(anew, 0.0, state.lower)
    state.upper = torch.where(anew, torch.inf, state.upper)
    state.tries = torch.where(anew, 0, state.tries)


def first_lengths(slopes: Tensor) -> Tensor:
    """Return the lengths (R,) of steps down slopes (R, d) of which nothing is known, as in `torch.optim.LBFGS`."""
    return (1 / slopes.abs().sum(dim=1)).clamp(max=1.0)


def _remember(state: State, taken: Tensor, steps: Tensor, turns: Tensor) -> None:
    """Put differences (R, d) of accepted points into the rings, where the curvature along them is positive."""
    kept = taken & ((steps * turns).sum(dim=1) > 0)
    rows = kept.nonzero().flatten()
    slots = state.pairs[rows] % HISTORY
    state.steps[rows, slots], state.turns[rows, slots] = steps[rows], turns[rows]
    state.products[rows, :, slots] = _dots(state.steps, turns)[rows]
    squares = _dots(state.turns, turns)[rows]
    state.squares[rows, :, slots], state.squares[rows, slots] = squares, squares
    state.pairs = state.pairs + kept


def newton(state: State, slopes: Tensor) -> Tensor:
    """Return the product (R, d) of the inverse Hessians that the rings imply with slopes (R, d).

    H g = c g + S a + c Y b with b = -R^-1 S'g, a = R^-T ((D + c Y'Y) R^-1 S'g - c Y'g): R the upper triangle of S'Y
    from the oldest to the latest pair, D its diagonal, c = s'y / y'y of the latest. Empty slots count as the oldest.
    """
    ages = (state.pairs[:, None] + torch.arange(HISTORY, device=slopes.device)) % HISTORY
    empty = torch.arange(HISTORY, device=slopes.device) < HISTORY - state.pairs[:, None]
    both = (~empty[:, :, None] & ~empty[:, None, :]).double()
    products, squares = (_sorted(square, ages).double() * both for square in (state.products, state.squares))
    along, turned = (_dots(ring, slopes).gather(1, ages).double() * ~empty for ring in (state.steps, state.turns))
    latest = (products[:, -1, -1] / squares[:, -1, -1]).where(state.pairs > 0, 1.0)[:, None]
    triangle = products.triu() + torch.diag_embed(empty.double())
    b = -torch.linalg.solve_triangular(triangle, along[:, :, None], upper=True)[:, :, 0]
    inner = -(products.diagonal(dim1=1, dim2=2) * b + latest * (squares @ b[:, :, None])[:, :, 0]) - latest * turned
    a = torch.linalg.solve_triangular(triangle.mT, inner[:, :, None], upper=False)[:, :, 0]
    a, b = (torch.zeros_like(part).scatter(1, ages, part * ~empty).to(slopes.dtype) for part in (a, latest * b))
    moved = (a[:, None] @ state.steps + b[:, None] @ state.turns)[:, 0]
    return latest.to(slopes.dtype) * slopes + moved


def _sorted(square: Tensor, ages: Tensor) -> Tensor:
    """Return squares (R, m, m) with rows and columns in the order `ages` (R, m)."""
    rows = square.gather(1, ages[:, :, None].expand_as(square))
    return rows.gather(2, ages[:, None].expand_as(square))


def _dots(ring: Tensor, vectors: Tensor) -> Tensor:
    """Return the products (R, m) of the slots of rings (R, m, d) with vectors (R, d)."""
    return (vectors[:, None] @ ring.mT)[
        :, 0
    ]  # a row times matrices: ten times as fast on CPU as matrices times a column
