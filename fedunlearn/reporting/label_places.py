"""Where the names of points go so that none covers another: near its point, else further off with a line to it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

ANGLES = 24  # directions that are tried at each distance
STEP, FARTHEST = 7.0, 260.0  # of the distances, in pixels
PADDING = 2.0  # free pixels around a name
LINED = 9.0  # a name further off than this gets a line


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels: left, top, right, bottom."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        """Return whether two boxes overlap."""
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )

    def inside(self, other: Box) -> bool:
        """Return whether it lies in the other."""
        return (
            other.left <= self.left
            and self.right <= other.right
            and other.top <= self.top
            and self.bottom <= other.bottom
        )

    def wider(self, by: float) -> Box:
        """Return it with so many more pixels on every side."""
        return Box(self.left - by, self.top - by, self.right + by, self.bottom + by)

    def crossed(self, x1: float, y1: float, x2: float, y2: float) -> bool:
        """Return whether a line from (x1, y1) to (x2, y2) goes through it (Liang and Barsky's clipping)."""
        start, end = 0.0, 1.0
        for move, room in (
            (x1 - x2, x1 - self.left),
            (x2 - x1, self.right - x1),
            (y1 - y2, y1 - self.top),
            (y2 - y1, self.bottom - y1),
        ):
            if move == 0:
                if room < 0:
                    return False
            elif move < 0:
                start = max(start, room / move)
            else:
                end = min(end, room / move)
        return start < end


@dataclass(frozen=True)
class Spot:
    """A point with a name: its centre, radius, and the size of the name in pixels; important ones choose first."""

    x: float
    y: float
    radius: float
    width: float
    height: float
    important: bool = False

    @property
    def box(self) -> Box:
        """What the point itself covers."""
        return Box(self.x - self.radius, self.y - self.radius, self.x + self.radius, self.y + self.radius)


@dataclass(frozen=True)
class Place:
    """Where a name goes: its box, and whether it needs a line to the point, which ends at (x, y)."""

    box: Box
    lined: bool
    x: float
    y: float


def places(spots: Sequence[Spot], canvas: Box) -> list[Place]:
    """Return a place for every name, in order: no two overlap, none covers a point, no line runs through a name.

    Of equally important points the most crowded choose first. Where all this cannot be had within reach, lines may run
    through names, and at last names may overlap.

    Args:
        spots: the points.
        canvas: where names may be.
    """
    points = [spot.box for spot in spots]
    found: dict[int, Place] = {}
    crowd = lambda n: sum(math.hypot(spots[n].x - other.x, spots[n].y - other.y) < 60 for other in spots)  # noqa: E731
    for number in sorted(range(len(spots)), key=lambda n: (not spots[n].important, -crowd(n), spots[n].y)):
        others = [*points[:number], *points[number + 1 :]]
        found[number] = _place(spots[number], canvas, others, list(found.items()), spots)
    return [found[number] for number in range(len(spots))]


def _place(
    spot: Spot, canvas: Box, others: Sequence[Box], placed: Sequence[tuple[int, Place]], spots: Sequence[Spot]
) -> Place:
    second, third = None, next(_around(spot))
    for place in _around(spot):
        if place.box.inside(canvas) and _apart(place, others, placed):
            if _clear(spot, place, placed, spots):
                return place
            second = second or place
    return second or third


def _around(spot: Spot) -> Iterator[Place]:
    """Yield places ever further off; at each distance to the right first, then ever more upwards and downwards."""
    distance = spot.radius + 3
    while distance < FARTHEST:
        for turn in range(ANGLES):
            angle = math.pi * ((turn + 1) // 2) / (ANGLES / 2) * (1 if turn % 2 else -1)
            yield _at(spot, distance, angle)
        distance += STEP


def _at(spot: Spot, distance: float, angle: float) -> Place:
    """Return the place whose nearest edge is at a distance and an angle from the point."""
    x, y = spot.x + distance * math.cos(angle), spot.y + distance * math.sin(angle)
    left = x - spot.width * (1 - math.cos(angle)) / 2
    top = y - spot.height * (1 - math.sin(angle)) / 2
    box = Box(left, top, left + spot.width, top + spot.height)
    return Place(box, distance - spot.radius > LINED, min(max(spot.x, box.left), box.right), y)


def _apart(place: Place, others: Sequence[Box], placed: Sequence[tuple[int, Place]]) -> bool:
    wide = place.box.wider(PADDING)
    return not any(wide.meets(box) for box in (*others, *(other.box for _, other in placed)))


def _clear(spot: Spot, place: Place, placed: Sequence[tuple[int, Place]], spots: Sequence[Spot]) -> bool:
    wide = place.box.wider(PADDING)
    if place.lined and any(other.box.crossed(spot.x, spot.y, place.x, place.y) for _, other in placed):
        return False
    return not any(
        other.lined and wide.crossed(spots[number].x, spots[number].y, other.x, other.y) for number, other in placed
    )
