"""Arrays on disk: one safetensors file, written atomically, that gives back names in the order they were given."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

Arrays = Mapping[str, np.ndarray]


def write_arrays(path: Path, arrays: Arrays, about: Mapping[str, Any] | None = None) -> None:
    """Write named arrays and JSON values to `path`; a reader sees the old file or the whole new one.

    Two processes may write the same file at once: each has a temporary file of its own, the last to finish stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{uuid.uuid4().hex}.partial")
    # safetensors sorts its names; a model's order is part of what it is
    metadata = {key: json.dumps(value) for key, value in (about or {}).items()} | {"names": json.dumps(list(arrays))}
    # not np.ascontiguousarray, which makes a 0-d array 1-d
    save_file({name: np.asarray(array, order="C") for name, array in arrays.items()}, partial, metadata=metadata)
    os.replace(partial, path)


def read_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return (arrays, JSON values) as `write_arrays` was given them."""
    with safe_open(path, framework="numpy") as file:
        about = {key: json.loads(value) for key, value in file.metadata().items()}
        return {name: file.get_tensor(name) for name in about.pop("names")}, about


def read_about(path: Path) -> dict[str, Any]:
    """Return the JSON values alone, without reading the arrays."""
    with safe_open(path, framework="numpy") as file:
        return {key: json.loads(value) for key, value in file.metadata().items() if key != "names"}


def part(arrays: Arrays, prefix: str) -> dict[str, np.ndarray]:
    """Return the arrays whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
