"""What a table of the scenario language may hold, read off its model: keys, and types in words."""

import json
import types
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from fedunlearn.settings import kebab

KeyPath = tuple[str | int, ...]
WORDS = {int: "an integer", float: "a finite number", str: "a text", bool: "true or false"}


def dotted(path: KeyPath) -> str:
    """Return a key path as `--set` takes it.

    Example:
        >>> print(dotted(("requests", 0, "round")), dotted(("matrix", "model.name")))
        requests.0.round matrix."model.name"
    """
    return ".".join(part if _is_bare(part) else json.dumps(part, ensure_ascii=False) for part in map(str, path))


def _is_bare(key: str) -> bool:
    return key.isascii() and key.replace("-", "").replace("_", "").isalnum()


def fields_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the fields of a table by their kebab-case keys."""
    return {kebab(name): field for name, field in model.model_fields.items()}


def all_keys(model: type[BaseModel], above: KeyPath = ()) -> Iterator[KeyPath]:
    """Yield the path of every key of a table and of the tables in it; an array of tables counts as its first."""
    for key, field in fields_of(model).items():
        yield (*above, key)
        annotation = plain(field.annotation)
        if get_origin(annotation) is tuple and is_table(item := get_args(annotation)[0]):
            yield from all_keys(item, (*above, key, 0))
        elif is_table(annotation):
            yield from all_keys(annotation, (*above, key))


def is_table(annotation: Any) -> bool:
    """Return whether a type is a model, which the scenario writes as a table."""
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def plain(annotation: Any) -> Any:
    """Return a type without `Annotated` and without `| None`."""
    if get_origin(annotation) is Annotated:
        return plain(get_args(annotation)[0])
    branches = _alternatives(annotation)
    return plain(branches[0]) if len(branches) == 1 and branches[0] is not annotation else annotation


def _alternatives(annotation: Any) -> list[Any]:
    """Return the types of a union, without None; a type that is no union is its only alternative."""
    if get_origin(annotation) in (Union, types.UnionType):
        return [branch for branch in get_args(annotation) if branch is not type(None)]
    return [annotation]


def choices(annotation: Any) -> list[str]:
    """Return the words that a type allows."""
    branches = [plain(branch) for branch in _alternatives(plain(annotation))]
    return [word for branch in branches if get_origin(branch) is Literal for word in get_args(branch)]


def describe(annotation: Any, limits: Iterable[Any] = ()) -> str:
    """Return in words what a type allows.

    Example:
        >>> describe(Literal["all"] | Annotated[int, Ge(1)])
        '"all" or an integer >= 1'
    """
    limits = list(limits)
    if get_origin(annotation) is Annotated:
        bare, *extras = get_args(annotation)
        return describe(bare, [*limits, *(limit for extra in extras for limit in getattr(extra, "metadata", [extra]))])
    branches = _alternatives(annotation)
    if branches != [annotation]:
        return " or ".join(dict.fromkeys(describe(branch, limits) for branch in branches))
    if get_origin(annotation) is Literal:
        words = [f'"{word}"' for word in get_args(annotation)]
        return words[0] if len(words) == 1 else f"one of {', '.join(words)}"
    if get_origin(annotation) is tuple:
        item = get_args(annotation)[0]
        return "an array of tables" if is_table(item) else f"a list, each {describe(item)}"
    if get_origin(annotation) is dict or is_table(annotation):
        return "a table"
    return f"{WORDS.get(annotation, 'a value')} {' and '.join(_conditions(limits))}".rstrip()


def _conditions(limits: Iterable[Any]) -> Iterator[str]:
    """Yield pydantic's constraints in words."""
    for limit in limits:
        match limit:
            case Ge(bound):
                yield f">= {bound}"
            case Gt(bound):
                yield f"> {bound}"
            case Le(bound):
                yield f"<= {bound}"
            case Lt(bound):
                yield f"< {bound}"
            case MinLen(1):
                yield "that is not empty"
        if pattern := getattr(limit, "pattern", None):
            yield f"that matches {pattern}"
