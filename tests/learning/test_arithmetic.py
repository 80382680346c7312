"""The arithmetic of a process is pinned, whatever the machine or its environment says."""

from collections.abc import Iterator

import pytest
import scipy.linalg  # noqa: F401  # brings a library of its own
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from fedunlearn.learning import pin_arithmetic
from tests.learning.workshop import mlp

TINY = torch.tensor([1e-39])  # denormal: the smallest normal float32 is 1.2e-38


@pytest.fixture(autouse=True)
def _as_python_starts() -> Iterator[None]:
    """Several threads, denormals kept."""
    threadpool_limits(limits=2)
    torch.set_num_threads(2)
    torch.set_flush_denormal(False)
    yield
    threadpool_limits(limits=1)
    torch.set_num_threads(1)


def pinned() -> bool:
    threads = {pool["num_threads"] for pool in threadpool_info()}
    return torch.get_num_threads() == 1 and threads == {1} and float(TINY * 0.5) == 0


def test_one_thread_and_no_denormals() -> None:
    assert float(TINY * 0.5) > 0
    assert 2 in {pool["num_threads"] for pool in threadpool_info()}
    assert not pinned()
    pin_arithmetic()
    assert pinned()
    pin_arithmetic()
    assert pinned()


def test_a_worker_pins_its_process() -> None:
    mlp([2]).worker()
    assert pinned()
