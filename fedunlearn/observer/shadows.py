"""Federations that an attacker trains itself, on public data, to see what forgetting a known class does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fedunlearn.federation import Weights


@dataclass(frozen=True)
class Shadow:
    """One shadow federation.

    Attributes:
        before: its global model when a request was served.
        after: its global model when the request was done.
        forgotten: the classes that it was asked to forget; empty for a shadow control, which trained on instead.
    """

    before: Weights
    after: Weights
    forgotten: tuple[int, ...]


class MakeShadows(Protocol):
    """The harness that trains shadows; it keeps them by content."""

    def __call__(self, count: int, *, classes: int) -> Sequence[Shadow]:
        """Return `count` shadows that forget `classes` random classes each (0: shadow controls)."""
        ...
