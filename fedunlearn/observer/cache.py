"""Arrays that attacks make from what they know, kept under the digest of what they were made from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fedunlearn.storage import read_arrays, write_arrays

Arrays = dict[str, np.ndarray]


class ContentCache:
    """Keeps what was made, so that equal content is worked on once: auxiliary models, prototypes, shadows.

    Args:
        folder: where files go; None to keep nothing.

    Attributes:
        folder: as given.
        made, reused: how many entries were made, and found, so far.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.made = self.reused = 0

    def get(self, kind: str, content: Mapping[str, Any], make: Callable[[], Arrays]) -> Arrays:
        """Return what was made of equal content, or make it now.

        Args:
            kind: what is made, for example `auxiliary-head`; part of the file's name.
            content: everything that the result follows from: JSON values, arrays, or mappings of them.
            make: returns named arrays; must follow from `content` alone.
        """
        if self.folder is None:
            self.made += 1
            return make()
        path = self.folder / f"{kind}-{digest(content)}.safetensors"
        if path.exists():
            self.reused += 1
        else:
            self.made += 1
            write_arrays(path, make())
        return read_arrays(path)[0]


def digest(content: Mapping[str, Any]) -> str:
    """Return 16 hexadecimal digits of the SHA-256 of JSON values, arrays and mappings of them.

    Example:
        >>> digest({"steps": 3, "weights": np.zeros(2)}) == digest({"weights": np.zeros(2), "steps": 3})
        True
    """
    sha = hashlib.sha256()
    _feed(sha, content)
    return sha.hexdigest()[:16]


def _feed(sha: Any, value: Any) -> None:
    if isinstance(value, Mapping):
        for key in sorted(value):
            sha.update(f"{key}:".encode())
            _feed(sha, value[key])
    elif isinstance(value, np.ndarray):
        sha.update(f"{value.dtype}{value.shape}".encode())
        sha.update(np.ascontiguousarray(value).tobytes())
    else:
        sha.update(json.dumps(value).encode())
    sha.update(b";")
