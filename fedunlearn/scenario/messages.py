"""One line for whatever is wrong with a table: the key, its value, what is allowed, the nearest right one."""

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from fedunlearn.errors import ScenarioError
from fedunlearn.registry import nearest
from fedunlearn.scenario.schema import KeyPath, all_keys, choices, describe, dotted, fields_of, is_table, plain
from fedunlearn.settings import Settings, kebab

MAX_VALUE_LENGTH = 80
Table = TypeVar("Table", bound=Settings)


def show(value: Any) -> str:
    """Return a value as a scenario would have it, on one line and not too long."""
    if isinstance(value, float):
        return repr(value)  # nan and inf as TOML spells them
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= MAX_VALUE_LENGTH else text[: MAX_VALUE_LENGTH - 3] + "..."


def problem(key: str, value: Any, why: str) -> str:
    """Return `key = value: why`, or `key: why` when the scenario says nothing there."""
    return f"{key}: {why}" if value is None else f"{key} = {show(value)}: {why}"


def validate(model: type[Table], raw: Mapping[str, Any], above: KeyPath = ()) -> Table:
    """Return the model of a table; only kebab-case keys are taken.

    Args:
        model: what the table must be.
        raw: the table as read from TOML.
        above: where the table is in its scenario.

    Raises:
        ScenarioError: one line about the first problem, with the number of the others.
    """
    try:
        return model.model_validate(raw, by_alias=True, by_name=False)
    except ValidationError as error:
        found: dict[str, str] = {}  # the alternatives of a type each give an error of the same key
        for details in error.errors(include_url=False):
            key, line = _explain(details, model, raw, above)
            found.setdefault(key, line)
    first, *others = found.values()
    raise ScenarioError(f"{first} (and {len(others)} more)" if others else first)


@dataclass(frozen=True)
class _Place:
    """Where an error is, what may stand there (`annotation` within `limits`), and the value that does."""

    path: KeyPath
    annotation: Any
    limits: Sequence[Any]
    value: Any
    known: bool = True

    def below(self, part: str | int) -> "_Place | None":
        """Return the place of a key or an index in here, or None when `part` is neither."""
        annotation, path = plain(self.annotation), (*self.path, part)
        if isinstance(part, int):
            if get_origin(annotation) is tuple and isinstance(self.value, Sequence):
                return _Place(path, get_args(annotation)[0], (), self.value[part])
            return None
        value = self.value.get(part) if isinstance(self.value, Mapping) else None
        if is_table(annotation):
            field = fields_of(annotation).get(part)
            if field is None:
                return _Place(path, annotation, (), value, known=False)
            return _Place(path, field.annotation, field.metadata, value)
        if get_origin(annotation) is dict:
            return _Place(path, get_args(annotation)[1], (), value)
        return None


def _explain(details: Any, model: type[BaseModel], raw: Any, above: KeyPath) -> tuple[str, str]:
    """Return the key of a pydantic error and its line."""
    found = _Place((), model, (), raw)
    for part in details["loc"]:
        place = found.below(part)
        if place is None:  # pydantic goes on with the alternatives of a type, which are no keys
            break
        found = place
    key, context = dotted((*above, *found.path)), details.get("ctx", {})
    if details["type"] == "wrong":
        key = ".".join(filter(None, [key, context["key"]]))
        return key, problem(key, context["value"], context["why"])
    if not found.known:
        return key, problem(key, found.value, f"unknown key{nearest_key(found.path, model)}")
    allowed = describe(found.annotation, found.limits)
    if details["type"] == "missing":
        return key, problem(key, None, f"is missing; it must be {allowed}")
    hint = ""
    if isinstance(found.value, str) and (close := difflib.get_close_matches(found.value, choices(found.annotation), 1)):
        hint = f'; did you mean "{close[0]}"?'
    return key, problem(key, found.value, f"must be {allowed}{hint}")


def nearest_key(path: KeyPath, model: type[BaseModel]) -> str:
    """Return a hint for an unknown key: the one that was misspelt, or where it belongs, or what there is.

    Args:
        path: of the unknown key within the table `model`.
        model: the whole table.
    """
    *above, last = path
    name = kebab(str(last))
    known = list(all_keys(model))
    general = [0 if str(part).isdecimal() else part for part in above]
    here = [str(key[-1]) for key in known if list(key[:-1]) == general]
    elsewhere = [dotted(key) for key in known if key[-1] == name]
    if elsewhere and not difflib.get_close_matches(name, here, 1, cutoff=0.8):
        return f"; did you mean {' or '.join(elsewhere)}?"
    return nearest(name, here) if here else nearest(dotted(path), map(dotted, known))
