"""A folder of images with one sub-folder per class, and perhaps `train` and `test` above them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from fedunlearn.data.settings import DataSettings
from fedunlearn.data.sources.pictures import Encoded, Pictures
from fedunlearn.data.sources.source import FORMATS, Part, Source
from fedunlearn.errors import DataError
from fedunlearn.registry import nearest

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff"}


@FORMATS.register("imagefolder")
def read_image_folder(path: Path, settings: DataSettings, scratch: Path) -> Source:
    """A folder of images, one sub-folder per class; with `train` and `test` (or `val`) above them if you like.

    Classes are numbered by the sorted names of their folders, images by their sorted paths.

    Raises:
        DataError: when a class folder is empty, or the test part has a class of its own.
    """
    train = path / "train" if (path / "train").is_dir() else path
    tests = [path / name for name in ("test", "val", "validation") if train != path and (path / name).is_dir()]
    class_names = _class_folders(train)
    test = _part(tests[0], class_names) if tests else None
    return Source(_part(train, class_names), test, tuple(class_names))


def _class_folders(folder: Path) -> list[str]:
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not names:
        raise DataError(f"{folder}: no class folders in it")
    return names


def _part(folder: Path, class_names: Sequence[str]) -> Part:
    files: list[Path] = []
    labels: list[int] = []
    for name in _class_folders(folder):
        if name not in class_names:
            raise DataError(f"{folder / name}: no such class among the training folders{nearest(name, class_names)}")
        found = sorted(file for file in (folder / name).rglob("*") if file.suffix.lower() in SUFFIXES)
        if not found:
            raise DataError(f"{folder / name}: an empty class folder; no file ends in {', '.join(sorted(SUFFIXES))}")
        files += found
        labels += [class_names.index(name)] * len(found)

    def encoded() -> Iterator[Encoded]:
        return ((str(file), file) for file in files)

    return Part(str(folder), Pictures(len(files), encoded), np.array(labels))
