"""Classes that the federation keeps to itself: numbered first, so that every other label is a foreign one."""

from collections.abc import Sequence

import numpy as np

from fedunlearn.errors import ScenarioError


def set_apart(
    labels: np.ndarray, names: Sequence[str], private: int | Sequence[int]
) -> tuple[np.ndarray, list[str], int]:
    """Return labels (n,) and names renumbered with the private classes first, in the order given, and their number.

    Args:
        labels: int64 (n,).
        names: of the classes.
        private: the private classes, or how many of the first.

    Raises:
        ScenarioError: when there is no such class, or none is left for the public.

    Example:
        >>> set_apart(np.array([0, 1, 2, 3]), ["a", "b", "c", "d"], [2, 0])
        (array([1, 2, 0, 3]), ['c', 'a', 'b', 'd'], 2)
    """
    first = list(range(private)) if isinstance(private, int) else list(private)
    if unknown := [label for label in first if label >= len(names)]:
        why = f"class {unknown[0]} is unknown; they are numbered 0 to {len(names) - 1}"
        raise ScenarioError(f"data.private-classes = {private}: {why}")
    others = [label for label in range(len(names)) if label not in first]
    if not others:
        why = f"none of the {len(names)} classes is left for the public samples; at most {len(names) - 1}"
        raise ScenarioError(f"data.private-classes = {private}: {why}")
    order = first + others
    return np.argsort(order)[labels], [names[label] for label in order], len(first)
