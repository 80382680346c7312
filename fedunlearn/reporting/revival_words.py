"""What a revival brought back, in plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedunlearn.judging.references import label_of
from fedunlearn.names import CONTROLS
from fedunlearn.reporting.formats import DASH, amount, percent, span
from fedunlearn.reporting.picture_words import no_answer

Row = Mapping[str, Any]
ERASED, RETAINED = "erased-accuracy", "retained-accuracy"


def revived(rows: Sequence[Row]) -> str:
    """Say how much of the erased class is called again on every branch, and beside that what it was before."""
    known = [row for row in rows if row["metrics"][ERASED]["value"] is not None]
    if not known:
        return no_answer(rows[0])
    told = [row for row in known if row["branch"] not in CONTROLS] or known
    return f"{label_of(rows[0])}: {'; '.join(_after(row) for row in told)}."


def _after(row: Row) -> str:
    erased, retained = row["metrics"][ERASED], row["metrics"][RETAINED]
    stages = row["details"]["stages"]
    before, pruned = (percent(stages[stage][ERASED]) for stage in ("before", "pruned"))
    said = f"after {row['branch']} {percent(erased['value'])} of the erased class is called right (n = {erased['n']}; "
    said += f"before pruning {before}, pruned {pruned}), of the others {percent(retained['value'])} "
    said += f"(n = {retained['n']}), {_precision(row)}"
    return f"{said}{_signs(row)}"


def _precision(row: Row) -> str:
    value = row["metrics"]["class-precision"]["value"]
    if value is None:
        return "and nothing is called so"
    return (
        "and nothing else is called so" if value == 1 else f"{amount('class-precision', value)} of its calls are right"
    )


def _signs(row: Row) -> str:
    signs = row["metrics"]["sign-accuracy"]
    if signs["value"] is None:
        return ""
    interval = span("sign-accuracy", signs["ci"])
    bounds = "" if interval == DASH else f", {interval}"
    return f", {percent(signs['value'])} of the claimed signs are right (n = {signs['n']:,}{bounds})"
