"""A scale for shares that crowd around one value, with a few far off."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Axis:
    """A scale in shares, stretched around a centre by the inverse hyperbolic sine.

    Differences to the centre that are well below `unit` are drawn to scale, larger ones by their logarithm.

    Attributes:
        centre, unit: around what it is stretched, and within which distance it is linear.
        low, high: its ends.
        first, last: where they are in pixels.
    """

    centre: float
    unit: float
    low: float
    high: float
    first: float
    last: float

    def at(self, value: float) -> float:
        """Return the pixel of a value."""
        low, high, own = (math.asinh((share - self.centre) / self.unit) for share in (self.low, self.high, value))
        return self.first + (own - low) / (high - low) * (self.last - self.first)

    def ticks(self, room: float) -> list[float]:
        """Return round shares that are at least `room` pixels apart, the roundest first; fine ones near the centre."""
        chosen: list[float] = []
        for step in (1.0, 0.5, 0.1, 0.05, 0.02, 0.01, 0.005):
            reach = 1.0 if step >= 0.1 else 5 * step
            first, last = max(self.low, self.centre - reach, 0), min(self.high, self.centre + reach)
            for number in range(math.ceil(first / step - 1e-9), math.floor(last / step + 1e-9) + 1):
                if all(abs(self.at(number * step) - self.at(other)) >= room for other in chosen):
                    chosen.append(number * step)
        return chosen
