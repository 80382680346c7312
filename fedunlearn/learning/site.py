"""What a worker process must be told to act for any client."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from fedunlearn.models import PixelStats

Executor = Literal["loop", "vmap"]


@dataclass(frozen=True)
class Site:
    """Paths and plain values only: it travels as JSON.

    Attributes:
        dataset: folder of the prepared data set.
        partition: folder of the saved partition.
        model: name, activation, width and norm (`fedunlearn.models.Architecture`).
        pixel_stats: mean and standard deviation of the pixels, one number each or one per channel.
        image_shape: (channels, height, width).
        num_classes: the head's outputs.
        seed: of what clients draw while they train.
        device: a torch device.
        executor: clients one by one, or all of a message at once.
        client_timeout: seconds of wall-clock time that one client may take.
        poison: client, trigger, target and share (`fedunlearn.data.Poison`), or None.
        data_seed: of what was drawn before training: which samples are poisoned.
    """

    dataset: str
    partition: str
    model: Mapping[str, Any]
    pixel_stats: PixelStats
    image_shape: Sequence[int]
    num_classes: int
    seed: int
    device: str = "cpu"
    executor: Executor = "loop"
    client_timeout: float = 300.0
    poison: Mapping[str, Any] | None = None
    data_seed: int = 0

    def to_json(self) -> str:
        """Return the site as text; equal sites give equal texts."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Site:
        """Return the site that `to_json` wrote."""
        values = json.loads(text)
        return cls(**values | {"image_shape": tuple(values["image_shape"])})
