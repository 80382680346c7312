"""The figures of one cell: what the attacks found, drawn from results.json and the artefacts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedunlearn.judging.references import label_of
from fedunlearn.names import CONTROLS, PROBE
from fedunlearn.reporting import formats, words
from fedunlearn.reporting.artefacts import load_arrays
from fedunlearn.reporting.bars import histograms, paired_bars
from fedunlearn.reporting.class_figures import Panel, Prototypes, class_panels, prototypes, short_names
from fedunlearn.reporting.galleries import Gallery, galleries
from fedunlearn.reporting.inversion_galleries import ClaimGallery, claim_galleries
from fedunlearn.reporting.picture_words import PICTURES, most_exposed_first, source_of, threshold
from fedunlearn.reporting.portraits import Album, albums

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Figure:
    """What one attack found.

    Attributes:
        attack, finds: whose finding, and of what.
        sentence: what it means.
        panels: its drawings.
        galleries: its pictures, empty unless it looks for images.
        source: where the labels came from that it used for them.
        threshold: PSNR in dB from which on they count as rebuilt.
        prototypes: its pictures of the classes, empty unless it makes some.
        claims: what it claims to be pictures of the classes, empty unless it looks for those.
        albums: what the models generate, empty unless it revives models that do.
    """

    attack: str
    finds: str
    sentence: str
    panels: tuple[Panel, ...] = ()
    galleries: tuple[Gallery, ...] = ()
    source: str = ""
    threshold: str = ""
    prototypes: tuple[Prototypes, ...] = ()
    claims: tuple[ClaimGallery, ...] = ()
    albums: tuple[Album, ...] = ()


def figures(folder: Path, results: Mapping[str, Any]) -> list[Figure]:
    """Return a figure per attack, in the order of the scenario; failed attacks have a sentence only."""
    names = words.class_names(results)
    by_attack: dict[tuple[str, str, str], list[Row]] = {}
    for row in results["attacks"]:
        by_attack.setdefault((label_of(row), row["observer"], row["finds"]), []).append(row)
    drawn = []
    for (attack, _, finds), rows in by_attack.items():
        sentence = words.finding(finds, rows, names)
        done = [row for row in rows if row["status"] == "done" and row.get("details")]
        if finds == "labels":
            in_the_run = [row for row in done if not row["branch"].startswith(PROBE)]  # probes have a table
            panels = tuple(panel for row in in_the_run for panel in _label_panels(row, names))
            drawn.append(Figure(attack, finds, sentence, panels))
        elif finds in PICTURES:
            shown = galleries(folder, most_exposed_first(done) if finds == "forgotten-images" else done, names)
            limit = f"{threshold(rows[0]):g}"
            drawn.append(Figure(attack, finds, sentence, galleries=shown, source=source_of(rows), threshold=limit))
        elif finds == "forgotten-classes":
            made = prototypes(folder, done, names)
            drawn.append(Figure(attack, finds, sentence, class_panels(done, names), prototypes=made))
        elif finds == "membership":
            drawn.append(Figure(attack, finds, sentence, _member_panels(folder, done)))
        elif finds == "class-images":
            drawn.append(Figure(attack, finds, sentence, claims=claim_galleries(folder, done, names)))
        else:  # the table of the revived models tells the rest
            drawn.append(Figure(attack, finds, sentence, albums=albums(folder, done)))
    return drawn


def _label_panels(row: Row, names: Sequence[str]) -> list[Panel]:
    panels = []
    for update in row["details"].get("updates", []):
        true, found = update["true"], update["found"]
        where = f"round {update['round']}, client {update['client']}"
        right = sum(min(pair) for pair in zip(true, found, strict=True))
        chart = paired_bars(true, found, short_names(names, len(true)), f"Labels in the update of {where}")
        panels.append(Panel(where, chart, f"{right} of {sum(true)} labels right"))
    return panels


def _member_panels(folder: Path, rows: Sequence[Row]) -> tuple[Panel, ...]:
    panels = []
    for row in rows:
        if not (folder / row["details"].get("array", "missing")).is_file():
            continue
        arrays = load_arrays(folder, row["details"]["array"])
        scores, member = arrays["scores"], arrays["member"]
        if not np.isfinite(scores).all():
            continue
        metric = row["metrics"]["auc"]
        note = f"AUC {formats.amount('auc', metric['value'])} ({formats.span('auc', metric['ci'])}, n = {metric['n']})"
        chart = histograms(scores[member], scores[~member], f"Membership scores after {row['branch']}")
        panels.append(Panel(f"after {row['branch']}", chart, note, row["branch"] in CONTROLS))
    return tuple(panels)
