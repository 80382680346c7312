"""What is seen first of a cell: the findings in one figure each, the facts of the federation, the scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedunlearn.judging.references import label_of, labels_of
from fedunlearn.judging.revival_rows import is_control, revived_rightly
from fedunlearn.names import CONTROLS, PROBE, TRUNK
from fedunlearn.reporting import formats, words
from fedunlearn.reporting.leakage import UNIFORM
from fedunlearn.reporting.picture_words import most_exposed_first, source_of
from fedunlearn.reporting.table import HEADLINE

Results = Mapping[str, Any]
ERASED = "erased-accuracy"


@dataclass(frozen=True)
class Tile:
    """A figure that is seen first: what, how much, and compared with what."""

    topic: str
    value: str
    note: str


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
    labels: str = ""  # where an image attack's labels came from


def tiles(results: Results) -> list[Tile]:
    """Return the first attack of each kind in one figure each; one that needs no data only when there is no other."""
    rows = [row for row in results["attacks"] if row["branch"] not in CONTROLS and _has_target(row)]
    rows.sort(key=lambda row: row["name"].startswith(("null-class", UNIFORM)))
    first = {row["finds"]: label_of(row) for row in reversed(rows)}
    of = lambda finds: [row for row in rows if (row["finds"], label_of(row)) == (finds, first[finds])]  # noqa: E731
    found = []
    if "labels" in first:
        metric, where = of("labels")[0]["metrics"]["irec"], _where(of("labels")[0])
        note = f"of the labels behind an update{where}; guessing evenly gives {formats.percent(metric['baseline'])}"
        found.append(Tile("labels", formats.percent(metric["value"]), note))
    if "images" in first:
        row = of("images")[0]
        note = f"training pictures rebuilt recognisably{_where(row)}, {_pictures(row)} ({source_of([row])})"
        found.append(Tile("pictures", _rebuilt(row), note))
    if "forgotten-images" in first:
        row = most_exposed_first(of("forgotten-images"))[0]
        control = formats.amount("psnr", row["metrics"]["psnr"]["control"])
        note = f"forgotten pictures rebuilt after {row['branch']}, {_pictures(row)}, on the control {control}"
        found.append(Tile("forgotten pictures", _rebuilt(row), f"{note} ({source_of([row])})"))
    if "forgotten-classes" in first:
        same = of("forgotten-classes")
        hits = sum(words.value(row, "exact-set") == 1 for row in same)
        chance = formats.percent(same[0]["metrics"]["exact-set"]["chance"])
        own = [row for row in results["attacks"] if label_of(row) == label_of(same[0])]
        alarms = [words.value(row, "false-alarm") for row in own]
        loud, quiet = (alarms.count(value) for value in (1, 0))
        note = (
            f"models in which {label_of(same[0])} names just the forgotten class; chance {chance}, "
            f"false alarms on {loud} of {loud + quiet} controls"
        )
        found.append(Tile("forgotten class", f"{hits} of {len(same)}", note))
    if "membership" in first:
        row = of("membership")[0]
        oracle = formats.amount("auc", row["metrics"]["auc"]["oracle"])
        note = f"AUC for who was forgotten, after {row['branch']}; retrained {oracle}, guessing 0.50"
        found.append(Tile("membership", formats.amount("auc", words.value(row, "auc")), note))
    found += [_revived(of("revival"), rows)] if "revival" in first else []
    found += [_inverted(of("class-images"))] if "class-images" in first else []
    return found


def _revived(own: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> Tile:
    """Return how much of an erased class is called again, and what a control reaches on the same branch."""
    row = next((row for row in own if words.value(row, ERASED) is not None), own[0])
    beside = [other for other in rows if other["branch"] == row["branch"] and is_control(other)]
    rightly = lambda other: revived_rightly(*(words.value(other, name) for name in (ERASED, "class-precision")))  # noqa: E731
    best = words.value(max(beside, key=rightly), ERASED) if beside else None
    metric = row["metrics"][ERASED]
    note = f"of the erased class called right again after {row['branch']} (n = {metric['n']}); "
    note += f"pruned {formats.percent(metric['baseline'])}, best control {formats.percent(best)}"
    return Tile("revival", formats.percent(metric["value"]), note)


def _inverted(own: Sequence[Mapping[str, Any]]) -> Tile:
    """Return how many pictures show their class, and what the retrained model shows."""
    row = next((row for row in own if words.value(row, "attack-accuracy") is not None), own[0])
    metric, near = row["metrics"]["attack-accuracy"], row["metrics"]["coverage"]
    where = "before forgetting" if row["branch"] == TRUNK else f"after {row['branch']}"
    note = f"of {metric['n']} pictures show their class {where}, retrained {formats.percent(metric['oracle'])}; "
    note += f"they cover {formats.percent(near['value'])} of {near['n']} private samples"
    return Tile("pictures of classes", formats.percent(metric["value"]), note)


def _rebuilt(row: Mapping[str, Any]) -> str:
    share = row["metrics"]["rebuilt-share"]
    return formats.DASH if share["value"] is None else f"{round(share['value'] * share['n'])} of {share['n']}"


def _pictures(row: Mapping[str, Any]) -> str:
    psnr = row["metrics"]["psnr"]
    value, baseline = (formats.amount("psnr", psnr[name]) for name in ("value", "baseline"))
    return f"{value} on average; without an attack {baseline}"


def _where(row: Mapping[str, Any]) -> str:
    return f" on {row['branch']}" if row["branch"].startswith(PROBE) else ""


def _has_target(row: Mapping[str, Any]) -> bool:
    """Return whether there was something to find: not when single samples were forgotten and a class is looked for."""
    return row["finds"] != "forgotten-classes" or bool(row.get("details", {}).get("true"))


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
    timing, poison = results["timing"], scenario.get("poison")
    planted = poison and (
        f"{formats.percent(poison['share'])} of client {poison['client']}'s samples carry a {poison['trigger']} "
        f"and class {poison['target']}"
    )
    efficiency = formats.percent(timing["efficiency"])
    rows = [
        ("data", f"{scenario.get('data', {}).get('name', '')}{pictures}"),
        ("samples", samples),
        ("clients", str(federation.get("clients", learning.get("clients", "")))),
        ("dealt out", dealt),
        ("poisoned", planted or ""),
        ("model", scenario.get("model", {}).get("name", "") + (f", {size} parameters" if size else "")),
        ("algorithm", algorithm.get(learning.get("algorithm", ""), "")),
        ("aggregation", str(learning.get("strategy", ""))),
        ("batch size, learning rate", f"{learning.get('batch-size', '')}, {learning.get('learning-rate', '')}"),
        ("seed", str(results["seed"])),
        ("engine", f"{results['engine']}, {results['workers']} worker{'s' if results['workers'] > 1 else ''}"),
        ("time", f"{timing['total_s']:.1f} s; client work fills {efficiency} of the workers' time"),
    ]
    return [(name, text) for name, text in rows if text.strip(" ,")]


def scores(results: Results) -> list[Score]:
    """Return every metric of every attack and branch."""
    rows = results["attacks"]
    found = []
    for label, row in zip(labels_of(rows), rows, strict=True):
        main = ("false-alarm",) if "false-alarm" in row["metrics"] else HEADLINE[row["finds"]]
        skipped = row.get("details", {}).get("skipped", {})
        for name, metric in row["metrics"].items():
            value = formats.amount(name, metric["value"]) if row["status"] == "done" else row["status"]
            value = f"skipped: {skipped[name]}" if name in skipped else value
            compared = tuple(formats.amount(name, metric[key]) for key in ("chance", "baseline", "control", "oracle"))
            interval = formats.span(name, metric["ci"])
            first = name in main and not row["branch"].startswith(PROBE)
            shown = (label, row["branch"], name, value, metric["n"], interval, compared, first, source_of([row]))
            found.append(Score(*shown))
    return found
