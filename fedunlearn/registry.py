"""Names for plug-ins: one registry per kind, filled by a decorator."""

import difflib
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from fedunlearn.errors import ScenarioError

T = TypeVar("T")


def nearest(name: str, names: Iterable[str]) -> str:
    """Return '; did you mean "x"?' for the closest of `names`, or a list of them when none is close."""
    names = sorted(names)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f'; did you mean "{close[0]}"?'
    return f"; choose one of {', '.join(names)}" if names else ""


class Registry(Generic[T]):
    """Kebab-case names for the plug-ins of one kind.

    Example:
        >>> colours = Registry("colour")
        >>> @colours.register("red")
        ... class Red:
        ...     "Like a rose."
        >>> colours["red"] is Red, colours.describe()
        (True, {'red': 'Like a rose.'})
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that files its target under `name`."""

        def file_under_name(entry: T) -> T:
            if name in self._entries:
                raise ValueError(f'{self.kind} "{name}" is registered twice')
            self._entries[name] = entry
            return entry

        return file_under_name

    def __getitem__(self, name: str) -> T:
        """Return the entry.

        Raises:
            ScenarioError: when there is none, naming the nearest.
        """
        if name not in self._entries:
            raise ScenarioError(f'unknown {self.kind} "{name}"{nearest(name, self._entries)}')
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))

    def describe(self) -> dict[str, str]:
        """Return the first line of each entry's docstring, by name."""
        return {name: (inspect.getdoc(self._entries[name]) or "").partition("\n")[0] for name in self}


def import_all(package: str) -> None:
    """Import every module below a package, so that what they register is registered: one file is one plug-in."""
    parent = importlib.import_module(package)
    for module in sorted(found.name for found in pkgutil.walk_packages(parent.__path__, f"{package}.")):
        importlib.import_module(module)
