"""A partition on disk: 10,000 clients cost a worker process one memory-mapped file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, overload

import numpy as np

from fedunlearn.errors import DataError


class Partition(Sequence[np.ndarray]):
    """The sorted sample ids of every client; `partition[client]` is a fresh int64 array.

    Args:
        folder: where `save_partition` put the arrays.
        indices: all clients' sample ids, one client after the other.
        offsets: (clients + 1,): client c holds `indices[offsets[c]:offsets[c + 1]]`.
    """

    def __init__(self, folder: Path, indices: np.ndarray, offsets: np.ndarray) -> None:
        self.folder = folder
        self._indices = indices
        self._offsets: list[int] = offsets.tolist()

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @overload
    def __getitem__(self, client: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, client: slice) -> list[np.ndarray]: ...
    def __getitem__(self, client: int | slice) -> np.ndarray | list[np.ndarray]:
        if isinstance(client, slice):
            return [self[number] for number in range(*client.indices(len(self)))]
        if not 0 <= client < len(self):
            raise IndexError(f"client {client} of {len(self)}")
        return self._indices[self._offsets[client] : self._offsets[client + 1]].copy()

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[client] for client in range(len(self)))

    def __reduce__(self) -> tuple[Any, ...]:
        return open_partition, (self.folder,)


def save_partition(shares: Sequence[np.ndarray], folder: Path | str) -> None:
    """Write the clients' sample ids to `indices.npy` and `offsets.npy` in `folder`, each replaced atomically."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    offsets = np.concatenate([[0], np.cumsum([len(ids) for ids in shares])]).astype(np.int64)
    indices = np.concatenate([np.asarray(ids, dtype=np.int64) for ids in shares])
    for name, array in (("indices", indices), ("offsets", offsets)):
        partial = folder / f".{name}.npy"
        np.save(partial, array)
        partial.replace(folder / f"{name}.npy")


def open_partition(folder: Path | str) -> Partition:
    """Return the partition that `save_partition` wrote; opened once per process and version of the files.

    Raises:
        DataError: when the folder holds no partition, or a damaged one.
    """
    folder = Path(folder)
    try:
        changed = (folder / "offsets.npy").stat().st_mtime_ns
        return _open(folder, changed)
    except FileNotFoundError as error:
        raise DataError(f"{error.filename}: no such file; is {folder} a saved partition?") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{folder}: damaged ({error}); delete this folder and run again") from error


@lru_cache(maxsize=8)
def _open(folder: Path, changed: int) -> Partition:
    indices = np.asarray(np.load(folder / "indices.npy", mmap_mode="r"))
    return Partition(folder, indices, np.load(folder / "offsets.npy"))
