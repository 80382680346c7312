"""What a reader sees of a suite."""

import io

from rich.console import Console

from fedunlearn.reporting.suite_table import suite_tables
from fedunlearn.reporting.table import print_results


def shown(found, width):
    console = Console(file=io.StringIO(), width=width)
    for part in suite_tables(found, width):
        console.print(part)
    return console.file.getvalue()


def printed(found, summary=None, width=140):
    console = Console(file=io.StringIO(), width=width)
    print_results(found, summary, console)
    return console.file.getvalue()


def metric_of(found, name, metric):
    return [next(b["metrics"][metric] for b in r["branches"] if b["name"] == name) for r in found]
