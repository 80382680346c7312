"""Tables in the Hugging Face layout (encoded images, ClassLabel): a hub name, or a local folder of parquet files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fedunlearn.data.quiet import quiet_datasets
from fedunlearn.data.settings import DataSettings
from fedunlearn.data.sources.pictures import Encoded, Pictures
from fedunlearn.data.sources.source import FORMATS, Part, Source
from fedunlearn.errors import DataError
from fedunlearn.registry import nearest

if TYPE_CHECKING:
    from datasets import Dataset as Table

TEST_PARTS = ("test", "validation", "valid", "val", "dev")  # the first that is there is the source's own test part
BATCH = 1000


def read_hub(settings: DataSettings) -> Source:
    """Return a data set of the Hugging Face hub; it is downloaded into Hugging Face's own cache.

    Its part `train` is divided as the scenario says; `test` (or, without one, `validation`) is its own test part.

    Raises:
        DataError: when there is no such data set, the hub cannot be reached, or the table cannot be used.
    """
    with quiet_datasets():
        import datasets

        try:
            tables = datasets.load_dataset(settings.name)
        except Exception as error:  # network, hub and builder errors have no common base
            reason = (str(error).splitlines() or [""])[0]
            why = f"not loaded from the Hugging Face hub ({type(error).__name__}: {reason})"
            raise DataError(f'data.name = "{settings.name}": {why}') from error
        return _source(tables, settings, settings.name)


@FORMATS.register("parquet")
def read_parquet(path: Path, settings: DataSettings, scratch: Path) -> Source:
    """Parquet files in the Hugging Face layout; "train" and "test" in their names tell the parts.

    Raises:
        DataError: when a file is damaged or the table cannot be used.
    """
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    if not files:
        raise DataError(f"{path}: no .parquet file in it")
    with quiet_datasets():
        import datasets

        columns = [_columns_of(file) for file in files]
        for file, found in zip(files, columns, strict=True):
            if found != columns[0]:  # `datasets` would take the first file's class names for all
                raise DataError(f"{file}: other columns or class names than {files[0].name}")
        parts: dict[str, list[str]] = {}
        for file in files:
            parts.setdefault(_part_name(file, path), []).append(str(file))
        try:
            tables = datasets.load_dataset("parquet", data_files=parts, cache_dir=str(scratch))
        except Exception as error:  # the builder wraps whatever went wrong, with the reason as the cause
            reason = str(error.__cause__ or error).splitlines()[0]
            raise DataError(f"{path}: the parquet files cannot be loaded ({reason})") from error
        return _source(tables, settings, str(path))


def _columns_of(file: Path) -> dict[str, list[str] | None]:
    """Return the class names of each column of a parquet file; None for a column without."""
    import datasets
    import pyarrow.parquet

    try:
        features = datasets.Features.from_arrow_schema(pyarrow.parquet.read_schema(file))
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{file}: not a readable parquet file ({str(error).splitlines()[0]})") from error
    return {name: getattr(feature, "names", None) for name, feature in features.items()}


def _part_name(file: Path, root: Path) -> str:
    """Return the part that a file's name or folder tells: train-00000-of-00001.parquet, train/0.parquet."""
    for piece in reversed(file.relative_to(root).parts if root.is_dir() else (file.name,)):
        word = re.split(r"[-_.]", piece)[0]
        if word in ("train", *TEST_PARTS):
            return word
    return "train"


def _source(tables: Mapping[str, Table], settings: DataSettings, origin: str) -> Source:
    names = list(tables)
    if "train" not in names and len(names) > 1:
        raise DataError(f'{origin}: no part "train", only {", ".join(names)}')
    train = "train" if "train" in names else names[0]
    test = next((name for name in TEST_PARTS if name in names and name != train), None)
    class_names = _class_names(tables[train], settings, origin)
    if test is not None and _class_names(tables[test], settings, origin) != class_names:
        raise DataError(f"{origin}: the parts {train} and {test} name their classes differently")
    parts = [_part(tables[name], settings, f"{origin}, part {name}") for name in (train, test) if name]
    return Source(parts[0], parts[1] if test else None, class_names)


def _part(table: Table, settings: DataSettings, where: str) -> Part:
    import datasets

    images = _column(table, settings.image_column, "image", datasets.Image, where)
    feature = table.features[images]
    binary = isinstance(feature, datasets.Value) and feature.dtype in ("binary", "large_binary")
    if not (isinstance(feature, datasets.Image) or binary or (isinstance(feature, dict) and "bytes" in feature)):
        raise DataError(f'{where}: column "{images}" holds no images but {feature}')
    undecoded = table.select_columns([images]).cast_column(images, datasets.Image(decode=False))

    def encoded() -> Iterator[Encoded]:
        rows = (image for batch in undecoded.iter(BATCH) for image in batch[images])
        return (_encoded(image, f"{where}, row {row}") for row, image in enumerate(rows))

    labels = _column(table, settings.label_column, "label", datasets.ClassLabel, where)
    if not isinstance(table.features[labels], datasets.Value | datasets.ClassLabel):
        raise DataError(f'{where}: column "{labels}" holds no labels but {table.features[labels]}')
    return Part(where, Pictures(len(table), encoded), np.array(table[labels][:]))


def _encoded(image: dict[str, Any] | None, where: str) -> Encoded:
    if image is None or (image["bytes"] is None and image["path"] is None):
        raise DataError(f"{where}: no image")
    return where, image["bytes"] if image["bytes"] is not None else Path(image["path"])


def _class_names(table: Table, settings: DataSettings, where: str) -> tuple[str, ...] | None:
    import datasets

    feature = table.features[_column(table, settings.label_column, "label", datasets.ClassLabel, where)]
    return tuple(feature.names) if isinstance(feature, datasets.ClassLabel) else None


def _column(table: Table, chosen: str | None, usual: str, kind: type, where: str) -> str:
    """Return the chosen column, or else the first of the right type, or else the one with the usual name."""
    if chosen is None:
        typed = [name for name, feature in table.features.items() if isinstance(feature, kind)]
        chosen = typed[0] if typed else usual
    if chosen not in table.column_names:
        hint = nearest(chosen, table.column_names)
        raise DataError(f'{where}: no column "{chosen}" (data.{usual}-column){hint}')
    return chosen
