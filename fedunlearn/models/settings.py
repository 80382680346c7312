"""What this room reads from a scenario; any object with these attributes will do."""

from dataclasses import dataclass
from typing import Protocol


class ModelSettings(Protocol):
    """Which classifier is built."""

    @property
    def name(self) -> str:
        """A name in `MODELS`."""

    @property
    def activation(self) -> str | None:
        """A name in `ACTIVATIONS`; None for the architecture's own."""

    @property
    def width(self) -> int | None:
        """Hidden units or channels; None for the architecture's own."""

    @property
    def norm(self) -> str:
        """The normalisation layers of architectures that have them: "batch" or "group"."""


@dataclass(frozen=True)
class Architecture:
    """`ModelSettings` as plain values."""

    name: str
    activation: str | None = None
    width: int | None = None
    norm: str = "group"
