"""One row per attack and branch, and what every row has to be compared with on the other branches."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fedunlearn.judging.metric import NAN, Metric

CONTROL, ORACLE = "control", "retrain"
NULL_CLASS = "null-class"  # attacks whose name starts so ask the question that needs no attack
AGAINST_NULL_CLASS = ("top-1", "exact-set", "jaccard", "mrr", "class-auc")


@dataclass(frozen=True)
class AttackRow:
    """An attack on a branch as it stands in results.json.

    Attributes:
        name, observer, access, branch, finds: which attack, who saw what, where, and what it looks for.
        grants: what an oracle attacker was given.
        queries: questions asked to the model.
        status: `done`, `failed` or `refused`; `reason` says why not done.
        metrics, details, pictures: the verdict.
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

    def to_json(self) -> dict[str, Any]:
        """Return the row as plain values."""
        return {
            "name": self.name,
            "observer": self.observer,
            "access": self.access,
            "branch": self.branch,
            "finds": self.finds,
            "grants": list(self.grants),
            "queries": self.queries,
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
    the same branch: what is left after it is what the attack itself contributes.
    """
    rows = list(rows)
    labels = numbered([(row.name, row.observer, row.branch) for row in rows])
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
        if row.finds == "forgotten-classes" and not row.name.startswith(NULL_CLASS):
            metrics |= _null_class_baselines(metrics, [other for other in rows if other.branch == row.branch])
        complete.append(replace(row, metrics=metrics))
    return complete


def numbered(keys: Sequence[tuple[str, str, str]]) -> list[str]:
    """Return a label per (attack, observer, branch): its name, numbered where a scenario lists it more than once.

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


def _value(reference: AttackRow | None, row: AttackRow, name: str) -> float:
    if reference is None or reference.branch == row.branch or name not in reference.metrics:
        return NAN
    return reference.metrics[name].value


def _null_class_baselines(metrics: dict[str, Metric], same_branch: list[AttackRow]) -> dict[str, Metric]:
    null = [row for row in same_branch if row.finds == "forgotten-classes" and row.name.startswith(NULL_CLASS)]
    changed = {}
    for name in AGAINST_NULL_CLASS:
        known = [row.metrics[name].value for row in null if name in row.metrics]
        known = [value for value in known if math.isfinite(value)]
        if name in metrics and known:
            changed[name] = metrics[name].with_values(baseline=max(known))
    return changed
