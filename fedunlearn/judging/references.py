"""One row per attack and branch, and what every row has to be compared with on the other branches."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fedunlearn.judging.metric import LOWER_IS_BETTER, NAN, Metric

CONTROL, ORACLE = "control", "retrain"
NULL_CLASS = "null-class"  # attacks whose name starts so ask the question that needs no attack
AGAINST_NULL_CLASS = ("top-1", "exact-set", "jaccard", "mrr", "class-auc")


@dataclass(frozen=True)
class AttackRow:
    """An attack on a branch as it stands in results.json.

    Attributes:
        name, observer, access, branch, finds: which attack, who saw what, where, and what it looks for.
        label: what the scenario calls the attack; its name where empty.
        grants: what an oracle attacker was given.
        queries: questions asked to the model.
        status: `done`, `failed` or `refused`; `reason` says why not done.
        metrics, details, pictures: the verdict.
        auxiliary: how many auxiliary arrays (models, shadows, prototypes) it had `made`, and how many it `reused`.
    """

    name: str
    observer: str
    access: str
    branch: str
    finds: str
    metrics: dict[str, Metric]
    grants: Sequence[str] = ()
    queries: int = 0
    seconds: float = 0.0
    status: str = "done"
    reason: str = ""
    details: dict[str, Any] = field(default_factory=dict)
    pictures: Sequence[str] = ()
    auxiliary: Mapping[str, int] = field(default_factory=lambda: {"made": 0, "reused": 0})
    label: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the row as plain values."""
        return {
            "name": self.name,
            "label": self.label or self.name,
            "observer": self.observer,
            "access": self.access,
            "branch": self.branch,
            "finds": self.finds,
            "grants": list(self.grants),
            "queries": self.queries,
            "auxiliary": dict(self.auxiliary),
            "seconds": self.seconds,
            "status": self.status,
            "reason": self.reason,
            "metrics": {name: metric.to_json() for name, metric in self.metrics.items()},
            "pictures": list(self.pictures),
            "details": self.details,
        }


def with_references(rows: Iterable[AttackRow]) -> list[AttackRow]:
    """Return the rows with `control` and `oracle` taken from the branches `control` and `retrain`.

    For forgotten classes the `baseline` of the ranking metrics becomes the best that a null-class attack scores on
    the same branch: what is left after it is what the attack itself contributes. What those attacks score in every
    metric goes into the details as `null-class`, beside what naming nobody scores.
    """
    rows = list(rows)
    labels = numbered([(row.label or row.name, row.observer, row.branch) for row in rows])
    at = {(label, row.observer, row.branch): row for label, row in zip(labels, rows, strict=True)}
    complete = []
    for label, row in zip(labels, rows, strict=True):
        control, oracle = (at.get((label, row.observer, branch)) for branch in (CONTROL, ORACLE))
        metrics = {
            name: metric.with_values(
                control=_value(control, row, "false-alarm" if name == "alarm" else name),
                oracle=_value(oracle, row, name),
            )
            for name, metric in row.metrics.items()
        }
        details = row.details
        if row.finds == "forgotten-classes" and not row.name.startswith(NULL_CLASS):
            null = _null_class([other for other in rows if other.branch == row.branch])
            metrics |= {
                name: metrics[name].with_values(baseline=null[name])
                for name in AGAINST_NULL_CLASS
                if name in metrics and name in null
            }
            details = details | ({"null-class": null} if null else {})
        complete.append(replace(row, metrics=metrics, details=details))
    return complete


def numbered(keys: Sequence[tuple[str, str, str]]) -> list[str]:
    """Return a label per (attack, observer, branch): what it is called, numbered where several are called the same.

    Example:
        >>> numbered([("fuia", "server", "retrain"), ("fuia", "server", "control"), ("fuia", "server", "retrain")])
        ['fuia', 'fuia', 'fuia #2']
    """
    seen: Counter[tuple[str, str, str]] = Counter()
    labels = []
    for key in keys:
        seen[key] += 1
        labels.append(key[0] if seen[key] == 1 else f"{key[0]} #{seen[key]}")
    return labels


def labels_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what each attack row of a results.json is called there, numbered where several are called the same."""
    return numbered([(label_of(row), row["observer"], row["branch"]) for row in rows])


def label_of(row: Mapping[str, Any]) -> str:
    """Return what the scenario of a results.json calls the attack of a row; its name in older files."""
    return str(row.get("label") or row["name"])


def _value(reference: AttackRow | None, row: AttackRow, name: str) -> float:
    if reference is None or reference.branch == row.branch or name not in reference.metrics:
        return NAN
    return reference.metrics[name].value


def _null_class(same_branch: Sequence[AttackRow]) -> dict[str, float]:
    """Return the best that a null-class attack scores, by metric in which more is better."""
    rows = [row for row in same_branch if row.finds == "forgotten-classes" and row.name.startswith(NULL_CLASS)]
    best: dict[str, float] = {}
    for row in rows:
        for name, metric in row.metrics.items():
            if math.isfinite(metric.value) and name not in (*LOWER_IS_BETTER, "alarm", "false-alarm"):
                best[name] = max(metric.value, best.get(name, metric.value))
    return best
