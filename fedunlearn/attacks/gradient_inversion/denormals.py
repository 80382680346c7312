"""Denormal numbers are slow and the gradients of gradients are full of them: an attack takes them for zero."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

DENORMAL = 2.0**-1060  # as a double


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Take denormal numbers for zero within the block, on this thread; afterwards as before."""
    before = flushes_denormals()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def flushes_denormals() -> bool:
    """Return whether this thread takes denormal numbers for zero."""
    return not bool(torch.tensor([DENORMAL], dtype=torch.float64).mul(1.0).item())
