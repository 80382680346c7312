"""Flower's simulation on Ray; the only file that imports `flwr.simulation` and `ray`."""

from __future__ import annotations

import logging
import math
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from fedunlearn.errors import EngineFailure

# Read at import time by flwr and ray, so set before either is imported.
os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
# Shared memory is used again at once; by default Ray collects a second's worth of replies before it frees them.
os.environ.setdefault("RAY_free_objects_batch_size", "1")

import numpy as np
import ray
from flwr.app import Array, Context, Error, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.simulation.ray_transport.ray_actor import ClientAppActor

from server.local_grid import LocalGrid, app_raised, flower_run

LOST = 0  # Flower's error code for a message that no ClientApp answered
T = TypeVar("T")


class RayGrid(LocalGrid):
    """Hands each message to an idle one of Flower's Ray actors, the moment it is sent.

    Flower's own simulation loop does so through a mailbox that it opens ten times a second: a round, however short,
    takes at least 0.1 s there. It also waits for ever for an actor that hangs; here that is replaced.

    Args:
        app: what the actors run.
        num_nodes: the number of SuperNodes; messages to all of them share the actors.
        workers: the number of actors.
        gpus_per_worker: the share of a GPU that each actor gets.
    """

    def __init__(self, app: ClientApp, num_nodes: int, workers: int, gpus_per_worker: float) -> None:
        super().__init__(app, num_nodes)
        self._kind = ClientAppActor.options(num_cpus=1, num_gpus=gpus_per_worker)  # type: ignore[attr-defined]
        self._idle = [self._kind.remote() for _ in range(workers)]
        self._busy: dict[Any, tuple[Any, Message]] = {}  # what an actor will return -> that actor, its message
        self._waiting: deque[Message] = deque()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Hand over as many messages as there are idle actors, the others as soon as one is; return the ids."""
        ids = []
        for message in messages:
            ids.append(self._number(message))
            self._waiting.append(message)
        self._hand_over()
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return the replies to these messages that have come so far, each once."""
        self._collect(0.0)
        return super().pull_messages(message_ids)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Return the replies that come within `timeout` seconds; what has not come by then never will."""
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        ids = self.push_messages(messages)
        while self._busy and (left := deadline - time.monotonic()) > 0:
            self._collect(None if timeout is None else left)
        self._waiting.clear()
        for actor, _ in self._busy.values():
            self._replace(actor)
        self._busy.clear()
        return super().pull_messages(ids)

    def _hand_over(self) -> None:
        app = self._app
        while self._idle and self._waiting:
            actor, message = self._idle.pop(), self._waiting.popleft()
            node = message.metadata.dst_node_id
            future = actor.run.remote(lambda: _beside(app), message, str(node), self._contexts[node])
            self._busy[future] = actor, message

    def _collect(self, seconds: float | None) -> None:
        """Wait until an actor is done, take what it returned, and give it its next message."""
        done, _ = ray.wait(list(self._busy), num_returns=1, timeout=seconds) if self._busy else ([], [])
        for future in done:
            actor, message = self._busy.pop(future)
            try:
                _, (reply, buffers), self._contexts[message.metadata.dst_node_id] = ray.get(future)
                _put_back(buffers, reply)
                self._idle.append(actor)
            except ray.exceptions.RayError as error:
                reply = Message(Error(LOST, f"{type(error).__name__}: {error}"), reply_to=message)
                self._replace(actor)
            self._replies[message.metadata.message_id] = reply
        self._hand_over()

    def _replace(self, actor: Any) -> None:
        """End an actor's process, if it still runs, and start another: a restarted one refuses work at first."""
        ray.kill(actor)
        self._idle.append(self._kind.remote())


def _beside(app: ClientApp) -> Callable[[Message, Context], tuple[Message, list[np.ndarray]]]:
    """Return the app with the bytes of its replies' arrays beside the message, as numpy arrays.

    Those Ray hands over in shared memory; bytes inside of a message it would copy four times on their way.
    """

    def run(message: Message, context: Context) -> tuple[Message, list[np.ndarray]]:
        try:
            reply = app(message, context)
        except Exception as error:
            return app_raised(error, message), []
        buffers = []
        for array in _arrays(reply):
            buffers.append(np.frombuffer(array.data, np.uint8))
            array.data = b""
        return reply, buffers

    return run


def _put_back(buffers: list[np.ndarray], reply: Message) -> None:
    for array, buffer in zip(_arrays(reply), buffers, strict=True):
        array.data = buffer.data  # type: ignore[assignment]  # read like bytes, and not copied


def _arrays(message: Message) -> list[Array]:
    records = message.content.array_records.values() if message.has_content() else ()
    return [array for record in records for array in record.values()]


def on_ray(app: ClientApp, workers: int, num_nodes: int, gpus_per_worker: float, body: Callable[[Grid], T]) -> T:
    """Return `body(grid)` with `num_nodes` SuperNodes that share `workers` Ray actors.

    Raises:
        EngineFailure: when Ray does not start, or breaks. What `body` raises comes out as it is.
    """
    try:
        try:
            _start_ray(workers)
            grid = RayGrid(app, num_nodes, workers, gpus_per_worker)
        except Exception as error:
            raise EngineFailure(f"Ray did not start: {error}") from error
        with flower_run():
            return body(grid)
    except ray.exceptions.RayError as error:
        raise EngineFailure(f"Ray broke: {error}") from error
    finally:
        ray.shutdown()


def _start_ray(workers: int) -> None:
    environment = {  # of the workers
        "FEDUNLEARN_WORKER": "1",  # they may be ended
        "PYTHONPATH": os.pathsep.join(sys.path),  # they import what this process can import
        # What a round frees is kept for the next one: fresh pages from the system cost as much as small models' work.
        "MALLOC_TRIM_THRESHOLD_": str(1 << 29),
        "MALLOC_MMAP_THRESHOLD_": str(1 << 25),
    }
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        ray.init("local", num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
