"""Encoded images (PNG, JPEG, WebP, ...) to arrays, one at a time, so that a large folder needs little memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fedunlearn.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

Encoded = tuple[str, bytes | Path]  # what to call the image in a message; its file, or what is in it
GREY, COLOUR = ("1", "L", "LA"), ("P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB")


@dataclass(frozen=True, eq=False)
class Pictures:
    """`count` encoded images; every call of `encoded` goes through them from the first to the last."""

    count: int
    encoded: Callable[[], Iterable[Encoded]]

    def __len__(self) -> int:
        return self.count


def common_shape(groups: Sequence[Pictures], side: int | None = None) -> tuple[int, int, int]:
    """Return (C, H, W): the size of the first image, and three channels as soon as one image has colours.

    With a `side`, all images become squares of that many pixels.
    """
    with _opened(*next(iter(groups[0].encoded()))) as first:
        width, height = (side, side) if side else first.size
    coloured = any(_has_colours(*encoded) for group in groups for encoded in group.encoded())
    return (3 if coloured else 1), height, width


def decode_into(target: np.ndarray, pictures: Pictures, side: int | None = None) -> None:
    """Decode every picture into the rows of a uint8 array (n, C, H, W), cut and resized to a square if so wanted.

    Raises:
        DataError: when an image cannot be read, or has another size; the message names it.
    """
    channels, *size = target.shape[1:]
    mode = "L" if channels == 1 else "RGB"
    for row, (where, content) in enumerate(pictures.encoded()):
        with _opened(where, content) as image:
            if not side and [image.height, image.width] != size:
                found, first = f"{image.height}x{image.width}", f"{size[0]}x{size[1]}"
                raise DataError(f"{where}: the image is {found} (height x width), the first one is {first}")
            plain = image if image.mode == mode else image.convert(mode)
            pixels = np.asarray(_square(plain, side) if side else plain)
        target[row] = pixels.reshape(*size, channels).transpose(2, 0, 1)


def _square(image: Image, side: int) -> Image:
    """Return the largest square in the middle of an image, resized (bicubic, with antialiasing)."""
    from PIL.Image import Resampling

    edge = min(image.size)
    left, top = (image.width - edge) // 2, (image.height - edge) // 2
    return image.crop((left, top, left + edge, top + edge)).resize((side, side), Resampling.BICUBIC)


def _has_colours(where: str, content: bytes | Path) -> bool:
    with _opened(where, content) as image:
        return image.mode in COLOUR


@contextmanager
def _opened(where: str, content: bytes | Path) -> Iterator[Image]:
    from PIL import Image  # workers that only open prepared arrays do without it

    try:
        with Image.open(BytesIO(content) if isinstance(content, bytes) else content) as image:
            if image.mode not in GREY + COLOUR:
                raise DataError(f"{where}: pixels of mode {image.mode} are not supported; save the image with 8 bits")
            yield image
    except DataError:
        raise
    except Exception as error:  # Pillow's decoders raise errors of many kinds on damaged files
        raise DataError(f"{where}: not a readable image ({type(error).__name__})") from error
