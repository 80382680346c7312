"""Every metric of every attack over the cells of a group: rate or mean, interval, and what to compare it with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from fedunlearn.judging.columns import Row, attack_rows, column, details_of, ends, finite, mean, metrics_named
from fedunlearn.judging.groups import Group
from fedunlearn.judging.intervals import bootstrap_mean, interval_of_share
from fedunlearn.judging.metric import RATES, finite_or_none, is_share, number
from fedunlearn.judging.significance import p_value
from fedunlearn.names import CONTROLS

PRIMARY = {
    "labels": "irec",
    "images": "psnr",
    "forgotten-classes": "top-1",
    "membership": "auc",
    "forgotten-images": "psnr",
    "revival": "erased-accuracy",
    "class-images": "attack-accuracy",
}
SEVERAL = "exact-set"  # what counts where several classes were forgotten


def metric_rows(group: Group, draws: np.random.Generator) -> Iterable[Row]:
    """Yield a row per attack, observer, branch and metric, with the keys of `summary.csv`.

    Only the primary metric of an attack is tested, on the branches where there is something to find.
    """
    for (attack, observer, branch, finds), found in attack_rows(group).items():
        main = primary(finds, found)
        for name in dict.fromkeys(name for row in found for name in row["metrics"]):
            metrics = metrics_named(found, name)
            values = column(metrics, "value")
            baselines, chances, controls = (column(metrics, key) for key in ("baseline", "chance", "control"))
            known = finite(values)
            interval = (interval_of_share if is_share(name) else bootstrap_mean)(known, draws)
            tested = name == main and branch not in CONTROLS
            against = {
                "images": baselines,
                "forgotten-images": np.fmax(baselines, controls),
                "revival": baselines,
            }.get(finds, chances)
            yield {
                "group": group.label,
                "attack": attack,
                "observer": observer,
                "branch": branch,
                "finds": finds,
                "label_source": _label_source(found),
                "metric": name,
                "value": mean(values),
                "n": len(known),
                "failed": len(values) - len(known),
                "ci": ends(interval),
                "chance": mean(chances),
                "baseline": mean(baselines),
                "nobody": _trivial(found, "nobody", name),
                "null_class": _trivial(found, "null-class", name),
                "control": mean(controls),
                "oracle": mean(column(metrics, "oracle")),
                "excess": mean(values - baselines),
                "excess_ci": ends(bootstrap_mean(finite(values - baselines), draws)),
                "p": finite_or_none(p_value(values, against, draws, rate=name in RATES)) if tested else None,
            }


def primary(finds: str, found: Iterable[Row]) -> str:
    """Return the metric that counts for an attack's rows."""
    return SEVERAL if finds == "forgotten-classes" and forgotten_count(found) > 1 else PRIMARY[finds]


def forgotten_count(found: Iterable[Row]) -> int:
    """Return how many whole classes were asked to be forgotten where the rows come from, at most over the cells."""
    return max((len(true) for true in details_of(found, "true")), default=0)


def _trivial(found: Sequence[Row], answer: str, name: str) -> float | None:
    """Return what a trivial answer scores, mean over the cells that say so."""
    return mean(np.array([number(scores.get(name)) for scores in details_of(found, answer)]))


def _label_source(found: Sequence[Row]) -> str | None:
    """Return where an image attack's labels came from; None for other attacks."""
    return " + ".join(sorted(set(details_of(found, "label-source")))) or None
