"""Copies of Hugging Face data sets on this machine: a scenario names a set and runs with and without a network."""

import os
from pathlib import Path

VARIABLE = "FEDUNLEARN_DATA"


def local_data() -> Path:
    """Return the folder of this machine's data sets: `$FEDUNLEARN_DATA`, or `shared/data` beside the repository."""
    default = Path(__file__).resolve().parents[2].parent / "shared" / "data"
    return Path(os.environ.get(VARIABLE) or default).expanduser()


def local_copy(name: str) -> Path | None:
    """Return the folder of parquet files that stands for a Hugging Face name, or None where there is none.

    It is called like the name without its owner: `cifar10` for `uoft-cs/cifar10`.
    """
    folder = local_data() / name.rpartition("/")[2]
    return folder if "/" in name and any(folder.rglob("*.parquet")) else None
