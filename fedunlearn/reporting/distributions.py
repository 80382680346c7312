"""Many unlearned against many retrained models in the terminal: one line per method."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from fedunlearn.names import CONTROLS, RETRAINED, TRUNK
from fedunlearn.reporting.formats import DASH, percent

WIDE = 100  # characters from which the 95th percentiles have room
REFERENCES = (TRUNK, *CONTROLS, *RETRAINED)
KINDS = {"forget": "forgotten", "retain": "retained", "test": "test"}
READING = (
    "KLoM: divergence of the margins per sample in nats, mean{percentile}. U-LiRA: the AUC with which an attacker, the "
    "other models being shadows{pooled}, tells an unlearned from a retrained model by one sample, and the true "
    "positive rate at 1% false ones; on test samples, how different the models are anyway. Score: of the NeurIPS 2023 "
    "competition. "
    "Few models look different by chance: compare with retrain-other-init, which never saw the data either."
)


def distribution_tables(summary: Mapping[str, Any] | None, width: int) -> Iterable[RenderableType]:
    """Yield a table for each group of cells and seed, and how to read it; nothing without distributions."""
    rows = summary["distributions"] if summary else []
    for (group, seed), found in groupby(rows, key=lambda row: (row["group"], row["seed"])):
        methods = list(found)
        yield Text(f"Over training seeds, {group}, seed {seed}", style="bold")
        yield _table(methods, wide=width >= WIDE)
        pooled = " with a variance pooled over samples" if methods[0]["pooled_variance"] else ""
        percentile = " (95th percentile)" if width >= WIDE else ""
        yield Text(READING.format(pooled=pooled, percentile=percentile), style="dim")


def _table(methods: Iterable[Mapping[str, Any]], *, wide: bool) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("method", overflow="fold")
    headings = [f"KLoM\n{kind}" for kind in KINDS.values()]
    headings += ["U-LiRA\nforgotten", "TPR\nat 1%", "U-LiRA\ntest", "score", "models"]
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in methods:
        known = [_klom(row, kind, wide) for kind in KINDS]
        known += [_figure(row["u_lira_auc_forget"]), percent(row["u_lira_tpr_at_1_fpr_forget"])]
        known += [_figure(row["u_lira_auc_test"]), _figure(row["competition_score"], 3)]
        counted = f"{row['models']}+{row['models']}"
        table.add_row(escape(row["branch"]), *known, counted, style="dim" if _reference(row["branch"]) else "")
    return table


def _reference(branch: str) -> bool:
    """Return whether a branch is no method; replicas of a reference end in their number."""
    return branch.rstrip("0123456789").rstrip("-") in REFERENCES


def _klom(row: Mapping[str, Any], kind: str, wide: bool) -> str:
    mean = _figure(row[f"klom_{kind}"])
    return f"{mean} ({_figure(row[f'klom_{kind}_p95'])})" if wide else mean


def _figure(value: float | None, digits: int = 2) -> str:
    return DASH if value is None else f"{value:.{digits}f}"
