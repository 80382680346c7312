"""How this process computes: part of the last bits of every result."""

import torch
from threadpoolctl import threadpool_limits


def pin_arithmetic() -> None:
    """Compute with a single thread, and take denormal numbers for zero.

    The number of threads decides the order in which sums are taken, and by default follows the machine or
    OMP_NUM_THREADS. Small problems also take twenty times as long on two threads as on one, or more where others work
    on the same machine. Denormals are slow; gradients of gradients are full of them. All this holds for good, for
    torch and for the linear algebra libraries that are loaded by now; denormals for the calling thread only (and those
    that it starts). Call this before anything is computed, in every process that takes part. Calling it again changes
    nothing.
    """
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    threadpool_limits(limits=1)
