"""Attacks that rebuild pictures, in plain words: whose labels they used, how much there was to go by, what came out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedunlearn.judging.images import REBUILT_DB
from fedunlearn.judging.references import label_of
from fedunlearn.names import CONTROLS
from fedunlearn.reporting.formats import amount, listed, percent

Row = Mapping[str, Any]
PICTURES = frozenset({"images", "forgotten-images"})  # what is looked for
TRIVIAL = {"psnr-grey": "grey", "psnr-batch-mean": "mean of the true images", "psnr-public-mean": "mean public image"}
MORE = ("ssim", "lpips", "fft2d", "identification-rate")


def label_source(source: str | None) -> str:
    """Say where the labels came from that an image attack used; nothing for other attacks.

    Example:
        >>> label_source("bias-form"), label_source("known"), label_source("known, 1 wrong"), label_source(None)
        ('labels: restored by bias-form', 'labels: known (oracle)', 'labels: known, 1 wrong (oracle)', '')
    """
    if source is None:
        return ""
    return f"labels: {source} (oracle)" if source.startswith("known") else f"labels: restored by {source}"


def source_of(rows: Sequence[Row]) -> str:
    """Say the same of an attack's rows; nothing when it never got so far."""
    return next((label_source(row["details"]["label-source"]) for row in rows if _details(row, "label-source")), "")


def most_exposed_first(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of an attack on forgotten pictures, the closest first, failures and then controls last."""
    psnr = lambda row: row["metrics"]["psnr"]["value"] if row["metrics"].get("psnr") else None  # noqa: E731
    return sorted(rows, key=lambda row: (row["branch"] in CONTROLS, -(psnr(row) or 0)))


def threshold(row: Row) -> float:
    """Return the PSNR in dB from which on an image of this row counts as rebuilt."""
    return float(_details(row, "rebuilt-db") or REBUILT_DB)


def counting(row: Row, batch: int | None = None) -> str:
    """Say how many equations there are for how many unknowns, and how many of them are independent.

    Args:
        row: of results.json; the notes of its finding hold the numbers, one per update.
        batch: the update; None: all.

    Example:
        >>> notes = {"equations": [15826], "unknowns": [12288], "jacobian-rank": [12012]}
        >>> counting({"details": {"notes": notes}})
        '15,826 equations for 12,288 unknowns (rank 12,012)'
    """
    notes = _details(row, "notes") or {}
    equations, unknowns, ranks = (_entries(notes.get(key), batch) for key in ("equations", "unknowns", "jacobian-rank"))
    if not equations or not unknowns:
        return ""
    rank = f" (rank {_span(ranks)})" if ranks else ""
    return f"{_span(equations)} equations for {_span(unknowns)} unknowns{rank}"


def more(row: Row) -> list[str]:
    """Return the remaining measures of a row, trivial answers in brackets, and the trivial answers' own PSNR."""
    metrics, skipped, right = row["metrics"], _details(row, "skipped") or {}, _details(row, "labels-right")
    said = [f"{right[0]} of {right[1]} labels right"] if right else []
    for name in MORE:
        if name in skipped:
            said.append(f"{name} skipped ({skipped[name]})")
        elif name in metrics and metrics[name]["value"] is not None:
            entry = metrics[name]
            chance = f", chance {percent(entry['chance'])}" if entry["chance"] is not None else ""
            said.append(f"{name} {amount(name, entry['value'])} (no attack {amount(name, entry['baseline'])}{chance})")
    answers = [f"{words} {amount(name, metrics[name]['value'])}" for name, words in TRIVIAL.items() if name in metrics]
    return [*said, f"no attack: {', '.join(answers)}"] if answers else said


def images(row: Row) -> str:
    """Say what an attack made of the training images behind updates."""
    share, mean = row["metrics"]["rebuilt-share"], row["metrics"]["psnr"]
    if share["value"] is None:
        return no_answer(row)
    rebuilt = round(share["value"] * share["n"])
    return (
        f"{label_of(row)} ({source_of([row])}) rebuilt {rebuilt} of {share['n']} training images recognisably "
        f"({threshold(row):g} dB or better), {amount('psnr', mean['value'])} on average; the best picture that needs "
        f"no attack gets {amount('psnr', mean['baseline'])}.{_counted(row)}"
    )


def forgotten_images(rows: Sequence[Row]) -> str:
    """Say how much the pictures that an attack makes of a request look like the forgotten samples, and on controls."""
    name, known = label_of(rows[0]), [row for row in rows if row["metrics"]["psnr"]["value"] is not None]
    request = [row for row in known if row["branch"] not in CONTROLS]
    control = [row for row in known if row["branch"] in CONTROLS]
    if not known:
        return no_answer(rows[0])
    shown = [f"{amount('psnr', row['metrics']['psnr']['value'])} after {row['branch']}" for row in request]
    after = f" reach {listed(shown)}" if shown else " were made on controls only"
    first = known[0]
    baseline = f"the best picture that needs no attack gets {amount('psnr', first['metrics']['psnr']['baseline'])}"
    quiet = [f"{amount('psnr', row['metrics']['psnr']['value'])} on {row['branch']}" for row in control]
    against = f"where nothing was forgotten the same attack gets {listed(quiet)}" if quiet else "no control was run"
    silent = [row["branch"] for row in rows if row not in known]
    lost = f" No answer after {listed(silent)}." if silent else ""
    start = f"The pictures of forgotten samples by {name} ({source_of(known)})"
    return f"{start}{after}; {baseline}, and {against}.{_counted(first)}{lost}"


def no_answer(row: Row) -> str:
    """Say that an attack gave no answer, and why."""
    return f"{label_of(row)} gave no answer ({row['status']}{': ' + row['reason'] if row.get('reason') else ''})."


def _details(row: Row, key: str) -> Any:
    return row.get("details", {}).get(key)


def _counted(row: Row) -> str:
    said = counting(row)
    return f" There were {said}." if said else ""


def _entries(value: Any, batch: int | None) -> list[int]:
    """Return a note, one number or one per update, as a list without gaps."""
    entries = value if isinstance(value, list) else [value]
    chosen = entries if batch is None or len(entries) == 1 else entries[batch : batch + 1]
    return [entry for entry in chosen if entry is not None]


def _span(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
