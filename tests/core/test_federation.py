"""The port: views of data, validation of replies, resuming from the journal, participation."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedunlearn.errors import NonFiniteModel, QuorumLost
from fedunlearn.federation import Failure, Job, Order, Task, Update, select_samples, validated, weights_sha256
from fedunlearn.journal import Journal
from tests.core.quadratics import federation, ordinary

ids = st.sets(st.integers(0, 40)).map(lambda chosen: np.array(sorted(chosen), dtype=np.int64))


@given(ids, ids, ids)
def test_views_partition_what_is_left(held, past, current):
    every, kept, asked = (select_samples(held, view, past, current) for view in ("all", "retain", "forget"))
    assert set(every) == set(held) - set(past)
    assert set(kept) | set(asked) == set(every)
    assert not set(kept) & set(asked)
    assert set(asked) == set(every) & set(current)


def order(**weights):
    return Order(1, Task("train"), weights or {"w": np.zeros((10,), np.float32)}, {0: Job()})


def reject(payload, kind="weights", **weights):
    outcome = validated(Update(0, kind, payload, 3), order(**weights))
    assert isinstance(outcome, Failure)
    return outcome.reason


def test_bad_updates_are_named():
    good = np.zeros(10, np.float32)
    assert isinstance(validated(Update(0, "weights", {"w": good}, 3), order()), Update)
    assert "float32[1], expected float32[10]" in reject({"w": good[:1]})  # would broadcast silently
    assert "float64" in reject({"w": good.astype(np.float64)})
    assert "lacks ['w']" in reject({})
    assert "unknown ['v']" in reject({"w": good, "v": good})
    assert "task asks for weights" in reject({"w": good}, kind="gradient")
    for value in (np.nan, np.inf, -np.inf):
        bad = good.copy()
        bad[3] = value
        assert "NaN or infinite" in reject({"w": bad})
    cancelling = good.copy()
    cancelling[:2] = np.inf, -np.inf
    assert "NaN or infinite" in reject({"w": cancelling})


def test_large_finite_values_are_accepted():
    huge = np.full(10, np.finfo(np.float32).max)
    assert isinstance(validated(Update(0, "weights", {"w": huge}, 3), order()), Update)


def test_outcomes_come_in_client_order_with_the_servers_sizes():
    fed, _ = federation(np.eye(4))
    outcomes = fed.round(Task("train"), {"w": np.zeros(4)}, {c: Job() for c in (3, 0, 2)})
    assert [o.client_id for o in outcomes] == [0, 2, 3]
    assert [o.num_examples for o in outcomes] == [4, 4, 4]
    fed.open_request({2: np.array([8, 9])})
    outcomes = fed.round(Task("train"), {"w": np.zeros(4)}, {2: Job(view="forget"), 3: Job(view="retain")})
    assert [o.num_examples for o in outcomes] == [2, 4]


def test_gradients_weigh_as_many_examples_as_their_batch():
    fed, _ = federation(np.eye(4), kind="gradient")
    task = ordinary("fedsgd").task(batch_size=3)
    assert [o.num_examples for o in fed.round(task, {"w": np.zeros(4)}, {0: Job()})] == [3]


def test_forgotten_data_stays_excluded_over_all_requests():
    fed, _ = federation(np.eye(2))
    fed.open_request({0: np.array([0, 1])})
    assert fed.samples(0, "retain").tolist() == [2, 3]
    fed.close_request()
    fed.open_request({0: np.array([2]), 1: np.array([4, 5, 6, 7])})
    assert fed.samples(0, "all").tolist() == [2, 3]
    assert fed.samples(0, "retain").tolist() == [3]
    assert fed.holders("retain") == [0]
    branch = fed.fork("other")
    branch.close_request()
    assert fed.samples(1, "forget").tolist() == [4, 5, 6, 7]  # a fork does not touch its parent
    assert branch.holders("all") == [0]


def test_a_journalled_round_is_not_executed_again(tmp_path):
    def run():
        fed, engine = federation(np.eye(4), journal=Journal(tmp_path))
        return ordinary(clients=2).run(fed, {"w": np.zeros(4)}, 5), engine.delivered

    first, executed = run()
    again, replayed = run()
    assert (executed, replayed) == (5, 0)
    assert weights_sha256(first) == weights_sha256(again)
    (tmp_path / "trunk.0" / "000003.safetensors").unlink()
    third, executed = run()
    assert executed == 1
    assert weights_sha256(first) == weights_sha256(third)


def test_a_journalled_round_of_another_order_is_executed(tmp_path):
    fed, _ = federation(np.eye(4), journal=Journal(tmp_path))
    fed.round(Task("train"), {"w": np.zeros(4)}, {0: Job()})
    other, engine = federation(np.eye(4), journal=Journal(tmp_path))
    outcome = other.round(Task("train"), {"w": np.ones(4)}, {0: Job()})
    assert engine.delivered == 1
    np.testing.assert_array_equal(outcome[0].payload["w"], 1 - 0.5 * (1 - np.eye(4)[0]))


def test_journal_keeps_failures_order_and_private_parts(tmp_path):
    journal = Journal(tmp_path)
    sent = order(z=np.zeros(2, np.float32), a=np.zeros((1, 2)), n=np.array(3))
    update = Update(1, "weights", dict(sent.weights), 7, {"loss": 0.5}, {"log": np.arange(3)})
    journal.save("b.0", sent, [Failure(0, "raised"), update])
    broadcast, outcomes = journal.read("b.0", 1)
    assert list(broadcast) == ["z", "a", "n"]
    assert outcomes[0] == Failure(0, "raised")
    got = outcomes[1]
    assert (got.client_id, got.num_examples, got.metrics) == (1, 7, {"loss": 0.5})
    assert list(got.payload) == ["z", "a", "n"]
    np.testing.assert_array_equal(got.private["log"], np.arange(3))
    assert not list(tmp_path.rglob("*.partial"))


def test_order_digest_sees_everything_that_matters():
    base = order()
    changes = [
        {"call": 2},
        {"task": Task("gradient")},
        {"task": Task("train", {"learning-rate": 0.2})},
        {"weights": {"w": np.ones(10, np.float32)}},
        {"jobs": {1: Job()}},
        {"jobs": {0: Job(view="all")}},
        {"past": {0: np.array([1])}},
        {"current": {0: np.array([1])}},
    ]
    digests = {base.digest()} | {dataclasses.replace(base, **change).digest() for change in changes}
    assert len(digests) == len(changes) + 1


def test_participation_is_keyed_by_client_and_call_alone():
    training = ordinary(clients=3)
    fed, _ = federation(np.eye(8))
    seen = []
    for call in range(30):
        fed.calls = call
        seen.append(tuple(training.participants(fed)))
    assert all(len(chosen) == 3 and list(chosen) == sorted(chosen) for chosen in seen)
    assert len(set(seen)) > 10
    fed.calls = 7
    assert tuple(training.participants(fed)) == seen[7]


def test_dropout_and_quorum():
    training = ordinary(clients=8, dropout=0.5, quorum=8)
    fed, _ = federation(np.eye(8))
    assert 0 < len(training.participants(fed)) < 8
    with pytest.raises(QuorumLost, match=r"branch trunk, call 1: .* quorum 8"):
        training.run(fed, {"w": np.zeros(8)}, 1)


def test_a_model_that_is_not_finite_ends_the_run():
    fed, _ = federation(np.eye(2))
    with pytest.raises(NonFiniteModel, match="w became NaN"):
        fed.publish({"w": np.array([1.0, np.nan])})
