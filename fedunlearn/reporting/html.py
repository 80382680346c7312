"""report.html: one self-contained page about a whole run, for somebody who has never seen the project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from fedunlearn import __version__
from fedunlearn.judging import METRICS
from fedunlearn.judging.groups import cell_labels
from fedunlearn.judging.summary import summarise
from fedunlearn.reporting import formats
from fedunlearn.reporting.charts import Estimate, forest
from fedunlearn.reporting.class_blocks import FINDS, Block, blocks, in_blocks
from fedunlearn.reporting.class_charts import delay_charts, partial_charts
from fedunlearn.reporting.class_heat import FEWEST, caption, heat
from fedunlearn.reporting.inversions import SURROGATE, inversions
from fedunlearn.reporting.leakage import leakages
from fedunlearn.reporting.leakage_table import figures
from fedunlearn.reporting.model_tables import inversion_page, overview_page, revival_page
from fedunlearn.reporting.page import page
from fedunlearn.reporting.picture_words import label_source
from fedunlearn.reporting.revivals import ORACLE, revivals
from fedunlearn.reporting.suite import Suite, suites
from fedunlearn.reporting.suite_columns import columns, reading, rows
from fedunlearn.reporting.suite_picture import picture
from fedunlearn.reporting.table import SHOWN_CELLS, has_trials, headline_rows
from fedunlearn.reporting.templates import LOADER

Results = Mapping[str, Any]
FEW, MOST = 60, 1500  # lines of a table that stays open, and that stands on the page at all


def render(folders: Sequence[Path], cells: Sequence[Results], summary: Mapping[str, Any] | None) -> str:
    """Return the report as HTML.

    Args:
        folders: the cells' folders, where `artefacts/` lie.
        cells: their results.
        summary: over the cells, or None for a single run.
    """
    environment = Environment(
        loader=LOADER, autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    pages = []
    if len(cells) <= SHOWN_CELLS:
        labels = cell_labels([results.get("cell", {}) for results in cells])
        pages = [page(*cell) for cell in zip(folders, cells, range(len(cells)), labels, strict=True)]
    scenario, found = cells[0]["scenario"], suites(cells)
    seen = summary or summarise(cells)
    found_blocks = [block for block in blocks(seen) if len(block.lines) >= FEWEST]
    trials = summary if summary and has_trials(summary) and (summary["rows"] or not found) else None
    return environment.get_template("report.html").render(
        title=scenario.get("title") or scenario.get("name") or "fedunlearn",
        description=scenario.get("description", ""),
        version=__version__,
        cells=len(cells),
        pages=pages,
        summary=trials,
        rates=_rates(trials) if trials else [],
        accuracies=_accuracies(trials) if trials and not found else [],
        suites=[_methods(suite) for suite in found],
        glossary=_glossary(cells),
        blocks=[_block(block) for block in found_blocks],
        revivals=[revival_page(revival, place) for place, revival in enumerate(revivals(seen))],
        inversions=[inversion_page(inversion, place) for place, inversion in enumerate(inversions(seen))],
        overviews=overview_page(inversions(seen)),
        mark=ORACLE,
        surrogate=SURROGATE,
        delays=delay_charts(trials),
        partials=partial_charts(trials),
        few=FEW,
        most=MOST,
        tables=leakages(cells, summary),
        two=figures,
        source_words=label_source,
        formats=formats,
    )


def _rates(summary: Mapping[str, Any]) -> list[tuple[str, Markup]]:
    """Return one forest plot per headline that is a share."""
    titles = {
        ("labels", "irec"): "Labels recovered",
        ("labels", "exact"): "Updates with every label count right",
        ("images", "rebuilt-share"): "Pictures rebuilt",
        ("forgotten-images", "rebuilt-share"): "Forgotten pictures rebuilt",
        ("forgotten-classes", "top-1"): "Forgotten class ranked first",
        ("membership", "auc"): "AUC of membership",
    }
    charts = []
    for (finds, metric), title in titles.items():
        rows = [row for row in headline_rows(summary) if (row["finds"], row["metric"]) == (finds, metric)]
        estimates = [
            Estimate(
                f"{row['group']} \u00b7 {row['attack']} \u00b7 {row['branch']}",
                row["value"],
                row["ci"],
                row["baseline" if finds == "labels" else "chance"],
                f"{formats.amount(row['metric'], row['value'])}, n = {row['n']}",
            )
            for row in rows
            if row["value"] is not None
        ]
        if estimates and not (finds == FINDS and in_blocks(summary)):
            charts.append((title, forest(estimates, title, percent=finds != "membership")))
    return charts


def _block(block: Block) -> dict[str, Any]:
    return {"title": block.group, "drawing": heat(block), "caption": caption(block)}


def _methods(suite: Suite) -> dict[str, Any]:
    return {
        "title": suite.title,
        "columns": columns(suite),
        "rows": rows(suite),
        "reading": reading(suite),
        "picture": picture(suite),
    }


def _accuracies(summary: Mapping[str, Any]) -> list[dict[str, str]]:
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for row in summary["accuracy"]:
        entry = rows.setdefault(
            (row["group"], row["branch"]), {"group": row["group"], "branch": row["branch"], "above": formats.DASH}
        )
        interval = f" ({formats.span('accuracy', row['ci'])})" if None not in row["ci"] else ""
        entry[row["metric"]] = formats.percent(row["value"]) + interval
        if row["metric"] == "retain_accuracy" and row["above_retrain"] is not None:
            entry["above"] = f"{100 * row['above_retrain']:+.1f} points"
    return list(rows.values())


def _glossary(cells: Sequence[Results]) -> dict[str, str]:
    """Return the one-line meaning of every measure that occurs."""
    used = {name for results in cells for row in results["attacks"] for name in row["metrics"]}
    return {name: text for name, text in METRICS.describe().items() if name in used}
