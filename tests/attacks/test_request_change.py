"""The gradient of what a request removed, from two rounds: against the gradient of the removed samples themselves."""

import numpy as np
import pytest

from fedunlearn.attacks.request_change import change_of
from fedunlearn.federation import Order, Task, Update
from fedunlearn.models import load_weights
from fedunlearn.observer.access import AccessRefused
from fedunlearn.observer.derived import SingleUpdateView
from fedunlearn.observer.tape import Tape
from tests.observer.recorded import Watcher, blank, digits, fresh, gradient_of

IMAGES, LABELS = digits()
HELD = [np.arange(0, 6), np.arange(10, 18), np.arange(20, 25)]
LEFT = [np.arange(0, 6), np.arange(12, 18), np.arange(20, 25)]  # client 1 loses 10 and 11


def true_gradient(weights, ids):
    model = blank()
    load_weights(model, weights)
    return gradient_of(model.eval(), IMAGES[ids], LABELS[ids])


def record(tape, branch, rounds):
    """Record FedSGD rounds over all of each client's data: (broadcast, sample ids by client) each."""
    for number, (weights, held) in enumerate(rounds, start=1):
        updates = [
            Update(
                client, "gradient", {n: g.astype(np.float32) for n, g in true_gradient(weights, ids).items()}, len(ids)
            )
            for client, ids in held.items()
        ]
        order = Order(number, Task("gradient", {}, "gradient"), weights, {})
        tape.on_round(branch, order, updates)


def watched(tmp_path, after, held):
    """Return a tape: two rounds, then a request, then one round from `after` with the clients' samples `held`."""
    tape, first, second = Tape(tmp_path), fresh(1), fresh(2)
    everybody = dict(enumerate(HELD))
    record(tape, "trunk", [(first, everybody), (second, everybody)])
    tape.request("branch")
    record(tape, "branch", [(after, held)])
    tape.mark("branch", request_round=2, before=second, after=after, final=after)
    return tape


def view_of(tape, access="updates"):
    return tape.view(Watcher(access, ("request-round",)), "branch")


@pytest.mark.parametrize("access", ["updates", "aggregate-only"])
def test_from_the_same_model_it_is_the_gradient_of_the_removed_samples(tmp_path, access):
    tape = watched(tmp_path, fresh(1), dict(enumerate(LEFT)))
    change = change_of(view_of(tape, access), None)
    assert (change.rounds, change.same_model, change.missing, change.update.num_examples) == ((1, 3), True, 2, 2)
    for name, gradient in true_gradient(fresh(1), [10, 11]).items():
        np.testing.assert_allclose(change.update.payload[name], gradient, atol=2e-6)
        np.testing.assert_array_equal(change.broadcast[name], fresh(1)[name])


def test_sums_give_a_client_away_that_leaves(tmp_path):
    tape = watched(tmp_path, fresh(1), {0: HELD[0], 2: HELD[2]})
    for access in ("updates", "aggregate-only"):
        change = change_of(view_of(tape, access), None)
        assert change.missing == 8
        for name, gradient in true_gradient(fresh(1), HELD[1]).items():
            np.testing.assert_allclose(change.update.payload[name], gradient, atol=2e-6)


def test_from_another_model_the_rounds_next_to_the_request_are_compared(tmp_path):
    change = change_of(view_of(watched(tmp_path, fresh(5), dict(enumerate(LEFT)))), None)
    assert (change.rounds, change.same_model, change.missing) == ((2, 3), False, 2)


def test_where_nobody_has_fewer_samples_the_client_that_changed_most_is_taken_for_one(tmp_path):
    change = change_of(view_of(watched(tmp_path, fresh(5), dict(enumerate(HELD)))), None)
    assert (change.missing, change.update.num_examples) == (0, 1)
    lengths = []
    for ids in HELD:
        old, new = true_gradient(fresh(2), ids), true_gradient(fresh(5), ids)
        lengths.append(sum(((len(ids) * (old[name] - new[name])) ** 2).sum() for name in old))
    ids = HELD[int(np.argmax(lengths))]
    old, new = true_gradient(fresh(2), ids), true_gradient(fresh(5), ids)
    for name, found in change.update.payload.items():
        np.testing.assert_allclose(found, len(ids) * (old[name] - new[name]), atol=1e-5)


def test_a_sum_of_weights_is_refused(tmp_path):
    tape, weights = Tape(tmp_path), fresh(1)
    for branch in ("trunk", "branch"):
        update = Update(0, "weights", fresh(2), 5)
        tape.on_round(branch, Order(1, Task("train", {}, "weights"), weights, {}), [update])
    tape.mark("branch", request_round=1, before=weights, after=weights, final=weights)
    with pytest.raises(AccessRefused, match="a sum of weights cannot be converted"):
        change_of(view_of(tape, "aggregate-only"), {"learning-rate": 0.1})


def test_attacks_on_updates_see_the_change_as_the_only_one(tmp_path):
    view = view_of(watched(tmp_path, fresh(1), dict(enumerate(LEFT))), "aggregate-only")
    change = change_of(view, None)
    seen = SingleUpdateView(view, change.broadcast, change.update)
    assert seen.clients(1) == (0,)
    assert seen.update(1, 0) is change.update
    assert seen.broadcast(1) is change.broadcast
    assert seen.access == "updates"


def test_more_samples_afterwards_are_no_samples_missing(tmp_path):
    view = view_of(watched(tmp_path, fresh(5), {0: np.arange(0, 9), 1: HELD[1], 2: HELD[2]}), "aggregate-only")
    change = change_of(view, None)
    assert (change.missing, change.update.num_examples) == (0, 1)


def test_rounds_that_nobody_answered_are_refused(tmp_path):
    with pytest.raises(AccessRefused, match="nobody sent anything in round 3"):
        change_of(view_of(watched(tmp_path, fresh(5), {})), None)
