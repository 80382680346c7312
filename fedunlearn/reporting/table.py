"""The results in the terminal: what was forgotten, what was seen, what was found, and against what to read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from fedunlearn.judging.groups import cell_labels
from fedunlearn.judging.references import label_of, labels_of
from fedunlearn.judging.summary import summarise
from fedunlearn.names import CONTROLS, PROBE
from fedunlearn.reporting import formats, words
from fedunlearn.reporting.class_blocks import FINDS, in_blocks
from fedunlearn.reporting.class_table import class_tables
from fedunlearn.reporting.distributions import distribution_tables
from fedunlearn.reporting.inversion_table import inversion_tables
from fedunlearn.reporting.leakage import leakages
from fedunlearn.reporting.leakage_table import leakage_tables
from fedunlearn.reporting.picture_words import PICTURES, counting, label_source, more, source_of
from fedunlearn.reporting.revival_table import revival_tables
from fedunlearn.reporting.suite import suites
from fedunlearn.reporting.suite_table import suite_tables

SHOWN_CELLS = 8  # more are told by their summary alone
WIDE = 110  # characters; a narrower terminal gets fewer columns
ATTACK = 24  # characters of an attack's name in a table of many columns
OWN_TABLES = ("revival", "class-images")  # of all models beside each other
HEADLINE = {
    "labels": ("irec", "exact"),
    "images": ("rebuilt-share", "psnr"),
    "forgotten-classes": ("top-1",),
    "membership": ("auc",),
    "forgotten-images": ("rebuilt-share", "psnr"),
    "revival": ("erased-accuracy", "retained-accuracy"),
    "class-images": ("attack-accuracy", "coverage", "ddcs-surrogate"),
}
TOPICS = {
    "labels": "labels",
    "images": "pictures",
    "forgotten-classes": "forgotten class",
    "membership": "membership",
    "forgotten-images": "forgotten pictures",
    "revival": "revival",
    "class-images": "pictures of classes",
}


def print_results(cells: Sequence[Mapping[str, Any]], summary: Mapping[str, Any] | None, console: Console) -> None:
    """Print every cell of a run, or of a large matrix the summary over its cells.

    Args:
        cells: results.json of each cell.
        summary: what `judging.summary.summarise` made of them; None for a single run.
        console: where to.
    """
    wide = console.width >= WIDE
    if len(cells) <= SHOWN_CELLS:
        labels = cell_labels([results.get("cell", {}) for results in cells])
        for label, results in zip(labels, cells, strict=True):
            console.print(_cell(label, results, wide=wide))
    found = suites(cells)
    if summary and has_trials(summary):
        crowded = in_blocks(summary)
        tables = [_rates(summary, wide, crowded=crowded), *([] if crowded else [_alarms(summary)])]
        for table in [*tables, *([] if found else [_accuracies(summary)])]:
            if table.row_count:
                console.print(table)
        for part in class_tables(summary, console.width) if crowded else ():
            console.print(part)
    seen = summary or summarise(cells)
    for part in (*revival_tables(seen, console.width), *inversion_tables(seen, console.width)):
        console.print(part)
    for part in suite_tables(found, console.width):
        console.print(part)
    for part in distribution_tables(summary, console.width):
        console.print(part)
    for part in leakage_tables(leakages(cells, summary), console.width):
        console.print(part)


def has_trials(summary: Mapping[str, Any]) -> bool:
    """Return whether any group of a summary has more than one cell, so that there are rates to show."""
    return any(group["cells"] > 1 for group in summary["groups"])


def headline_rows(summary: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the rows of a summary that everybody should see first; false alarms and probes have their own tables."""
    rows = [row for row in summary["rows"] if row["branch"] not in CONTROLS and not row["branch"].startswith(PROBE)]
    return [row for row in rows if row["metric"] in HEADLINE[row["finds"]]]


def _table(title: str, texts: Sequence[str], figures: Sequence[str], gap: int = 2) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, gap, 0, 0))
    for name in texts:
        table.add_column(name, no_wrap=bool(name))
    for name in figures:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _cell(label: str, results: Mapping[str, Any], *, wide: bool) -> RenderableType:
    scenario = results["scenario"]
    title = scenario.get("title") or scenario.get("name") or "fedunlearn"
    parts: list[RenderableType] = [_story(results)]
    if not suites([results]):  # many methods have a table of their own
        parts += [Text(), _branches(results, wide)]
    if any(_scored(row) for row in results["attacks"]):
        parts += [Text(), _attacks(results, wide)]
        if beside := _beside_pictures(results):
            parts += [Text(), beside]
    name = escape(f"{title}: {label}" if label else title)
    return Panel(Group(*parts), title=f"[bold]{name}", title_align="left", padding=(1, 1))


def _story(results: Mapping[str, Any]) -> Table:
    story = Table.grid(padding=(0, 2, 0, 0))
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


def _branches(results: Mapping[str, Any], wide: bool) -> Table:
    texts = ("model", "") if wide else ("model",)
    table = _table("The models: accuracy on what was forgotten, on the rest, on unseen data", texts, ())
    planted = results["scenario"].get("poison") is not None
    for name in ("forgotten", "retained", "test", *(["backdoor"] if planted else []), "SHA-256"):
        table.add_column(name, justify="right", no_wrap=True)
    for branch in results["branches"]:
        metrics = branch["metrics"]
        accuracies = [metrics["forget_accuracy"], metrics["retain_accuracy"], metrics["test_accuracy"]]
        accuracies += [metrics["backdoor_success"]] if planted else []
        meaning = [f"[dim]{words.BRANCHES.get(branch['name'], 'unlearning method')}"] if wide else []
        shown = [formats.percent(accuracy) for accuracy in accuracies]
        table.add_row(escape(branch["id"]), *meaning, *shown, f"[dim]{branch['sha256'][:12]}")
    return table


