"""NPZ archives: `x_train, y_train` (and `x_test, y_test`), or `images, labels`."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from fedunlearn.data.settings import DataSettings
from fedunlearn.data.sources.source import FORMATS, Part, Source
from fedunlearn.errors import DataError
from fedunlearn.registry import nearest

PAIRS = (("x_train", "y_train"), ("images", "labels"))


@FORMATS.register("npz")
def read_npz(path: Path, settings: DataSettings, scratch: Path) -> Source:
    """An .npz archive: x_train, y_train, x_test, y_test, or images, labels.

    Raises:
        DataError: when an array is missing, damaged, or not images with whole or 0-to-1 pixels.
    """
    file = _only_archive(path)
    if not zipfile.is_zipfile(file):
        raise DataError(f"{file}: not an .npz archive, or truncated")
    try:
        with np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{file}: cannot be read ({error})") from error
    images, labels = next((pair for pair in PAIRS if pair[0] in arrays), PAIRS[0])
    train, scale = _part(file, arrays, images, labels)
    if "x_test" not in arrays:
        return Source(train, scale=scale)
    test, test_scale = _part(file, arrays, "x_test", "y_test")
    if test_scale != scale:
        raise DataError(f"{file}: white is {test_scale} in x_test but {scale} in {images}")
    return Source(train, test, scale=scale)


def _only_archive(path: Path) -> Path:
    if path.is_file():
        return path
    files = sorted(path.glob("*.npz"))
    if len(files) != 1:
        raise DataError(f"{path}: {len(files)} .npz files; name one of them as data.path")
    return files[0]


def _part(file: Path, arrays: dict[str, np.ndarray], images: str, labels: str) -> tuple[Part, int]:
    for name in (images, labels):
        if name not in arrays:
            raise DataError(f'{file}: no array "{name}"{nearest(name, arrays)}')
    where = f"{file}: {images}"
    pixels, scale = _pixels(arrays[images], where)
    return Part(where, _channels_first(pixels, where), arrays[labels], f"{file}: {labels}"), scale


def _channels_first(array: np.ndarray, where: str) -> np.ndarray:
    """Return (n, C, H, W) from (n, H, W), (n, H, W, C) or (n, C, H, W), where C is 1 or 3."""
    if array.ndim == 3:
        return array[:, None]
    if array.ndim == 4 and array.shape[3] in (1, 3):
        return array.transpose(0, 3, 1, 2)
    if array.ndim == 4 and array.shape[1] in (1, 3):
        return array
    shape = "x".join(map(str, array.shape))
    raise DataError(f"{where}: shape {shape}; expected n x height x width (x 1 or 3 channels, last or first)")


def _pixels(array: np.ndarray, where: str) -> tuple[np.ndarray, int]:
    """Return the pixels as uint8, uint16 or float32, and the value of white."""
    if array.dtype in (np.uint8, np.uint16):
        return array, int(np.iinfo(array.dtype).max)
    if array.dtype.kind not in "biuf" or not array.size or not np.isfinite(array).all():
        raise DataError(f"{where}: {array.size} pixels of type {array.dtype}, or not all of them finite")
    if array.dtype.kind == "b":
        return array.astype(np.uint8), 1
    low, high = float(array.min()), float(array.max())
    if array.dtype.kind == "f" and low >= 0 and high <= 1:
        return array.astype(np.float32), 1
    if low >= 0 and high <= 255 and (array.dtype.kind in "iu" or np.array_equal(array, np.floor(array))):
        return array.astype(np.uint8), 255
    raise DataError(f"{where}: pixels from {low:g} to {high:g}; expected 0 to 1, or whole numbers from 0 to 255")
