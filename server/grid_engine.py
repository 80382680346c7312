"""The engine over a Flower `Grid`: on Ray, on real SuperNodes or in this process, by which grid it is given."""

from __future__ import annotations

import heapq
import time
from collections.abc import Sequence
from typing import Any

from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid

from fedunlearn.errors import EngineFailure
from fedunlearn.federation import Failure, Order, Outcome, Update, Weights
from fedunlearn.stage import Stage
from fedunlearn.wire import decode_outcomes, encode_order, encode_private, from_npy, to_npy
from server.aggregation import Aggregator
from server.local_grid import APP_RAISED

NODE_WAIT = 120.0  # seconds to wait for all SuperNodes
RESEND_PIECES = 32  # into how many messages the clients of a lost message are split
MESSAGE_BYTES = 1 << 28  # of the models in one answer, unless a single one is larger


class GridEngine:
    """Carries orders to the clients in few messages, and aggregates.

    Args:
        grid: the Flower grid.
        site: what the worker processes need (`fedunlearn.learning.Site` as JSON).
        sizes: samples held by each client; balances the messages and weighs nothing else.
        aggregator: the server step.
        num_nodes: SuperNodes to wait for before the first round.
        client_timeout: seconds that one client may take; enforced in the worker.
        round_timeout: seconds after which missing answers count as failures.
    """

    def __init__(
        self,
        grid: Grid,
        site: str,
        sizes: Sequence[int],
        aggregator: Aggregator,
        num_nodes: int,
        client_timeout: float,
        round_timeout: float,
    ) -> None:
        self._grid = grid
        self._site = site
        self._sizes = sizes
        self._aggregator = aggregator
        self._num_nodes = num_nodes
        self._client_timeout = client_timeout
        self._round_timeout = round_timeout

    def aggregate(self, weights: Weights, updates: Sequence[Update], state: Any) -> tuple[Weights, Any]:
        """Return the next global model and the server optimiser's next state."""
        return self._aggregator(weights, updates, state)

    def deliver(self, order: Order) -> list[Outcome]:
        """Return one outcome per job.

        A message lost with its worker process is sent once more, split into smaller ones, until the clients
        that do not survive stand alone: they are the failures, the others lose nothing.
        """
        nodes = self._nodes()
        deadline = time.monotonic() + self._round_timeout
        groups = balance(sorted(order.jobs), self._sizes, len(nodes), clients_per_message(order.weights))
        outcomes: list[Outcome] = []
        while groups:
            answered, lost = self._exchange(order, groups, nodes, deadline - time.monotonic())
            outcomes += answered
            outcomes += [Failure(group[0], reason) for group, reason in lost if len(group) == 1]
            groups = [piece for group, _ in lost if len(group) > 1 for piece in split(group, RESEND_PIECES)]
        silent = set(order.jobs) - {outcome.client_id for outcome in outcomes}
        return outcomes + [Failure(c, f"no answer within {self._round_timeout:g} s") for c in sorted(silent)]

    def _exchange(
        self, order: Order, groups: list[list[int]], nodes: list[int], seconds: float
    ) -> tuple[list[Outcome], list[tuple[list[int], str]]]:
        """Send one message per group; return the outcomes, and the groups whose worker died, with the reason."""
        weights, attachments = packed(order.weights), packed(order.task.attachments)
        by_group: dict[str, list[int]] = {}
        messages = []
        for number, group in enumerate(groups):
            plain = encode_order(order, group)
            limit = self._client_timeout * len(group) * 1.5 + 10  # the watchdog's, far behind the limit per client
            plain |= {"site": self._site, "seconds": limit}
            private = packed(encode_private(order, group))
            content = RecordDict(
                {"weights": weights, "attachments": attachments, "private": private, "order": ConfigRecord(plain)}
            )
            by_group[str(number)] = group
            node = nodes[number % len(nodes)]
            messages.append(Message(content, node, "train.work", group_id=str(number)))
        answered: list[Outcome] = []
        lost: list[tuple[list[int], str]] = []
        for reply in self._grid.send_and_receive(messages, timeout=max(seconds, 0.001)):
            group = by_group[reply.metadata.group_id]
            if reply.has_error() and reply.error.code == APP_RAISED:
                answered += [Failure(client, first_line(reply.error.reason)) for client in group]
            elif reply.has_error():
                lost.append((group, first_line(reply.error.reason)))
            else:
                records = reply.content.array_records["arrays"]
                received = {name: from_npy(array.data) for name, array in records.items()}
                answered += decode_outcomes(received, reply.content.config_records["report"])
        return answered, sorted(lost)

    def _nodes(self) -> list[int]:
        """Return the sorted node ids, after waiting for all of them: a round sent earlier would miss some."""
        deadline = time.monotonic() + NODE_WAIT
        while len(nodes := sorted(self._grid.get_node_ids())) < self._num_nodes:
            if time.monotonic() > deadline:
                raise EngineFailure(f"{len(nodes)} of {self._num_nodes} SuperNodes connected within {NODE_WAIT:g} s")
            time.sleep(0.02)
        return nodes


def grid_engine(stage: Stage, grid: Grid, num_nodes: int) -> GridEngine:
    """Return the engine that carries a stage's rounds over `grid`."""
    federation = stage.scenario.federation
    aggregator = Aggregator(
        federation.strategy, federation.strategy_options, federation.learning_rate, stage.parameters
    )
    sizes = [len(ids) for ids in stage.held]
    limits = federation.client_timeout, federation.round_timeout
    return GridEngine(grid, stage.site.to_json(), sizes, aggregator, num_nodes, *limits)


def packed(arrays: Weights) -> ArrayRecord:
    """Return arrays as Flower sends them."""
    return ArrayRecord({n: Array(str(a.dtype), a.shape, "numpy.ndarray", to_npy(a)) for n, a in arrays.items()})


def clients_per_message(weights: Weights) -> int:
    """Return how many clients may answer in one message, each with as many bytes as the model has."""
    return max(1, MESSAGE_BYTES // max(1, sum(array.nbytes for array in weights.values())))


def balance(clients: Sequence[int], sizes: Sequence[int], num_nodes: int, most: int) -> list[list[int]]:
    """Return groups of at most `most` clients with nearly equal total size: one per node, or more if they must be.

    Largest first, each to the least loaded group. Grouping never changes a result, only how long a round takes.

    Example:
        >>> balance([0, 1, 2, 3], [5, 1, 2, 3], 2, 9)
        [[0, 1], [2, 3]]
        >>> balance([0, 1, 2, 3], [5, 1, 1, 1], 1, 2)
        [[0, 3], [1, 2]]
    """
    groups: list[list[int]] = [[] for _ in range(max(num_nodes, -(-len(clients) // most)))]
    lightest = [(0, number) for number in range(len(groups))]  # a heap of (load, group)
    for client in sorted(clients, key=sizes.__getitem__, reverse=True):
        load, number = heapq.heappop(lightest)
        groups[number].append(client)
        if len(groups[number]) < most:
            heapq.heappush(lightest, (load + max(sizes[client], 1), number))
    return [sorted(group) for group in groups if group]


def split(group: list[int], pieces: int) -> list[list[int]]:
    """Return `group` cut into at most `pieces` runs of nearly equal length.

    Example:
        >>> split([1, 2, 3, 4, 5], 2)
        [[1, 2, 3], [4, 5]]
    """
    length = -(-len(group) // pieces)
    return [group[start : start + length] for start in range(0, len(group), length)]


def first_line(text: str | None) -> str:
    """Return the first line of an engine's error text, without Ray's traceback."""
    return (text or "the worker process was lost").strip().splitlines()[0][:200]
