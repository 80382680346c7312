"""The end of a run, and again at any later time: summary, report, table, all from the results on disk."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rich.console import Console

from fedunlearn.judging.forgetting.margin_store import read_margins
from fedunlearn.judging.summary import summarise, write_summary
from fedunlearn.reporting.class_blocks import blocks
from fedunlearn.reporting.class_heat import write_heat
from fedunlearn.reporting.html import render
from fedunlearn.reporting.inversions import inversions, parted
from fedunlearn.reporting.leakage import write_leakage
from fedunlearn.reporting.pair_bars import write_pair_bars
from fedunlearn.reporting.results import cell_folders, read_results
from fedunlearn.reporting.revival_charts import revival_bars
from fedunlearn.reporting.revivals import revivals
from fedunlearn.reporting.suite import records, suites
from fedunlearn.reporting.suite_picture import write_pictures
from fedunlearn.reporting.table import print_results

REPORT = "report.html"
PLAIN_WIDTH = 120  # columns of a table that goes to a file or a pipe


def publish(run: Path, console: Console | None = None) -> Path:
    """Write report.html, print the table, return the report's path.

    A matrix gets summary.json and summary.csv as well, a run with probes leakage.csv, a suite of methods,
    a matrix of attacks on the forgotten class, revivals (revival.svg) and pictures of classes (inversion.svg) theirs.

    Args:
        run: a folder with results.json or with cells/*/results.json.
        console: where the table goes; standard output by default.

    Raises:
        DataError: when there are no results, or unreadable ones.
    """
    folders = cell_folders(run)
    cells = [read_results(folder) for folder in folders]
    summary, methods = None, suites(cells)
    if folders != [run]:
        summary = summarise(cells, [read_margins(folder) for folder in folders])
        write_summary(run, summary, records(methods))
    write_pictures(run, methods)
    write_heat(run, blocks(summary))
    seen = summary or summarise(cells)
    write_pair_bars(run, "revival", [revival_bars(revival) for revival in revivals(seen) if not revival.quiet])
    write_pair_bars(run, "inversion", list(filter(None, map(parted, inversions(seen)))))
    write_leakage(run, cells, summary)
    report = run / REPORT
    temporary = run / (REPORT + ".part")
    temporary.write_text(render(folders, cells, summary), encoding="utf-8")
    os.replace(temporary, report)
    print_results(cells, summary, console or Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH))
    return report


def rebuild(run: Path) -> None:
    """Make the report and the table again from the results in `run`.

    Raises:
        DataError: when there are none.
    """
    publish(run)
