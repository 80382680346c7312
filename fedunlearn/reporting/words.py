"""The results in plain words: the same sentences for the terminal and for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedunlearn.judging.metric_rows import PRIMARY
from fedunlearn.judging.references import label_of
from fedunlearn.names import CONTROLS, PROBE, TRUNK
from fedunlearn.reporting import class_words, inversion_words, picture_words, revival_words
from fedunlearn.reporting.formats import amount, listed, names_of, percent
from fedunlearn.reporting.picture_words import PICTURES, no_answer, source_of

Results = Mapping[str, Any]
Row = Mapping[str, Any]

ACCESS = {
    "labels": "may ask the final model for labels",
    "probabilities": "may ask the final model for probabilities",
    "probabilities-before-after": "may ask the models before and after for probabilities",
    "final-weights": "holds the final model",
    "weights-before-after": "holds the models before and after",
    "broadcasts": "sees every model the server sends out, as a curious client does",
    "aggregate-only": "sees every sum of updates, as a server under secure aggregation does",
    "updates": "sees what every single client sends, as a curious server does",
}
CAPABILITIES = {
    "labels": "labels that the final model gives its queries",
    "probabilities": "probabilities that the final model gives its queries",
    "before": "the model before the request as well",
    "weights": "the weights of the final model",
    "broadcasts": "every model that is sent to the clients",
    "aggregate": "the sum of the updates of every round",
    "updates": "each client's own update",
}
BRANCHES = {
    TRUNK: "before forgetting",
    "retrain": "retrained without the forgotten data: the ideal",
    "retrain-other-init": "the same from another initialisation",
    "control": "as many extra rounds, nothing forgotten",
    "placebo": "as many samples forgotten, spread over all classes",
    "absent": "nothing requested, the clients that hold the class stay away",
}
SAID = 6  # branches of which a sentence tells the accuracy
SPELLING = {"irec": "IRec", "psnr": "PSNR", "top-1": "top-1", "auc": "AUC", "erased-accuracy": "erased accuracy",
            "attack-accuracy": "attack accuracy"}  # fmt: skip


def class_names(results: Results) -> list[str]:
    """Return the names of the classes, empty when the results do not hold them."""
    return list(results.get("federation", {}).get("classes", []))


def request_sentence(request: Row, names: Sequence[str]) -> str:
    """Say what a request asked for and what became of it."""
    scope, target = request.get("scope", "sample"), request.get("target", [])
    size = request.get("samples")
    what = {
        "class": names_of(target, names),
        "client": f"client {', '.join(map(str, target))}",
        "sample": "single samples",
    }[scope]
    count = "" if size is None else f" ({size} training samples)"
    asked = f"After round {request['round']} the federation was asked to forget {what}{count}."
    if request["state"] == "done":
        return asked
    return f"{asked} The request is {request['state']}" + (f": {request['reason']}." if request["reason"] else ".")


def observer_sentence(observer: Row) -> str:
    """Say what an observer sees."""
    return f'The observer "{observer["name"]}" {ACCESS[observer["access"]]}.'


def findings(results: Results) -> list[tuple[str, str]]:
    """Return (what was looked for, sentence) for every attack, chance and control named beside the finding."""
    names = class_names(results)
    by_attack: dict[tuple[str, str, str], list[Row]] = {}
    for row in results["attacks"]:
        by_attack.setdefault((label_of(row), row["observer"], row["finds"]), []).append(row)
    return [(finds, finding(finds, rows, names)) for (_, _, finds), rows in by_attack.items()]


def finding(finds: str, rows: Sequence[Row], names: Sequence[str]) -> str:
    """Return what one attack found, over all branches that it was run on."""
    probed = [row for row in rows if row["branch"].startswith(PROBE)]
    other = [row for row in rows if row not in probed]
    sentences = [_found(finds, other, names)] if other else []
    if probed:
        sentences.append(_over_probes(finds, probed))
    granted = sorted({grant for row in rows for grant in row["grants"]})
    return " ".join([*sentences, *([f"Of the truth it was given: {listed(granted)}."] if granted else [])])


def _found(finds: str, rows: Sequence[Row], names: Sequence[str]) -> str:
    if finds == "labels":
        return " ".join(_labels(row) for row in rows)
    if finds == "images":
        return " ".join(picture_words.images(row) for row in rows)
    if finds == "forgotten-images":
        return picture_words.forgotten_images(rows)
    if finds == "forgotten-classes":
        return class_words.forgotten_classes(rows, names)
    if finds == "revival":
        return revival_words.revived(rows)
    return inversion_words.shown(rows) if finds == "class-images" else _membership(rows)


def _over_probes(finds: str, rows: Sequence[Row]) -> str:
    """Say between which ends an attack's headline lies; the table of the probes has the rest."""
    metric = PRIMARY[finds]
    known = sorted((row for row in rows if value(row, metric) is not None), key=lambda row: value(row, metric) or 0)
    if not known:
        return no_answer(rows[0])
    name = f"{label_of(rows[0])} ({source_of(rows)})" if finds in PICTURES else label_of(rows[0])
    ends = [f"{amount(metric, value(row, metric))} on {row['branch']}" for row in (known[0], known[-1])[: len(known)]]
    silent = f" No answer on {len(rows) - len(known)} of {len(rows)} probes." if len(known) < len(rows) else ""
    return f"{name}: {SPELLING[metric]} {' to '.join(ends)}.{silent}"


def value(row: Row, metric: str) -> float | None:
    """Return a metric's value, None when it is missing or failed."""
    entry = row["metrics"].get(metric)
    return None if entry is None else entry["value"]


def _labels(row: Row) -> str:
    exact, recovered = row["metrics"]["exact"], row["metrics"]["irec"]
    if recovered["value"] is None:
        return no_answer(row)
    n = exact["n"]
    whole = f"{round(exact['value'] * n)} of {n} observed updates" if n > 1 else "the observed update"
    verdict = f"{label_of(row)} recovered {percent(recovered['value'])} of the labels behind "
    if n == 1:
        verdict += whole + (", all exactly" if exact["value"] == 1 else "")
    else:
        verdict += f"{n} observed updates, {whole.partition(' observed')[0]} exactly"
    trivial = f"guessing evenly gives {percent(recovered['baseline'])}, random labels {percent(recovered['chance'])}"
    return f"{verdict}; {trivial}."


def _membership(rows: Sequence[Row]) -> str:
    known = [row for row in rows if value(row, "auc") is not None]
    if not known:
        return no_answer(rows[0])
    after = ", ".join(f"{value(row, 'auc'):.2f} after {row['branch']}" for row in known)
    return f"{label_of(known[0])} tells forgotten samples from unseen ones with AUC {after} (0.50 is guessing)."


def accuracy_sentence(results: Results) -> str:
    """Say what forgetting did to the model, method by method, with retraining beside it."""
    branches = {branch["id"]: branch["metrics"] for branch in results["branches"]}
    before = branches.get(TRUNK)
    shown = [name for name in branches if name not in (TRUNK, "retrain-other-init", *CONTROLS)]
    if len(shown) > SAID:  # the table of the methods tells the others
        shown = [name for name in shown if name == "retrain"]
    if all(branches[name]["forget_accuracy"] is None for name in shown):
        return ""
    parts = [
        f"{percent(branches[name]['forget_accuracy'])} / {percent(branches[name]['retain_accuracy'])} after {name}"
        for name in shown
    ]
    start = f"{percent(before['forget_accuracy'])} / {percent(before['retain_accuracy'])} before, " if before else ""
    return f"Accuracy on forgotten / retained samples: {start}{', '.join(parts)}."
