"""One cell of a run as the report shows it: facts, timeline, findings, scores, models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from fedunlearn.names import TRUNK
from fedunlearn.observer.access import CAPABILITIES, FLAGS
from fedunlearn.reporting import formats, words
from fedunlearn.reporting.charts import heat_map
from fedunlearn.reporting.class_figures import short_names
from fedunlearn.reporting.curves import Lane, Line, line_chart, timeline
from fedunlearn.reporting.figures import Figure, figures
from fedunlearn.reporting.headline import Score, Tile, facts, scores, tiles

Results = Mapping[str, Any]
STYLES = {TRUNK: "s0", "retrain": "s3", "retrain-other-init": "s4", "control": "s5", "placebo": "s6", "absent": "s9"}
UNLEARNER_STYLES = ("s1", "s2", "s7", "s8")


@dataclass(frozen=True)
class Observer:
    """Who watched: what it saw (words, yes or no) and what it knew beside."""

    sentence: str
    sees: tuple[tuple[str, bool], ...]
    knows: tuple[str, ...]


@dataclass(frozen=True)
class Page:
    """Everything that the template prints about a cell."""

    key: str
    label: str
    tiles: tuple[Tile, ...]
    facts: tuple[tuple[str, str], ...]
    holdings: Markup | None
    timeline: Markup | None
    requests: tuple[str, ...]
    observers: tuple[Observer, ...]
    figures: tuple[Figure, ...]
    scores: tuple[Score, ...]
    curves: tuple[tuple[str, Markup], ...]
    legend: tuple[tuple[str, str], ...]
    branches: tuple[Mapping[str, Any], ...]
    forgetting: str
    classes: Markup | None
    failures: tuple[str, ...]
    left_out: tuple[str, ...]


def page(folder: Path, results: Results, number: int, label: str) -> Page:
    """Return the page of the cell in `folder`; `label` tells it from the others and is empty for a single run."""
    styles = branch_styles(results)
    drawn = figures(folder, results)
    return Page(
        key=f"cell-{number}",
        label=label or "The run",
        tiles=tuple(tiles(results)),
        facts=tuple(facts(results)),
        holdings=_holdings(results),
        timeline=_timeline(results, styles),
        requests=tuple(words.request_sentence(row, words.class_names(results)) for row in results["requests"]),
        observers=tuple(_observer(entry) for entry in results["scenario"].get("observers", [])),
        figures=tuple(drawn),
        scores=tuple(scores(results)),
        curves=tuple(_curves(results, styles)),
        legend=tuple((branch, styles[branch]) for branch in styles),
        branches=tuple(_branch(branch, styles) for branch in results["branches"]),
        forgetting=words.accuracy_sentence(results),
        classes=_class_accuracy(results),
        failures=tuple(_failures(results)),
        left_out=tuple(f"{entry['branch']}: {entry['reason']}" for entry in results.get("left_out", [])),
    )


def branch_styles(results: Results) -> dict[str, str]:
    """Return the style class of every branch, in the order of the results."""
    unlearners = iter(UNLEARNER_STYLES * len(results["branches"]))
    names = {branch["id"]: branch["name"] for branch in results["branches"]}
    return {key: STYLES.get(name) or next(unlearners) for key, name in names.items()}


def _observer(settings: Mapping[str, Any]) -> Observer:
    held = CAPABILITIES[settings["access"]]
    sees = tuple((text, capability in held) for capability, text in words.CAPABILITIES.items())
    return Observer(words.observer_sentence(settings), sees, tuple(FLAGS[flag] for flag in settings.get("flags", [])))


def _holdings(results: Results) -> Markup | None:
    counts = results.get("federation", {}).get("client_class_counts")
    if not counts:
        return None
    names = short_names(words.class_names(results), len(counts[0]))
    clients = [f"client {client}" for client in range(len(counts))]
    return heat_map(counts, clients, names, "Training samples of each class at each client")


def _timeline(results: Results, styles: Mapping[str, str]) -> Markup | None:
    rounds: dict[str, list[int]] = {}
    for row in results["rounds"]:
        rounds.setdefault(row["branch"], []).append(row["round"])
    if not rounds:
        return None
    observed: dict[str, set[int]] = {}
    for row in results["attacks"]:
        seen = {update["round"] for update in row.get("details", {}).get("updates", [])}
        observed.setdefault(row["branch"], set()).update(seen)
    lanes = [Lane(name, found, observed.get(name, set()), styles.get(name, "s0")) for name, found in rounds.items()]
    names = words.class_names(results)
    marks: dict[int, str] = {}
    for request in results["requests"]:
        whole = request.get("scope") == "class" and request.get("target")
        text = f"forget {formats.names_of(request['target'], names)}" if whole else f"{request['id']}"
        marks[request["round"]] = f"{marks[request['round']]}; {text}" if request["round"] in marks else text
    return timeline(lanes, list(marks.items()), "Rounds of every branch")


def _curves(results: Results, styles: Mapping[str, str]) -> list[tuple[str, Markup]]:
    marks = [(request["round"], "request") for request in results["requests"][:1]]
    charts = []
    for key, title in (
        ("accuracy", "Accuracy on the whole test set"),
        ("forget_accuracy", "Accuracy on test samples of the forgotten classes"),
    ):
        lines = _lines(results, styles, key)
        if any(len(line.points) > 1 for line in lines):
            charts.append((title, line_chart(lines, marks, "round", title)))
    return charts


def _lines(results: Results, styles: Mapping[str, str], key: str) -> list[Line]:
    """Return a curve per branch; branches that go on from the trunk start at its last point."""
    points: dict[str, list[tuple[float, float]]] = {}
    for row in results["rounds"]:
        if row.get(key) is not None:
            points.setdefault(row["branch"], []).append((row["round"], row[key]))
    last_round = max((row["round"] for row in results["rounds"] if row["branch"] == TRUNK), default=None)
    trunk: Mapping[str, Any] = next((branch["metrics"] for branch in results["branches"] if branch["id"] == TRUNK), {})
    final = trunk.get("test_accuracy" if key == "accuracy" else f"test_{key}")
    start = points[TRUNK][-1] if points.get(TRUNK) else None
    if start is None and final is not None and last_round is not None:
        start = (last_round, final)
    lines = []
    for branch, found in points.items():
        joined = [start, *found] if start and found[0][0] == start[0] + 1 else found
        lines.append(Line(branch, styles.get(branch, "s0"), joined))
    return lines


def _branch(branch: Mapping[str, Any], styles: Mapping[str, str]) -> dict[str, Any]:
    metrics = branch["metrics"]
    accuracies = [formats.percent(metrics[f"{name}_accuracy"]) for name in ("forget", "retain", "test")]
    backdoor = metrics.get("backdoor_success")
    meaning = words.BRANCHES.get(branch["name"], "unlearning method")
    return {
        "id": branch["id"],
        "style": styles[branch["id"]],
        "meaning": meaning,
        "accuracies": accuracies,
        "backdoor": None if backdoor is None else formats.percent(backdoor),
        "rounds": branch["extra_rounds"],
        "seconds": f"{branch['seconds']:.1f} s",
        "megabytes": f"{branch['bytes'] / 1e6:.1f} MB",
        "sha256": branch["sha256"],
    }


def _class_accuracy(results: Results) -> Markup | None:
    rows = [branch for branch in results["branches"] if branch.get("details", {}).get("per_class_accuracy")]
    if not rows:
        return None
    values = [[x if x is not None else float("nan") for x in row["details"]["per_class_accuracy"]] for row in rows]
    names = short_names(words.class_names(results), len(values[0]))
    return heat_map(values, [row["id"] for row in rows], names, "Test accuracy by class, percent", unit="%")


def _failures(results: Results) -> Sequence[str]:
    return [
        f"{row['branch']}, round {row['round']}: client {failure['client_id']}, {failure['reason']}"
        for row in results["rounds"]
        for failure in row["failures"]
    ]
