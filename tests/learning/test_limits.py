"""The wall-clock limit, and what it leaves behind."""

import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

import pytest

from fedunlearn.learning.limits import TookTooLong, time_limit


@pytest.fixture(autouse=True)
def _no_other_alarm() -> Iterator[None]:
    """Put the test runner's own alarm aside."""
    remaining, interval = signal.setitimer(signal.ITIMER_REAL, 0)
    handler = signal.getsignal(signal.SIGALRM)
    yield
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, remaining, interval)


def test_work_within_the_limit_is_left_alone() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with time_limit(30):
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 29
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    assert signal.getsignal(signal.SIGALRM) == before


def test_a_hang_is_cut_short_even_if_it_swallows_exceptions() -> None:
    def stubborn() -> None:
        try:
            time.sleep(30)
        except Exception:
            time.sleep(30)

    began = time.monotonic()
    with pytest.raises(TookTooLong, match=r"took longer than 0\.05 s"), time_limit(0.05):
        stubborn()
    assert time.monotonic() - began < 5
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_an_outer_alarm_goes_on_with_what_is_left_of_its_time() -> None:
    rung = []

    def outer(signum: int, frame: FrameType | None) -> None:
        rung.append(time.monotonic())

    signal.signal(signal.SIGALRM, outer)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    began = time.monotonic()
    with pytest.raises(TookTooLong), time_limit(0.1):
        time.sleep(30)
    assert signal.getsignal(signal.SIGALRM) == outer
    time.sleep(0.5)
    assert len(rung) == 1
    assert 0.2 < rung[0] - began < 0.8


def test_an_alarm_that_would_ring_first_stays_in_force() -> None:
    def outer(signum: int, frame: FrameType | None) -> None:
        raise InterruptedError("outer")

    signal.signal(signal.SIGALRM, outer)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    with pytest.raises(InterruptedError), time_limit(20):
        time.sleep(30)


def test_outside_the_main_thread_there_is_no_limit() -> None:
    done = []

    def work() -> None:
        with time_limit(0.01):
            time.sleep(0.1)
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]
