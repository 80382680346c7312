"""How a round's clients are put into messages, and that it changes no result."""

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.app import app
from server import grid_engine
from server.grid_engine import balance, clients_per_message
from server.local_grid import LocalGrid, flower_run
from tests.server.toy import drive, scenario, set_stage


class CountingGrid(LocalGrid):
    """Notes the node of every message, and the clients in the answer."""

    def __init__(self, *args):
        super().__init__(*args)
        self.nodes, self.answers = [], []

    def send_and_receive(self, messages, *, timeout=None):
        self.nodes.append([message.metadata.dst_node_id for message in messages])
        replies = list(super().send_and_receive(messages, timeout=timeout))
        stacked = [next(iter(reply.content.array_records["arrays"].values())) for reply in replies]
        self.answers.append([array.shape[0] for array in stacked])
        return replies


def run(stage, nodes):
    """Train for three rounds; return what `drive` returns, and the grid."""
    grid = CountingGrid(app, nodes)
    with flower_run():
        return drive(stage, grid, nodes), grid


@pytest.mark.parametrize("executor", ["loop", "vmap"])
@pytest.mark.parametrize("algorithm", ["fedavg", "fedsgd"])
def test_small_messages_give_the_same_model(tmp_path, monkeypatch, executor, algorithm):
    stage = set_stage(scenario(federation={"executor": executor, "algorithm": algorithm}), tmp_path)
    expected, whole = run(stage, 1)
    assert whole.answers == [[6]] * 3
    model = sum(array.nbytes for array in stage.fresh(0).values())
    for cap, nodes, sizes, sent_to in (
        (2 * model, 1, [2, 2, 2], [1, 1, 1]),
        (2 * model, 2, [2, 2, 2], [1, 2, 1]),
        (2 * model - 1, 4, [1] * 6, [1, 2, 3, 4, 1, 2]),
        (1, 2, [1] * 6, [1, 2, 1, 2, 1, 2]),
    ):
        monkeypatch.setattr(grid_engine, "MESSAGE_BYTES", cap)
        seen, grid = run(stage, nodes)
        assert seen == expected
        assert grid.answers == [sizes] * 3
        assert grid.nodes == [sent_to] * 3


@given(st.lists(st.integers(0, 99), min_size=1, max_size=40), st.integers(1, 5), st.integers(1, 50))
def test_every_client_is_in_one_group_and_no_group_is_too_large(sizes, nodes, most):
    clients = list(range(len(sizes)))
    groups = balance(clients, sizes, nodes, most)
    assert sorted(client for group in groups for client in group) == clients
    assert all(group == sorted(group) and 1 <= len(group) <= most for group in groups)
    assert len(groups) == min(len(clients), max(nodes, -(-len(clients) // most)))


def test_a_resnet_travels_in_messages_of_a_quarter_gibibyte():
    resnet18 = {"w": np.empty(11_173_962, np.float32)}  # 45 MB
    assert clients_per_message(resnet18) == 6
    assert clients_per_message({"w": np.empty(1 << 27, np.float32)}) == 1
    assert clients_per_message({}) == clients_per_message({"w": np.empty(0)}) == 1 << 28


def test_the_examples_in_docstrings_hold():
    assert doctest.testmod(grid_engine).failed == 0
