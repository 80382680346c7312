"""The margins of a cell's final models on disk, for comparisons over cells that differ in their training seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedunlearn.storage import part, read_arrays, write_arrays

MARGINS = "margins.safetensors"
Kinds = Mapping[str, np.ndarray]  # by kind of sample: forget, retain, test


@dataclass(frozen=True)
class Margins:
    """The margins of one cell.

    Attributes:
        ids: which samples they are of.
        by_branch: the margins of every final model on them, float64.
    """

    ids: Kinds
    by_branch: Mapping[str, Kinds]


def write_margins(folder: Path, margins: Margins) -> None:
    """Keep the margins in the cell's run folder; atomic."""
    arrays = {f"ids/{kind}": ids for kind, ids in margins.ids.items()}
    for branch, kinds in margins.by_branch.items():
        arrays |= {f"of/{branch}/{kind}": values for kind, values in kinds.items()}
    write_arrays(folder / MARGINS, arrays, {"branches": list(margins.by_branch)})


def read_margins(folder: Path) -> Margins | None:
    """Return the margins in a cell's run folder, None when it keeps none."""
    if not (folder / MARGINS).exists():
        return None
    arrays, about = read_arrays(folder / MARGINS)
    return Margins(part(arrays, "ids/"), {branch: part(arrays, f"of/{branch}/") for branch in about["branches"]})
