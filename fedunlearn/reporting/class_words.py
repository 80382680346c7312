"""What attacks on the forgotten class found, in plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedunlearn.judging.references import label_of
from fedunlearn.names import CONTROLS
from fedunlearn.reporting.formats import amount, listed, names_of, percent
from fedunlearn.reporting.picture_words import no_answer

Row = Mapping[str, Any]


def forgotten_classes(rows: Sequence[Row], names: Sequence[str]) -> str:
    """Say what an attack found on every branch, chance and controls named beside it."""
    name = label_of(rows[0])
    request = [row for row in rows if row["branch"] not in CONTROLS]
    if not request:
        return f"{name} was run on the controls only. {_alarms(rows)}"
    if all(_value(row, "alarm") is None for row in request):
        return no_answer(request[0])
    known = [row for row in request if _value(row, "top-1") is not None]
    if not known:
        loud = [row["branch"] for row in request if _value(row, "alarm") == 1]
        named = f"names a class after {listed(loud)}" if loud else "names none"
        found = f"No whole class was forgotten; {name} {named}."
    else:
        found = _ranked(name, request, known, names)
    return " ".join(filter(None, [found, _streams(request), _shares(request), _alarms(rows)]))


def _ranked(name: str, request: Sequence[Row], known: Sequence[Row], names: Sequence[str]) -> str:
    right = [row["branch"] for row in known if _value(row, "top-1") == 1]
    wrong = [row["branch"] for row in known if _value(row, "top-1") != 1]
    failed = [row["branch"] for row in request if row not in known]
    parts = []
    if right:
        true = names_of(known[0]["details"].get("true", []), names)
        parts.append(f"{name} ranks the forgotten {true} first after {listed(right)}")
    if wrong:
        start = "but not" if right else f"{name} does not rank the forgotten class first"
        parts.append(f"{start} after {listed(wrong)}")
    found = f"{', '.join(parts)} (chance is {percent(known[0]['metrics']['top-1']['chance'])})."
    return found + (f" No answer after {listed(failed)}." if failed else "")


def _streams(rows: Sequence[Row]) -> str:
    """Say when an attack on a stream settles on the right classes."""
    watched = [row for row in rows if _value(row, "detected") is not None]
    if not watched:
        return ""
    by_delay: dict[float | None, list[str]] = {}
    for row in watched:
        by_delay.setdefault(_value(row, "detection-delay"), []).append(row["branch"])
    never = by_delay.pop(None, [])
    settled = "; ".join(
        f"{delay:g} after {listed(by_delay[delay])}"
        for delay in sorted(delay for delay in by_delay if delay is not None)
    )
    said = f"Rounds from the request until it names just the forgotten classes, for good: {settled}."
    said = said if settled else ""
    lost = f"It never settles on them after {listed(never)}." if never else ""
    early = max((_value(row, "early-alarms") or 0) for row in watched)
    before = f"Before the request it named a class after {percent(early)} of the rounds, at most."
    return " ".join(filter(None, [said, lost, before if early else "Before the request it named none."]))


def _shares(rows: Sequence[Row]) -> str:
    """Say how close the claimed class shares are."""
    known = [row for row in rows if _value(row, "distribution-error") is not None]
    if not known:
        return ""
    metric = "distribution-error"
    ends = sorted(_value(row, metric) or 0.0 for row in known)
    low, high = (amount(metric, end) for end in (ends[0], ends[-1]))
    off = low if low == high else f"{low} to {high}"
    chance = amount(metric, known[0]["metrics"][metric]["chance"])
    return f"Its class shares of what was forgotten are off by {off} (those of all data by {chance})."


def _alarms(rows: Sequence[Row]) -> str:
    controls = [(row["branch"], _value(row, "false-alarm")) for row in rows if row["branch"] in CONTROLS]
    if not controls:
        return "No control was run."
    loud, quiet, failed = ([branch for branch, alarm in controls if alarm == kind] for kind in (1, 0, None))
    sentences = []
    if loud:
        sentences.append(f"False alarm on {listed(loud)}, where no class was forgotten.")
    elif quiet:
        sentences.append(f"No false alarm on {listed(quiet)}.")
    if failed:
        sentences.append(f"No answer on {listed(failed)}.")
    return " ".join(sentences)


def _value(row: Row, metric: str) -> float | None:
    entry = row["metrics"].get(metric)
    return None if entry is None else entry["value"]
