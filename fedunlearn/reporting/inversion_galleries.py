"""Claimed pictures beside the private samples they come closest to: class by class, forgotten ones marked."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedunlearn.names import CONTROLS, TRUNK
from fedunlearn.reporting import formats
from fedunlearn.reporting.artefacts import load_arrays, pixels, png

Row = Mapping[str, Any]
MOST_CLASSES = 20  # of a gallery; the forgotten ones first
FEW_CLASSES, FEW_BRANCHES = 10, 4  # up to which two pictures of a class are shown
PICTURES = 2


@dataclass(frozen=True)
class Claim:
    """A claimed picture and the private sample next to it, as data URIs, with what the judge's classifier makes of it.

    `wrong` names the class that it is taken for in place of its own, and is empty where it is taken for its own.
    """

    picture: str
    nearest: str
    caption: str
    wrong: str
    about: str
    forgotten: bool


@dataclass(frozen=True)
class ClaimGallery:
    """The claims on one branch; `quiet` where nothing was forgotten."""

    heading: str
    claims: tuple[Claim, ...]
    quiet: bool


def claim_galleries(folder: Path, rows: Sequence[Row], names: Sequence[str]) -> tuple[ClaimGallery, ...]:
    """Return a gallery per branch of one attack; the fewer classes and branches, the more pictures of a class.

    Args:
        folder: of the cell, where the arrays lie.
        rows: the attack's, one per branch.
        names: of the classes.
    """
    known = [row for row in rows if (folder / row["details"].get("array", "missing")).is_file()]
    return tuple(_gallery(row, load_arrays(folder, row["details"]["array"]), len(known), names) for row in known)


def _gallery(row: Row, arrays: Mapping[str, np.ndarray], branches: int, names: Sequence[str]) -> ClaimGallery:
    details, labels = row["details"], arrays["claimed-labels"]
    quiet = bool(details["control"]) or row["branch"] in (TRUNK, *CONTROLS)
    gone = [] if quiet else details["forgotten-classes"]
    classes = sorted(np.unique(labels).tolist(), key=lambda label: label not in gone)[:MOST_CLASSES]
    each = PICTURES if len(classes) <= FEW_CLASSES and branches <= FEW_BRANCHES else 1
    places = [int(place) for label in sorted(classes) for place in np.flatnonzero(labels == label)[:each]]
    claims = tuple(_claim(arrays, place, int(labels[place]) in gone, names) for place in places)
    return ClaimGallery(_heading(row, len(claims)), claims, quiet)


def _heading(row: Row, shown: int) -> str:
    right, covered = row["metrics"]["attack-accuracy"], row["metrics"]["coverage"]
    where = "before forgetting" if row["branch"] == TRUNK else f"after {row['branch']}"
    said = f"{where}: {formats.percent(right['value'])} of {right['n']} pictures show their class"
    if covered["value"] is not None:
        said += f", {formats.percent(covered['value'])} of {covered['n']} private samples are covered"
    return f"{said}; {shown} pictures are shown" if shown < right["n"] else said


def _claim(arrays: Mapping[str, np.ndarray], place: int, forgotten: bool, names: Sequence[str]) -> Claim:
    label, taken = int(arrays["claimed-labels"][place]), int(arrays["claimed-taken-for"][place])
    distance, nearest = float(arrays["claimed-distance"][place]), int(arrays["nearest-ids"][place])
    far = formats.amount("knn-distance", distance) if np.isfinite(distance) else formats.DASH
    about = f"squared distance {far} to sample {nearest}" if nearest >= 0 else "the federation has no sample of it"
    return Claim(
        _uri(arrays["claimed"][place]),
        _uri(arrays["nearest"][place]),
        _class(label, names),
        "" if taken == label else _class(taken, names),
        about,
        forgotten,
    )


def _class(label: int, names: Sequence[str]) -> str:
    return names[label] if label < len(names) and names[label] != str(label) else f"class {label}"


def _uri(image: np.ndarray) -> str:
    return "data:image/png;base64," + base64.b64encode(png(pixels(image))).decode()
