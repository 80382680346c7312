"""`--set key.path=value`: single values laid over what a scenario file says."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fedunlearn.errors import ScenarioError
from fedunlearn.scenario.messages import problem, show
from fedunlearn.scenario.schema import KeyPath, dotted

Table = dict[str, Any]


@dataclass(frozen=True)
class Override:
    """One value for one key."""

    path: tuple[str, ...]
    value: Any

    @property
    def key(self) -> str:
        """The dotted path."""
        return dotted(self.path)


def parse_override(text: str) -> Override:
    """Return what `key.path=value` says: the value is TOML where it can be, else a plain string.

    Example:
        >>> parse_override("federation.rounds=3")
        Override(path=('federation', 'rounds'), value=3)
        >>> parse_override("model.name=lenet").value, parse_override("requests.0.target={random=1}").value
        ('lenet', {'random': 1})

    Raises:
        ScenarioError: when there is no `=` or the key is no TOML key.
    """
    key, equals, value = text.partition("=")
    try:
        path = parse_key(key)
    except ScenarioError:
        path = ()
    if not equals or not path:
        raise ScenarioError(f"--set {show(text)}: write key.path=value, for example --set federation.rounds=3")
    return Override(path, _parse_value(value.strip()))


def parse_key(key: str) -> tuple[str, ...]:
    """Return the parts of a dotted key; TOML's own parser splits it, so parts may be quoted.

    Raises:
        ScenarioError: when it is no TOML key.
    """
    parts: list[str] = []
    try:
        inner: Any = tomllib.loads(f"{key.strip()} = 0")
    except tomllib.TOMLDecodeError:
        raise ScenarioError(f"{show(key)}: not a dotted key") from None
    while isinstance(inner, dict) and len(inner) == 1:
        ((part, inner),) = inner.items()
        parts.append(part)
    if inner != 0:
        raise ScenarioError(f"{show(key)}: not a dotted key")
    return tuple(parts)


def _parse_value(text: str) -> Any:
    try:
        parsed = tomllib.loads(f"v = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return parsed["v"] if len(parsed) == 1 else text


def lay_over(raw: Mapping[str, Any], path: KeyPath, value: Any, *, merge: bool = False) -> Table:
    """Return a copy of a table with the value at a key path; tables on the way are made.

    Args:
        raw: a table as read from TOML; not modified.
        path: keys, and numbers of entries where the scenario has a list (`requests.0.round`).
        value: what shall stand there.
        merge: a table only replaces the keys that it has itself.

    Example:
        >>> lay_over({"seed": 1, "model": {"name": "mlp"}}, ("model", "width"), 8)
        {'seed': 1, 'model': {'name': 'mlp', 'width': 8}}

    Raises:
        ScenarioError: when the path goes through something that is neither table nor list, or past a list's end.
    """
    part, *rest = path
    return dict(raw) | {str(part): _laid_over(raw.get(str(part)), tuple(rest), value, (part,), merge)}


def _laid_over(there: Any, path: KeyPath, value: Any, above: KeyPath, merge: bool) -> Any:
    """Return what shall stand at the path `above`, where `there` stands now."""
    if not path:
        both_tables = isinstance(there, Mapping) and isinstance(value, Mapping)
        return {**there, **value} if merge and both_tables else value
    part, *rest = path
    if isinstance(there, list):
        number = int(part) if str(part).isdecimal() else -1
        if not 0 <= number < len(there):
            has = f"entries 0 to {len(there) - 1}" if there else "no entries"
            raise ScenarioError(f"{dotted((*above, *path))}: {dotted(above)} has {has}")
        entry = _laid_over(there[number], tuple(rest), value, (*above, part), merge)
        return [*there[:number], entry, *there[number + 1 :]]
    if there is None or isinstance(there, Mapping):
        table = dict(there or {})
        table[str(part)] = _laid_over(table.get(str(part)), tuple(rest), value, (*above, part), merge)
        return table
    raise ScenarioError(problem(dotted(above), there, f"is no table, so there is no {dotted((*above, *path))}"))
