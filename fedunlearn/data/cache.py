"""The array cache: a source is read once per machine, however many processes ask for it at the same time."""

import difflib
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fedunlearn import __version__
from fedunlearn.data.settings import DataSettings
from fedunlearn.data.sources import DATASETS, read
from fedunlearn.data.store import store
from fedunlearn.errors import DataError

LAYOUT = 1  # of the files in a cache folder; a new number makes every data set be prepared afresh


def cache_root() -> Path:
    """Return the folder of the cache: `$FEDUNLEARN_CACHE`, or `~/.cache/fedunlearn`."""
    return Path(os.environ.get("FEDUNLEARN_CACHE") or "~/.cache/fedunlearn").expanduser()


def prepare(settings: DataSettings, cache: Path | None = None) -> Path:
    """Return the folder of the prepared data set, for `open_dataset`; the first call reads the source.

    The folder is keyed by what was asked for, and for a path of the user's own by the names, sizes and times of its
    files: a file that changes is read again, one that does not is never opened twice.

    Args:
        settings: the source, and which classes are private; how it is split does not matter here.
        cache: where prepared data sets are kept, by default `cache_root()`.

    Raises:
        DataError: when the source is missing, unreadable or inconsistent; the message names the file.
        ScenarioError: when the settings name a format or a class that does not exist.
    """
    root = cache if cache is not None else cache_root()
    try:
        folder = root / _folder_name(settings)
        if not _is_prepared(folder):
            with _locked(root / ".locks" / folder.name):
                if not _is_prepared(folder):  # another process may have done it while this one waited
                    _fill(settings, folder)
        return folder
    except OSError as error:
        raise DataError(f"{error.filename or settings.path or root}: {error.strerror or error}") from error


def _is_prepared(folder: Path) -> bool:
    return (folder / "meta.json").is_file()


def _fill(settings: DataSettings, folder: Path) -> None:
    """Prepare beside `folder` and rename at the end, so that nobody ever sees half a data set."""
    partial, scratch = (folder.with_name(f".{folder.name}.{what}") for what in ("partial", "scratch"))
    try:
        for left_over in (partial, scratch):  # by a process that was killed
            shutil.rmtree(left_over, ignore_errors=True)
            left_over.mkdir()
        store(read(settings, scratch), settings.name, partial, settings.side, settings.private_classes)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Hold an exclusive lock; the system releases it when the process ends, however it ends."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _folder_name(settings: DataSettings) -> str:
    key: dict[str, Any] = {"layout": LAYOUT, "name": settings.name}
    if settings.path is not None:
        path = Path(settings.path).expanduser()
        key |= {"path": str(path.resolve()), "format": settings.format, "files": _fingerprint(path)}
    elif settings.name in DATASETS:
        key["version"] = __version__  # built-in sets belong to a release
    key["columns"] = [settings.image_column, settings.label_column]
    if settings.side is not None:
        key["side"] = settings.side
    if settings.private_classes is not None:
        key["private-classes"] = settings.private_classes
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9]+', '-', settings.name).strip('-').lower()}-{digest[:16]}"


def _fingerprint(path: Path) -> list[list[Any]]:
    """Return name, size and time of every file under `path`, without opening one."""
    if not path.exists():
        siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        close = difflib.get_close_matches(path.name, siblings, n=1)
        hint = f'; did you mean "{path.parent / close[0]}"?' if close else ""
        raise DataError(f'data.path = "{path}": no such file or folder{hint}')
    tree = os.walk(path, followlinks=True)
    files = [path] if path.is_file() else sorted(Path(folder, name) for folder, _, names in tree for name in names)
    states = [(file, file.stat()) for file in files]
    return [[str(file.relative_to(path)), state.st_size, state.st_mtime_ns] for file, state in states]
