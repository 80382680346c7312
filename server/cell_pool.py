"""Cells in several processes: each takes whole groups of cells that share a trunk, one group after the other."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any, TypeAlias

from fedunlearn.errors import BadInput, EngineFailure, FedUnlearnError
from fedunlearn.scenario import Cell

if TYPE_CHECKING:
    from fedunlearn.reporting.progress import Listener

Group: TypeAlias = Sequence[Cell]
Work: TypeAlias = "Callable[[Group, Listener], None]"
DONE, FAILED = "done", "failed"


def check_jobs(cells: Sequence[Cell], jobs: int) -> None:
    """Refuse several processes for cells that are not run in one.

    Raises:
        BadInput: when a cell's engine is not inline.
    """
    if jobs > 1 and (others := [cell.name for cell in cells if cell.scenario.federation.engine != "inline"]):
        raise BadInput(
            f'--jobs {jobs}: only cells with federation.engine = "inline" run side by side, {others[0]} runs on Ray, '
            "which has federation.workers; give --engine inline or no --jobs"
        )


def run_groups(groups: Sequence[Group], work: Work, listeners: Sequence[Listener]) -> None:
    """Call `work(group, listener)` for every group, in as many new processes as there are listeners.

    An idle process is given the next group, so that no trunk is trained twice or by two at once. Ending this process,
    however it ends, ends the others; what they have finished is on disk, and a resumed run goes on from there.

    Args:
        groups: cells that must be run in order, by one process.
        work: runs a group; goes through pickle.
        listeners: one for each process, told here how far that is; at most as many as groups.

    Raises:
        FedUnlearnError: what `work` raised first; the groups that were not finished are left as they are.
        EngineFailure: when a process ended by itself.
    """
    context = get_context("spawn")
    waiting = list(reversed(groups))
    busy: dict[Connection, tuple[Listener, Group]] = {}
    processes = []
    try:
        for listener in listeners:
            near, far = context.Pipe()
            processes.append(context.Process(target=_serve, args=(far, work), daemon=True))
            processes[-1].start()
            far.close()  # so that reading from the other end fails when the process is gone
            busy[near] = listener, waiting.pop()
            near.send(busy[near][1])
        while busy:
            for connection in wait(list(busy)):
                assert isinstance(connection, Connection)
                listener, group = busy[connection]
                if not _heard(connection, listener, group):
                    continue
                if waiting:
                    busy[connection] = listener, waiting.pop()
                    connection.send(busy[connection][1])
                else:
                    connection.send(None)
                    del busy[connection]
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _heard(connection: Connection, listener: Listener, group: Group) -> bool:
    """Take one message from a process; return whether its group is finished."""
    try:
        what, *told = connection.recv()
    except EOFError:
        names = f"{group[0].name} to {group[-1].name}" if len(group) > 1 else group[0].name
        raise EngineFailure(f"the process that ran {names} was lost; --resume goes on from its last round") from None
    if what == FAILED:
        raise told[0]
    if what != DONE:
        getattr(listener, what)(*told)
    return bool(what == DONE)


class _Reporter:
    """Tells the first process how far this one is."""

    def __init__(self, connection: Connection) -> None:
        self._send = connection.send

    def cell(self, name: str, number: int, count: int) -> None:
        self._send(("cell", name, number, count))

    def begin(self, what: str, rounds: int) -> None:
        self._send(("begin", what, rounds))

    def row(self, row: dict[str, Any]) -> None:
        self._send(("row", row))


def _serve(connection: Connection, work: Work) -> None:
    """Run groups until there are none; anything but an expected error ends the process with its traceback."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one ends the others
    threading.Thread(target=_end_with_the_first_process, daemon=True).start()
    for group in iter(connection.recv, None):
        try:
            work(group, _Reporter(connection))
        except FedUnlearnError as error:
            connection.send((FAILED, error))
            return
        connection.send((DONE,))


def _end_with_the_first_process() -> None:
    """End this process when the first one is gone, killed perhaps: a resumed run must not meet it in its folder."""
    first = parent_process()
    assert first is not None
    wait([first.sentinel])
    os._exit(1)