def _scored(row: Mapping[str, Any]) -> bool:
    """Return whether a row is not shown in a table of its own kind."""
    return row["finds"] not in OWN_TABLES and not row["branch"].startswith(PROBE)


def _attacks(results: Mapping[str, Any], wide: bool) -> Table:
    compared = ("chance", "no attack", "control", "retrained") if wide else ("no attack", "control")
    table = _table("The observer's score", (), (), 2 if wide else 1)
    table.add_column("attack, after", overflow="fold")
    for name in ("value", "n", "95 % interval", *compared):
        table.add_column(name, justify="right", no_wrap=True)
    rows = results["attacks"]
    before = None
    for label, row in zip(labels_of(rows), rows, strict=True):
        if not _scored(row):
            continue
        if before != (label, row["observer"]):
            table.add_row(f"[cyan]{escape(label)}")
            before = (label, row["observer"])
            if source := source_of([row]):
                table.add_row(f"  [dim]{escape(source)}")
        for metric in HEADLINE[row["finds"]] if "false-alarm" not in row["metrics"] else ("false-alarm",):
            table.add_row(f"  {escape(row['branch'])}: {metric}", *_scores(row, metric, wide))
    return table


def _beside_pictures(results: Mapping[str, Any]) -> Table | None:
    """Return, for every attack that rebuilt pictures, what there was to go by, and its other measures."""
    rows = [row for row in results["attacks"] if row["finds"] in PICTURES and not row["branch"].startswith(PROBE)]
    done = [row for row in rows if row["status"] == "done"]
    if not done:
        return None
    table = Table(title="The pictures, more closely", title_justify="left", title_style="bold", box=None, padding=0)
    table.show_header = False
    for row in done:
        said = [f"[cyan]{escape(label_of(row))}[/], {escape(row['branch'])}", *filter(None, [source_of([row])])]
        table.add_row("; ".join([*said, *filter(None, [counting(row)]), *map(escape, more(row))]))
    return table


def _scores(row: Mapping[str, Any], metric: str, wide: bool) -> list[str]:
    entry = row["metrics"][metric]
    trivial = "chance" if row["finds"] in ("forgotten-classes", "membership") else "baseline"
    references = ("chance", "baseline", "control", "oracle") if wide else (trivial, "control")
    value = formats.amount(metric, entry["value"]) if row["status"] == "done" else row["status"]
    compared = [formats.amount(metric, entry[name]) for name in references]
    return [f"[bold]{value}", str(entry["n"]), formats.span(metric, entry["ci"]), *compared]


def _rates(summary: Mapping[str, Any], wide: bool, *, crowded: bool) -> Table:
    compared = ("chance", "no attack", "p (Holm)") if wide else ()
    columns = ("value", "n", "95 % interval", *compared)
    table = _table("Over all cells", ("cells", "attack", "after: measure"), columns, 2 if wide else 1)
    table.columns[1].no_wrap, table.columns[1].max_width = False, ATTACK
    for row in headline_rows(summary):
        if (crowded and row["finds"] == FINDS) or row["finds"] in OWN_TABLES:
            continue
        metric = row["metric"]
        p = formats.DASH if row["p_holm"] is None else f"{row['p_holm']:.2g}"
        figures = [formats.amount(metric, row["value"]), str(row["n"]), formats.span(metric, row["ci"])]
        against = [formats.amount(metric, row["chance"]), formats.amount(metric, row["baseline"]), p]
        against = against[: len(compared)]
        attack = f"{row['attack']}\n[dim]{label_source(row['label_source'])}" if row["label_source"] else row["attack"]
        table.add_row(escape(row["group"]), attack, f"{escape(row['branch'])}: {metric}", *figures, *against)
    return table


def _alarms(summary: Mapping[str, Any]) -> Table:
    title = "False alarms where no class was forgotten"
    figures = ("alarms", "rate", "95 % interval", "nominal", "p (Holm)")
    table = _table(title, ("cells", "attack", "on"), figures)
    for row in summary["alarms"]:
        count = f"{row['alarms']} of {row['n']}" + (f" ({row['failed']} failed)" if row["failed"] else "")
        rates = [formats.percent(row["rate"]), formats.span("false-alarm", row["ci"]), formats.percent(row["nominal"])]
        rates.append(formats.DASH if row["p_holm"] is None else f"{row['p_holm']:.2g}")
        table.add_row(escape(row["group"]), row["attack"], row["on"], count, *rates)
    return table


def _accuracies(summary: Mapping[str, Any]) -> Table:
    figures = ("forgotten", "retained", "test", "above retrain")
    table = _table("The models, mean over cells", ("cells", "model"), figures)
    for group, branch in dict.fromkeys((row["group"], row["branch"]) for row in summary["accuracy"]):
        found = {r["metric"]: r for r in summary["accuracy"] if (r["group"], r["branch"]) == (group, branch)}
        shown = [formats.percent(found[f"{name}_accuracy"]["value"]) for name in ("forget", "retain", "test")]
        above = found["retain_accuracy"]["above_retrain"]
        distance = formats.DASH if above is None else f"{100 * above:+.1f} points"
        table.add_row(escape(group), escape(branch), *shown, distance)
    return table
