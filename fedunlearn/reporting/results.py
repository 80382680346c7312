"""results.json: what one cell of a run found. The schema beside this file is the reference for every key."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from fedunlearn.errors import DataError
from fedunlearn.judging.metric import as_json

SCHEMA = "fedunlearn-results/1"
FILE = "results.json"
_SCHEMA_FILE = Path(__file__).with_name("results.schema.json")

Results = dict[str, Any]


@cache
def schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of results.json."""
    loaded: dict[str, Any] = json.loads(_SCHEMA_FILE.read_text(encoding="utf-8"))
    return loaded


def write_results(folder: Path, results: Mapping[str, Any]) -> Path:
    """Write `folder`/results.json in one step and return its path; NaN becomes null, numpy values plain ones.

    Raises:
        ValueError: when a required top-level key is missing.
    """
    complete = {"schema": SCHEMA} | as_json(results)
    if missing := [key for key in schema()["required"] if key not in complete]:
        raise ValueError(f"results without {', '.join(missing)}")
    path = folder / FILE
    temporary = folder / (FILE + ".part")
    temporary.write_text(json.dumps(complete, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(temporary, path)
    return path


def read_results(folder: Path) -> Results:
    """Return the results of one cell.

    Raises:
        DataError: when there are none, or they have another version.
    """
    path = folder / FILE
    try:
        results: Results = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: no results here; was the run finished?") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: not readable as JSON ({error})") from None
    version = results.get("schema") if isinstance(results, dict) else None
    if version != SCHEMA:
        raise DataError(f'{path}: schema "{version}", this version reads "{SCHEMA}"')
    return results


def cell_folders(run: Path) -> list[Path]:
    """Return the folders that hold a results.json: the run's own, or those of its cells in matrix order.

    Raises:
        DataError: when there is none.
    """
    cells = sorted(path.parent for path in run.glob(f"cells/*/{FILE}"))
    if cells:
        return cells
    if (run / FILE).exists():
        return [run]
    raise DataError(f"{run}: neither {FILE} nor cells/*/{FILE}; nothing to report")
