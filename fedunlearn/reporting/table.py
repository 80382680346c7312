"""The results in the terminal: what was forgotten, what was seen, what was found, and against what to read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from fedunlearn.judging.groups import cell_label
from fedunlearn.judging.judge import METRIC_NAMES
from fedunlearn.reporting import words

SHOWN_CELLS = 8  # more are told by their summary alone
HEADLINE = {
    "labels": ("irec", "exact"),
    "images": ("rebuilt-share", "psnr"),
    "forgotten-classes": ("top-1", "exact-set", "false-alarm"),
    "membership": ("auc", "tpr-at-1-fpr"),
}
TOPICS = {
    "labels": "labels",
    "images": "pictures",
    "forgotten-classes": "forgotten class",
    "membership": "membership",
}


def print_results(cells: Sequence[Mapping[str, Any]], summary: Mapping[str, Any] | None, console: Console) -> None:
    """Print every cell of a run, or of a large matrix the summary over its cells.

    Args:
        cells: results.json of each cell.
        summary: what `judging.summary.summarise` made of them; None for a single run.
        console: where to.
    """
    if len(cells) <= SHOWN_CELLS:
        for results in cells:
            console.print(_cell(results))
    if summary and has_trials(summary):
        console.print(_rates(summary))
        if summary["alarms"]:
            console.print(_alarms(summary))
        console.print(_accuracies(summary))


def has_trials(summary: Mapping[str, Any]) -> bool:
    """Return whether any group of a summary has more than one cell, so that there are rates to show."""
    return any(group["cells"] > 1 for group in summary["groups"])


def _cell(results: Mapping[str, Any]) -> RenderableType:
    scenario = results["scenario"]
    title = scenario.get("title") or scenario.get("name") or "fedunlearn"
    label = cell_label(results.get("cell", {}))
    parts: list[RenderableType] = [_story(results), Text(), _branches(results)]
    if results["attacks"]:
        parts += [Text(), _attacks(results)]
    name = escape(f"{title}: {label}" if label else title)
    return Panel(Group(*parts), title=f"[bold]{name}", title_align="left", padding=(1, 2))


def _story(results: Mapping[str, Any]) -> Table:
    story = Table.grid(padding=(0, 2))
    story.add_column(style="bold cyan", no_wrap=True)
    story.add_column(ratio=1)
    names = words.class_names(results)
    for request in results["requests"]:
        story.add_row("asked", escape(words.request_sentence(request, names)))
    for observer in results["scenario"].get("observers", []):
        story.add_row("watching", escape(words.observer_sentence(observer)))
    for topic, sentence in words.findings(results):
        story.add_row(TOPICS[topic], escape(sentence))
    if forgetting := words.accuracy_sentence(results):
        story.add_row("the model", escape(forgetting))
    return story


def _branches(results: Mapping[str, Any]) -> Table:
    table = Table(title="The models", title_justify="left", box=None, padding=(0, 2, 0, 0), title_style="bold")
    for name in ("model", "", "forgotten", "retained", "test", "final SHA-256"):
        table.add_column(name, justify="right" if name in ("forgotten", "retained", "test") else "left", no_wrap=bool(name))
    for branch in results["branches"]:
        metrics = branch["metrics"]
        accuracies = (metrics["forget_accuracy"], metrics["retain_accuracy"], metrics["test_accuracy"])
        meaning = words.BRANCHES.get(branch["name"], "unlearning method")
        shown = [words.percent(accuracy) for accuracy in accuracies]
        table.add_row(escape(branch["id"]), f"[dim]{meaning}", *shown, f"[dim]{branch['sha256'][:12]}")
    return table


def _attacks(results: Mapping[str, Any]) -> Table:
    table = Table(title="The observer's score", title_justify="left", box=None, padding=(0, 2, 0, 0), title_style="bold")
    for name in ("attack", "after", "measure"):
        table.add_column(name, no_wrap=True)
    for name in ("value", "n", "95 % interval", "chance", "no attack", "control", "retrained"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in results["attacks"]:
        for metric in HEADLINE[row["finds"]]:
            if metric in row["metrics"]:
                table.add_row(*_scores(row, metric))
    return table


def _scores(row: Mapping[str, Any], metric: str) -> list[str]:
    entry = row["metrics"][metric]
    compared = [words.amount(metric, entry[name]) for name in ("chance", "baseline", "control", "oracle")]
    value = "failed" if entry["value"] is None and row["status"] != "done" else words.amount(metric, entry["value"])
    measured = [value, str(entry["n"]), words.span(metric, entry["ci"])]
    return [escape(row["name"]), escape(row["branch"]), metric, f"[bold]{measured[0]}", *measured[1:], *compared]


def _rates(summary: Mapping[str, Any]) -> Table:
    table = Table(title="Over all cells", title_justify="left", box=None, padding=(0, 2, 0, 0), title_style="bold")
    for name in ("cells", "attack", "after", "measure"):
        table.add_column(name, no_wrap=True)
    for name in ("value", "n", "95 % interval", "chance", "no attack", "p (Holm)"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in headline_rows(summary):
        metric = row["metric"]
        p = "–" if row["p_holm"] is None else f"{row['p_holm']:.2g}"
        figures = [words.amount(metric, row["value"]), str(row["n"]), words.span(metric, row["ci"])]
        compared = [words.amount(metric, row["chance"]), words.amount(metric, row["baseline"]), p]
        table.add_row(escape(row["group"]), row["attack"], escape(row["branch"]), metric, *figures, *compared)
    return table


def headline_rows(summary: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the rows of a summary that everybody should see first; the false alarms have a table of their own."""
    return [
        row for row in summary["rows"] if row["metric"] in HEADLINE[row["finds"]][:2] and row["branch"] not in words.CONTROLS
    ]


def _alarms(summary: Mapping[str, Any]) -> Table:
    title = "False alarms where no class was forgotten"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0), title_style="bold")
    for name in ("cells", "attack", "on"):
        table.add_column(name, no_wrap=True)
    for name in ("alarms", "rate", "95 % interval", "nominal"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in summary["alarms"]:
        count = f"{row['alarms']} of {row['n']}"
        rates = [words.percent(row["rate"]), words.span("false-alarm", row["ci"]), words.percent(row["nominal"])]
        table.add_row(escape(row["group"]), row["attack"], row["on"], count, *rates)
    return table


def _accuracies(summary: Mapping[str, Any]) -> Table:
    table = Table(title="The models, mean over cells", title_justify="left", box=None, padding=(0, 2, 0, 0), title_style="bold")
    for name in ("cells", "model"):
        table.add_column(name, no_wrap=True)
    for name in ("forgotten", "retained", "test", "retained above retraining"):
        table.add_column(name, justify="right", no_wrap=True)
    for group, branch in dict.fromkeys((row["group"], row["branch"]) for row in summary["accuracy"]):
        found = {r["metric"]: r for r in summary["accuracy"] if (r["group"], r["branch"]) == (group, branch)}
        shown = [words.percent(found[f"{name}_accuracy"]["value"]) for name in ("forget", "retain", "test")]
        above = found["retain_accuracy"]["above_retrain"]
        distance = "–" if above is None else f"{100 * above:+.1f} points"
        table.add_row(escape(group), escape(branch), *shown, distance)
    return table


def metric_names(finds: str) -> tuple[str, ...]:
    """Return every metric of what an attack looks for, in the order of the reports."""
    return METRIC_NAMES[finds]
