"""What travels between processes arrives as it was sent."""

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fedunlearn.federation import Failure, Job, Order, Task, Update
from fedunlearn.wire import decode_order, decode_outcomes, encode_order, encode_outcomes, encode_private, stack

jobs = st.dictionaries(
    st.integers(0, 30),
    st.builds(Job, st.dictionaries(st.sampled_from("ab"), st.integers()), st.sampled_from(["all", "retain", "forget"])),
    min_size=1,
)


@given(jobs, st.data())
def test_order_round_trip(chosen, data):
    sets = st.lists(st.integers(0, 99), min_size=1).map(lambda x: np.unique(x).astype(np.int64))
    excluded = st.dictionaries(st.sampled_from(sorted(chosen)), sets)
    past, current = data.draw(excluded), data.draw(excluded)
    weights = {"w": np.arange(3.0)}
    private = {client: {"a/b": np.full(2, client), "c": np.array(client)} for client in list(chosen)[:3]}
    sent = Order(4, Task("train", {"learning-rate": 0.1}), weights, chosen, past, current, private)
    part = sorted(chosen)[::2]
    plain = encode_order(sent, part)
    assert all(isinstance(value, str | int | bytes) for value in plain.values())
    got = decode_order(plain, weights, encode_private(sent, part), {})
    assert (got.call, got.task, dict(got.jobs)) == (4, sent.task, {c: chosen[c] for c in part})
    np.testing.assert_equal(dict(got.private), {client: private[client] for client in part if client in private})
    for mine, theirs in ((past, got.past), (current, got.current)):
        assert {c: mine[c].tolist() for c in part if c in mine} == {c: x.tolist() for c, x in theirs.items()}


def test_outcomes_round_trip_with_mixed_layouts():
    update = lambda c, shape, private=None: Update(  # noqa: E731
        c, "weights", {"b/w": np.full(shape, c, np.float32), "n": np.array(c)}, 0, {"loss": float(c)}, private
    )
    sent = [update(0, (2,)), update(3, (1,)), update(5, (2,)), update(7, (2,), {"log": np.arange(2)})]
    arrays, plain = encode_outcomes(stack(sent), [Failure(1, "raised")])
    json.dumps(plain)
    got = sorted(decode_outcomes(arrays, plain), key=lambda o: o.client_id)
    assert [o.client_id for o in got] == [0, 1, 3, 5, 7]
    assert got[1] == Failure(1, "raised")
    for mine, theirs in zip(sent, [got[0], *got[2:]], strict=True):
        assert mine.metrics == theirs.metrics
        for name, array in mine.payload.items():
            np.testing.assert_array_equal(array, theirs.payload[name])
            assert array.dtype == theirs.payload[name].dtype
    np.testing.assert_array_equal(got[4].private["log"], np.arange(2))
    assert got[0].private is None


def test_equal_layouts_share_one_stack():
    updates = [Update(c, "weights", {"w": np.full(2, c)}, 0) for c in range(50)]
    assert len(stack(updates)) == 1
