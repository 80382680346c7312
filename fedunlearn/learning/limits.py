"""A wall-clock limit for one client's work."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class TookTooLong(BaseException):
    """A client's time is over; not an `Exception`, so that a client half cannot swallow it."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Interrupt the block after `seconds` by the alarm signal.

    Only in the main thread, the one that Python delivers signals to: elsewhere the block runs without a limit. A
    call in native code is interrupted when it returns to Python. An alarm that was set before is put back
    afterwards with what is left of its time; one that would ring first stays in force instead of this limit.

    Raises:
        TookTooLong: in the block, when the time is over.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    outer, interval = signal.getitimer(signal.ITIMER_REAL)
    if 0 < outer <= seconds:
        yield
        return

    def ring(signum: int, frame: FrameType | None) -> None:
        raise TookTooLong(f"took longer than {seconds:g} s")

    began = time.monotonic()
    previous = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        if outer:
            signal.setitimer(signal.ITIMER_REAL, max(outer - (time.monotonic() - began), 1e-3), interval)
