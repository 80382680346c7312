"""What claimed pictures of classes show, in plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedunlearn.judging.references import label_of
from fedunlearn.names import TRUNK
from fedunlearn.reporting.formats import amount, listed, percent
from fedunlearn.reporting.picture_words import no_answer

Row = Mapping[str, Any]
SCORE = "ddcs-surrogate"


def shown(rows: Sequence[Row]) -> str:
    """Say on every branch how many pictures show their class and how close they come, what was forgotten apart."""
    known = [row for row in rows if _metric(row, "attack-accuracy")["value"] is not None]
    if not known:
        return no_answer(rows[0])
    said = f"{label_of(rows[0])}: by a classifier of the judge's own {_each(known, 'attack-accuracy')} of its pictures "
    said += "show their class"
    gone = [row for row in known if _metric(row, "forgotten-attack-accuracy")["value"] is not None]
    said += f"; of what was forgotten {_each(gone, 'forgotten-attack-accuracy')}" if gone else ""
    near = [row for row in known if _metric(row, "coverage")["value"] is not None]
    said += f". They cover {_each(near, 'coverage')} of the private samples" if near else ""
    return f"{said}.{_fresh(known[0])}"


def _each(rows: Sequence[Row], metric: str) -> str:
    """Return a metric on every branch, n once where it is the same everywhere."""
    counts = {_metric(row, metric)["n"] for row in rows}
    own = [f", n = {_metric(row, metric)['n']}" if len(counts) > 1 else "" for row in rows]
    told = [f"{percent(_metric(row, metric)['value'])} {_where(row)}{n}" for row, n in zip(rows, own, strict=True)]
    each = " each" if len(rows) > 1 else ""
    return "; ".join(told) if len(counts) > 1 else f"{listed(told)} (n = {counts.pop()}{each})"


def _where(row: Row) -> str:
    return "before forgetting" if row["branch"] == TRUNK else f"after {row['branch']}"


def _metric(row: Row, name: str) -> Row:
    found: Row = row["metrics"][name]
    return found


def _fresh(row: Row) -> str:
    """Say what fresh samples of the classes score, without which the score of single samples says nothing."""
    own, fresh = row["metrics"][SCORE], row["metrics"]["held-out-ddcs-surrogate"]
    if own["value"] is None or fresh["value"] is None:
        return ""
    values = f"{amount(SCORE, own['value'])} (n = {own['n']}), fresh samples {amount(SCORE, fresh['value'])}"
    return f" Their {SCORE}, which is not the published DDCS, is {values} (n = {fresh['n']}) {_where(row)}."
