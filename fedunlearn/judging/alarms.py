"""False alarms where nothing was forgotten, and whether they are more than an attack promises."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from scipy import stats

from fedunlearn.judging.columns import Row, attack_rows, column, details_of, ends, finite, mean, metrics_named
from fedunlearn.judging.groups import Group
from fedunlearn.judging.intervals import auc_interval, holm, wilson
from fedunlearn.judging.membership import auc
from fedunlearn.judging.metric import finite_or_none, number
from fedunlearn.names import ABSENT, CONTROLS

NOMINAL = "nominal-false-alarm-rate"
BOTH = "both"
LEVEL = 0.05  # of the corrected tests


def alarm_rows(groups: Sequence[Group]) -> list[Row]:
    """Return the false alarms per attack on each control, and on control and placebo together (`both`).

    Attacks without an answer are counted by themselves. `p` is the exact one-sided p-value of the rate not being above
    the attack's nominal level; `p_holm` is corrected over all rows on control and placebo, over all rows on both
    together, and over all rows on `absent`, where a class does stay away and attacks may honestly be fooled.
    """
    rows = [row for group in groups for row in _of_group(group)]
    for family in ((BOTH,), (ABSENT,), tuple(branch for branch in CONTROLS if branch != ABSENT)):
        members = [row for row in rows if row["on"] in family]
        for row, corrected in zip(members, holm([number(row["p"]) for row in members]), strict=True):
            row["p_holm"] = finite_or_none(corrected)
            row["above_nominal"] = None if row["p"] is None else corrected < LEVEL
    return rows


def _of_group(group: Group) -> Iterable[Row]:
    alarms: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    nominal: dict[tuple[str, str], Any] = {}
    for (attack, observer, branch, finds), found in attack_rows(group).items():
        if branch in CONTROLS and finds == "forgotten-classes":
            alarms.setdefault((attack, observer), {})[branch] = column(metrics_named(found, "false-alarm"), "value")
            known = [notes[NOMINAL] for notes in details_of(found, "notes") if notes.get(NOMINAL) is not None]
            nominal[attack, observer] = nominal.get((attack, observer)) or (known[0] if known else None)
    for (attack, observer), by_branch in alarms.items():
        together = [values for branch, values in by_branch.items() if branch != ABSENT]
        if len(together) > 1:
            by_branch[BOTH] = np.concatenate(together)
        for branch, values in by_branch.items():
            answers, level = finite(values), nominal[attack, observer]
            count = int(answers.sum())
            tested = level is not None and len(answers) > 0
            yield {
                "group": group.label,
                "attack": attack,
                "observer": observer,
                "on": branch,
                "alarms": count,
                "n": len(answers),
                "failed": len(values) - len(answers),
                "rate": mean(values),
                "ci": ends(wilson(count, len(answers))),
                "nominal": level,
                "p": float(stats.binomtest(count, len(answers), level, "greater").pvalue) if tested else None,
            }


def separation_rows(group: Group) -> Iterable[Row]:
    """Compare the highest score of each attack on a branch with those on control and placebo."""
    highest: dict[tuple[str, str], dict[str, list[float]]] = {}
    for (attack, observer, branch, _), found in attack_rows(group).items():
        known = [max(scores) for scores in details_of(found, "scores") if scores and None not in scores]
        if known:
            highest.setdefault((attack, observer), {})[branch] = known
    for (attack, observer), by_branch in highest.items():
        quiet = [score for branch in CONTROLS if branch != ABSENT for score in by_branch.get(branch, [])]
        for branch, scores in by_branch.items():
            if branch in CONTROLS or not quiet:
                continue
            request = np.arange(len(scores) + len(quiet)) < len(scores)
            area = auc(np.array(scores + quiet), request)
            yield {
                "group": group.label,
                "attack": attack,
                "observer": observer,
                "branch": branch,
                "auc": finite_or_none(area),
                "ci": ends(auc_interval(area, len(scores), len(quiet))),
                "n": [len(scores), len(quiet)],
            }
