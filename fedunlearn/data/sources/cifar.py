"""CIFAR-10 and CIFAR-100 in their "python version": pickled batches, read without trusting the pickle.

Source: A. Krizhevsky, "Learning multiple layers of features from tiny images" (2009).
"""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fedunlearn.data.settings import DataSettings
from fedunlearn.data.sources.source import FORMATS, Part, Source
from fedunlearn.errors import DataError

SHAPE = (3, 32, 32)


@FORMATS.register("cifar")
def read_cifar(path: Path, settings: DataSettings, scratch: Path) -> Source:
    """CIFAR-10 or CIFAR-100 python batches (fine labels for CIFAR-100).

    Raises:
        DataError: when a batch is missing, damaged, or a pickle that holds anything but arrays and plain values.
    """
    for name in ("cifar-10-batches-py", "cifar-100-python"):
        if (path / name).is_dir():
            path = path / name
    if (path / "data_batch_1").exists() or (path / "test_batch").exists():
        train, names = [path / f"data_batch_{number}" for number in range(1, 6)], path / "batches.meta"
        return _source(train, path / "test_batch", names, "labels", "label_names")
    if not (path / "train").exists():
        raise DataError(f"{path}: neither data_batch_1 (CIFAR-10) nor train (CIFAR-100) is there")
    return _source([path / "train"], path / "test", path / "meta", "fine_labels", "fine_label_names")


def _source(train: list[Path], test: Path, meta: Path, labels: str, names: str) -> Source:
    batches = [_batch(file, labels) for file in train]
    where = " + ".join(file.name for file in train)
    merged = Part(
        f"{train[0].parent}/{where}",
        np.concatenate([batch.images for batch in batches]),
        np.concatenate([batch.labels for batch in batches]),
    )
    class_names = tuple(_text(name) for name in _entry(meta, names))
    return Source(merged, _batch(test, labels), class_names)


def _batch(file: Path, labels: str) -> Part:
    pixels = _entry(file, "data")
    if not (isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8 and pixels.shape[1:] == (3 * 32 * 32,)):
        raise DataError(f'{file}: "data" is not an array of n x 3072 unsigned bytes')
    return Part(str(file), pixels.reshape(-1, *SHAPE), np.array(_entry(file, labels)))


def _entry(file: Path, key: str) -> Any:
    content = load_pickle(file)
    entries = {_text(name): value for name, value in content.items()} if isinstance(content, dict) else {}
    if key not in entries:
        raise DataError(f'{file}: no entry "{key}"')
    return entries[key]


def _text(name: Any) -> str:
    return name.decode("latin1") if isinstance(name, bytes) else str(name)


def load_pickle(file: Path) -> Any:
    """Return what a pickle of plain values and numeric arrays holds; run nothing that it names.

    Raises:
        DataError: when the pickle is damaged or names anything else.
    """
    try:
        with file.open("rb") as stream:
            return _finished(_RestrictedUnpickler(stream, encoding="bytes").load())
    except _Refused as error:
        raise DataError(f"{file}: refused, because unpickling it would call {error}") from error
    except OSError:
        raise
    except Exception as error:  # damaged pickles raise nearly anything
        raise DataError(f"{file}: damaged pickle ({type(error).__name__})") from error


class _Refused(Exception):
    """The name that a pickle must not look up."""


class _Dtype:
    """Stands in for numpy.dtype: remembers the code, and the byte order that comes later."""

    def __init__(self, code: bytes | str, align: bool = False, copy: bool = False) -> None:
        self.code, self.order = _text(code), "|"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = _text(state[1])

    def numeric(self) -> np.dtype[Any]:
        dtype = np.dtype(self.order.strip("|") + self.code)
        if dtype.kind not in "biuf":
            raise ValueError(f"dtype {dtype}")
        return dtype


class _Array:
    """Stands in for numpy.ndarray: numpy's own __setstate__ trusts what a pickle says, this one checks it."""

    array: np.ndarray

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, content = state
        flat = np.frombuffer(content, dtype.numeric())
        self.array = flat.reshape(shape, order="F" if fortran else "C")


def _reconstruct(kind: type, shape: Any, code: Any) -> _Array:
    return _Array()


def _frombuffer(content: bytes | bytearray, dtype: _Dtype, shape: tuple[int, ...], order: str) -> np.ndarray:
    return np.frombuffer(bytes(content), dtype.numeric()).reshape(shape, order="F" if order == "F" else "C")


def _scalar(dtype: _Dtype, content: bytes) -> Any:
    return np.frombuffer(content, dtype.numeric())[0]


def _encode(text: str, encoding: str = "latin1") -> bytes:
    return text.encode("latin1")  # how Python 3 writes bytes into pickles of protocol 2


class _RestrictedUnpickler(pickle.Unpickler):
    """Looks up nothing but the stand-ins above."""

    ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
        ("numpy", "ndarray"): _Array,
        ("numpy", "dtype"): _Dtype,
        ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
        ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
        ("numpy.core.numeric", "_frombuffer"): _frombuffer,  # pickles of protocol 5
        ("numpy._core.numeric", "_frombuffer"): _frombuffer,
        ("numpy.core.multiarray", "scalar"): _scalar,
        ("numpy._core.multiarray", "scalar"): _scalar,
        ("_codecs", "encode"): _encode,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise _Refused(f"{module}.{name}")
        return self.ALLOWED[module, name]


def _finished(value: Any) -> Any:
    """Return `value` with every stand-in replaced by its array."""
    if isinstance(value, _Array):
        return value.array
    if isinstance(value, dict):
        return {key: _finished(entry) for key, entry in value.items()}
    return value
