"""One cell of a run as the report shows it: facts, timeline, findings, scores, models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from fedunlearn.judging.groups import cell_label
from fedunlearn.judging.references import numbered
from fedunlearn.observer.access import CAPABILITIES, FLAGS
from fedunlearn.reporting import words
from fedunlearn.reporting.charts import Lane, Line, heat_map, line_chart, timeline
from fedunlearn.reporting.figures import Figure, figures, short_names
from fedunlearn.reporting.table import HEADLINE

Results = Mapping[str, Any]
STYLES = {"trunk": "s0", "retrain": "s3", "retrain-other-init": "s4", "control": "s5", "placebo": "s6"}
UNLEARNER_STYLES = ("s1", "s2", "s7", "s8")


@dataclass(frozen=True)
class Tile:
    """A figure that is seen first: what, how much, and compared with what."""

    topic: str
    value: str
    note: str


@dataclass(frozen=True)
class Observer:
    """Who watched: what it saw (words, yes or no) and what it knew beside."""

    sentence: str
    sees: tuple[tuple[str, bool], ...]
    knows: tuple[str, ...]


@dataclass(frozen=True)
class Score:
    """One row of the table of scores; `main` rows are shown, the others unfold."""

    attack: str
    branch: str
    metric: str
    value: str
    n: int
    interval: str
    compared: tuple[str, ...]  # chance, no attack, control, retrained
    main: bool


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


def page(folder: Path, results: Results, number: int) -> Page:
    """Return the page of the cell in `folder`."""
    styles = branch_styles(results)
    drawn = figures(folder, results)
    return Page(
        key=f"cell-{number}",
        label=cell_label(results.get("cell", {})) or "this run",
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
    )


def branch_styles(results: Results) -> dict[str, str]:
    """Return the style class of every branch, in the order of the results."""
    unlearners = iter(UNLEARNER_STYLES * len(results["branches"]))
    names = {branch["id"]: branch["name"] for branch in results["branches"]}
    return {key: STYLES.get(name) or next(unlearners) for key, name in names.items()}


def tiles(results: Results) -> list[Tile]:
    """Return the first attack of each kind in one figure each; a null-class attack only when there is no other."""
    rows = [row for row in results["attacks"] if row["branch"] not in words.CONTROLS]
    rows.sort(key=lambda row: row["name"].startswith("null-class"))
    first = {row["finds"]: row["name"] for row in reversed(rows)}
    of = lambda finds: [row for row in rows if (row["finds"], row["name"]) == (finds, first[finds])]  # noqa: E731
    found = []
    if "labels" in first:
        metric = of("labels")[0]["metrics"]["irec"]
        note = f"of the labels behind an update; guessing evenly gives {words.percent(metric['baseline'])}"
        found.append(Tile("labels", words.percent(metric["value"]), note))
    if "images" in first:
        share, psnr = (of("images")[0]["metrics"][name] for name in ("rebuilt-share", "psnr"))
        value = words.DASH if share["value"] is None else f"{round(share['value'] * share['n'])} of {share['n']}"
        note = (
            f"training pictures rebuilt recognisably, {words.amount('psnr', psnr['value'])} on average; "
            f"without an attack {words.amount('psnr', psnr['baseline'])}"
        )
        found.append(Tile("pictures", value, note))
    if "forgotten-classes" in first:
        same = of("forgotten-classes")
        hits = sum(words.value(row, "top-1") == 1 for row in same)
        chance = words.percent(same[0]["metrics"]["top-1"]["chance"])
        alarms = [
            row for row in results["attacks"] if row["name"] == same[0]["name"] and "false-alarm" in row["metrics"]
        ]
        loud = sum(words.value(row, "false-alarm") == 1 for row in alarms)
        note = f"models give the forgotten class away; chance {chance}, false alarms {loud} of {len(alarms)} controls"
        found.append(Tile("forgotten class", f"{hits} of {len(same)}", note))
    if "membership" in first:
        row = of("membership")[0]
        oracle = words.amount("auc", row["metrics"]["auc"]["oracle"])
        note = f"AUC for who was forgotten, after {row['branch']}; retrained {oracle}, guessing 0.50"
        found.append(Tile("membership", words.amount("auc", words.value(row, "auc")), note))
    return found


def facts(results: Results) -> list[tuple[str, str]]:
    """Return what federation this was, name by name."""
    scenario, federation = results["scenario"], results.get("federation", {})
    learning = scenario.get("federation", {})
    algorithm = {"fedsgd": "FedSGD: clients send gradients", "fedavg": "FedAvg: clients send weights"}
    partition = scenario.get("partition", {})
    dealt = partition.get("kind", "") + (
        f", alpha {partition['alpha']}" if partition.get("kind") == "dirichlet" else ""
    )
    shape = federation.get("image_shape")
    pictures = f", {' x '.join(map(str, shape))}" if shape else ""
    samples = ", ".join(f"{count} {name}" for name, count in federation.get("samples", {}).items())
    size = federation.get("parameters")
    timing = results["timing"]
    efficiency = words.percent(timing["efficiency"])
    rows = [
        ("data", f"{scenario.get('data', {}).get('name', '')}{pictures}"),
        ("samples", samples),
        ("clients", str(federation.get("clients", learning.get("clients", "")))),
        ("dealt out", dealt),
        ("model", scenario.get("model", {}).get("name", "") + (f", {size} parameters" if size else "")),
        ("algorithm", algorithm.get(learning.get("algorithm", ""), "")),
        ("aggregation", str(learning.get("strategy", ""))),
        ("batch size, learning rate", f"{learning.get('batch-size', '')}, {learning.get('learning-rate', '')}"),
        ("seed", str(results["seed"])),
        ("engine", f"{results['engine']}, {results['workers']} workers"),
        ("time", f"{timing['total_s']:.1f} s, {efficiency} of it client work per worker"),
    ]
    return [(name, text) for name, text in rows if text.strip(" ,")]


def scores(results: Results) -> list[Score]:
    """Return every metric of every attack and branch."""
    rows = results["attacks"]
    labels = numbered([(row["name"], row["observer"], row["branch"]) for row in rows])
    found = []
    for label, row in zip(labels, rows, strict=True):
        main = ("false-alarm",) if "false-alarm" in row["metrics"] else HEADLINE[row["finds"]]
        for name, metric in row["metrics"].items():
            value = words.amount(name, metric["value"]) if row["status"] == "done" else row["status"]
            compared = tuple(words.amount(name, metric[key]) for key in ("chance", "baseline", "control", "oracle"))
            interval = words.span(name, metric["ci"])
            found.append(Score(label, row["branch"], name, value, metric["n"], interval, compared, name in main))
    return found


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
        text = f"forget {words.names_of(request['target'], names)}" if whole else f"{request['id']}"
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
    last_round = max((row["round"] for row in results["rounds"] if row["branch"] == "trunk"), default=None)
    trunk: Mapping[str, Any] = next(
        (branch["metrics"] for branch in results["branches"] if branch["id"] == "trunk"), {}
    )
    final = trunk.get("test_accuracy" if key == "accuracy" else f"test_{key}")
    start = points["trunk"][-1] if points.get("trunk") else None
    if start is None and final is not None and last_round is not None:
        start = (last_round, final)
    lines = []
    for branch, found in points.items():
        joined = [start, *found] if start and found[0][0] == start[0] + 1 else found
        lines.append(Line(branch, styles.get(branch, "s0"), joined))
    return lines


def _branch(branch: Mapping[str, Any], styles: Mapping[str, str]) -> dict[str, Any]:
    metrics = branch["metrics"]
    accuracies = [words.percent(metrics[f"{name}_accuracy"]) for name in ("forget", "retain", "test")]
    meaning = words.BRANCHES.get(branch["name"], "unlearning method")
    return {
        "id": branch["id"],
        "style": styles[branch["id"]],
        "meaning": meaning,
        "accuracies": accuracies,
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
