"""Reading and writing scenario files."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tomli_w

from fedunlearn.errors import ScenarioError
from fedunlearn.registry import nearest
from fedunlearn.scenario.matrix import Cell, expand
from fedunlearn.scenario.messages import validate
from fedunlearn.scenario.models import Scenario
from fedunlearn.scenario.overrides import lay_over, parse_override


def read(path: Path) -> dict[str, Any]:
    """Return the tables of a scenario file as they stand, with the file's name as the scenario's where it has none.

    Raises:
        ScenarioError: when the file cannot be read or is no TOML; names the nearest file, or the line.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        files = [str(file) for folder in (path.parent, Path("scenarios")) for file in folder.glob("*.toml")]
        raise ScenarioError(f"{path}: no such file{nearest(str(path), set(files))}") from None
    except OSError as error:
        raise ScenarioError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ScenarioError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{path}: not TOML: {error}") from None
    return {"name": _as_name(path.stem)} | raw


def _as_name(stem: str) -> str:
    kept = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "-" for letter in stem)
    return kept.lstrip("._-") or "scenario"


def load(path: Path, overrides: Sequence[str] = ()) -> Scenario:
    """Return the scenario in a file, its `[matrix]` kept as it stands; `load_cells` expands it.

    Args:
        path: a TOML file.
        overrides: `key.path=value` texts, in order.

    Raises:
        ScenarioError: one line that names file, key, value and the nearest right one.
    """
    raw = read(path)
    try:
        for override in map(parse_override, overrides):
            raw = lay_over(raw, override.path, override.value)
        return validate(Scenario, raw)
    except ScenarioError as error:
        raise ScenarioError(f"{path}: {error}") from None


def load_cells(path: Path, overrides: Sequence[str] = ()) -> list[Cell]:
    """Return the cells of the scenario in a file: one for each combination of its `[matrix]`, or just one.

    Raises:
        ScenarioError: one line that names file, cell, key, value and the nearest right one.
    """
    parsed = [parse_override(text) for text in overrides]
    return expand(read(path), path, parsed)


def to_toml(scenario: Scenario) -> str:
    """Return the resolved scenario, every default written out, as TOML that loads to an equal scenario."""
    return tomli_w.dumps(scenario.model_dump(mode="json", by_alias=True, exclude_none=True))
