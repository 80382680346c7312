"""What the grid on Ray does that Flower's own does not: it hands over at once, and gives up on who is late."""

import time

import numpy as np
import pytest
from flwr.app import Message, RecordDict

from fedunlearn.wire import from_npy
from server.grid_engine import APP_RAISED, first_line
from server.ray_engine import on_ray
from tests.server.odd_app import app


def send(grid, kinds, timeout):
    """Send one message per kind, to a node each; return the replies by kind, and the seconds it took."""
    messages = [Message(RecordDict({}), node, f"train.{kind}", group_id=kind) for node, kind in enumerate(kinds, 1)]
    began = time.monotonic()
    replies = {reply.metadata.group_id: reply for reply in grid.send_and_receive(messages, timeout=timeout)}
    return replies, time.monotonic() - began


@pytest.fixture(scope="module")
def seen():
    def body(grid):
        warm, _ = send(grid, ["answer"], 120)
        late, seconds = send(grid, ["slow", "answer", "raise"], 5)
        after = [send(grid, ["answer"] * 1, 120) for _ in range(20)]
        return warm, late, seconds, after

    return on_ray(app, 2, 3, 0.0, body)


@pytest.mark.ray
def test_arrays_arrive_whole_and_outlive_the_engine(seen):
    warm, late, _, _ = seen
    for replies, node in ((warm, 1), (late, 2)):
        array = from_npy(replies["answer"].content.array_records["arrays"]["x"].data)
        np.testing.assert_array_equal(array, np.full((300, 1000), node, np.float32))


@pytest.mark.ray
def test_a_late_client_costs_its_own_answer_only(seen):
    _, late, seconds, after = seen
    assert set(late) == {"answer", "raise"}
    assert 5 <= seconds < 30
    assert all(set(replies) == {"answer"} for replies, _ in after)


@pytest.mark.ray
def test_the_reason_is_what_the_client_said(seen):
    error = seen[1]["raise"].error
    assert error.code == APP_RAISED
    assert first_line(error.reason) == "ValueError: out of paper"


@pytest.mark.ray
def test_a_short_round_does_not_wait_for_a_mailbox(seen):
    assert min(seconds for _, seconds in seen[3]) < 0.1
