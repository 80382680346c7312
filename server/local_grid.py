"""A Flower `Grid` in this process: every message goes straight to the ClientApp. For tests and fast matrices."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

APP_RAISED = 2  # Flower's error code for an exception in the ClientApp: sending again would raise again
T = TypeVar("T")


class LocalGrid(Grid):
    """Delivers each message to `app` in the order sent.

    No process is isolated and no timeout applies; the handlers and the numbers are those of the Ray engine.
    """

    def __init__(self, app: ClientApp, num_nodes: int = 1) -> None:
        self._app = app
        self._sent = 0
        self._replies: dict[str, Message] = {}
        self._contexts = {
            node: Context(1, node, {"partition-id": node - 1, "num-partitions": num_nodes}, RecordDict(), {})
            for node in range(1, num_nodes + 1)
        }

    def set_run(self, run: Run) -> None:
        """Remember the run's description."""
        self._run = run

    @property
    def run(self) -> Run:
        """The run's description."""
        return self._run

    def create_message(self, *args: object, **kwargs: object) -> Message:
        """Refuse: Flower has deprecated this way of making a message."""
        raise TypeError("create a flwr.app.Message instead")

    def get_node_ids(self) -> Iterable[int]:
        """Return the ids of this process's nodes."""
        return list(self._contexts)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Deliver every message; return their ids."""
        ids = []
        for message in messages:
            ids.append(self._number(message))
            self._replies[ids[-1]] = self._deliver(message)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return the replies to these messages, once."""
        return [self._replies.pop(number) for number in message_ids if number in self._replies]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Deliver every message and return the replies."""
        return self.pull_messages(self.push_messages(messages))

    def _number(self, message: Message) -> str:
        """Give a message its id, and return it."""
        self._sent += 1
        message.metadata.__dict__["_message_id"] = str(self._sent)  # replies copy it; Flower's own grids set it so too
        return str(self._sent)

    def _deliver(self, message: Message) -> Message:
        try:
            return self._app(message, self._contexts[message.metadata.dst_node_id])
        except Exception as error:
            return app_raised(error, message)


def app_raised(error: Exception, message: Message) -> Message:
    """Return what Flower's engines answer to a message when the app raises."""
    return Message(Error(APP_RAISED, f"{type(error).__name__}: {error}"), reply_to=message)


def in_process(app: ClientApp, num_nodes: int, body: Callable[[Grid], T]) -> T:
    """Return `body(grid)` with a `LocalGrid` of `num_nodes` nodes."""
    with flower_run():
        return body(LocalGrid(app, num_nodes))


@contextmanager
def flower_run() -> Iterator[None]:
    """Let messages be made in the block: outside a run of its own, Flower asks this class who sends them.

    What exists by now stays out of the garbage collector's rounds until the end: its hundreds of thousands of objects
    would be visited every few rounds of a large federation.
    """
    names = ("_run_id", "_task_id", "_node_id")
    before = {name: getattr(TaskIdentity, name) for name in names}
    for name in names:
        setattr(TaskIdentity, name, 1)
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        for name, value in before.items():
            setattr(TaskIdentity, name, value)
