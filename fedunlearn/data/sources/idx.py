"""IDX files, as MNIST and its family are published: `train-images-idx3-ubyte`, plain or gzipped.

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits".
"""

import gzip
import math
import re
import zlib
from pathlib import Path

import numpy as np

from fedunlearn.data.settings import DataSettings
from fedunlearn.data.sources.source import FORMATS, Part, Source
from fedunlearn.errors import DataError

FILE_NAME = re.compile(r"(?:.*[-_])?(train|t10k|test)-(images|labels)[-.]idx\d-ubyte(?:\.gz)?")
UNSIGNED_BYTE = 0x08


@FORMATS.register("idx")
def read_idx(path: Path, settings: DataSettings, scratch: Path) -> Source:
    """IDX files, plain or .gz (MNIST, Fashion-MNIST, KMNIST, EMNIST).

    Raises:
        DataError: when a file is missing, truncated, or no IDX file.
    """
    files = _find(path)
    for kind in ("images", "labels"):
        if ("train", kind) not in files:
            raise DataError(f"{path}: no file train-{kind}-idx{3 if kind == 'images' else 1}-ubyte (or .gz)")
    if ("test", "images") in files and ("test", "labels") in files:
        return Source(_part(files, "train"), _part(files, "test"))
    return Source(_part(files, "train"))


def _find(path: Path) -> dict[tuple[str, str], Path]:
    """Return the file of each (part, kind); the plain file where a gzipped twin lies beside it."""
    files: dict[tuple[str, str], Path] = {}
    for file in sorted(path.iterdir()):
        match = FILE_NAME.fullmatch(file.name)
        if not match:
            continue
        key = ("train" if match[1] == "train" else "test", match[2])
        twin = files.get(key)
        if twin is not None and file.name != f"{twin.name}.gz":
            raise DataError(f"{path}: {twin.name} and {file.name} are both {key[0]} {key[1]}; keep one of them")
        files.setdefault(key, file)
    return files


def _part(files: dict[tuple[str, str], Path], part: str) -> Part:
    images, labels = read_array(files[part, "images"], 3), read_array(files[part, "labels"], 1)
    return Part(str(files[part, "images"]), images[:, None], labels, str(files[part, "labels"]))


def read_array(file: Path, num_dimensions: int) -> np.ndarray:
    """Return the uint8 array in an IDX file.

    Raises:
        DataError: when the file is no IDX file of unsigned bytes with that many dimensions, or has a wrong length.
    """
    try:
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{file}: damaged gzip file ({error})") from error
    head = 4 + 4 * num_dimensions
    if len(content) < head or content[:2] != b"\0\0":
        raise DataError(f"{file}: not an IDX file, or truncated")
    if (content[2], content[3]) != (UNSIGNED_BYTE, num_dimensions):
        found = f"type 0x{content[2]:02x} with {content[3]} dimensions"
        raise DataError(f"{file}: {found}; expected unsigned bytes (0x08) with {num_dimensions}")
    shape = np.frombuffer(content, ">u4", num_dimensions, offset=4).tolist()
    if len(content) - head != math.prod(shape):
        expected = f"its head promises {'x'.join(map(str, shape))} = {math.prod(shape)}"
        raise DataError(f"{file}: truncated or damaged; {len(content) - head} bytes of data, but {expected}")
    return np.frombuffer(content, np.uint8, offset=head).reshape(shape)
