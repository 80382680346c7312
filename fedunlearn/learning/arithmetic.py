"""How this process computes: part of the last bits of every result."""

import torch


def pin_arithmetic() -> None:
    """Compute with a single torch thread, and take denormal numbers for zero.

    The number of threads decides the order in which sums are taken, and by default follows the machine or
    OMP_NUM_THREADS. Denormals are slow; gradients of gradients are full of them. Both settings hold for good, the
    second one for the calling thread only (and those that it starts): call this before anything is computed, in
    every process that takes part. Calling it again changes nothing.
    """
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
