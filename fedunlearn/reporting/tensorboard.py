"""One TensorBoard writer per cell: curves while it runs, pictures and scores when it is judged."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from scipy.stats import rankdata
from torch.utils.tensorboard import SummaryWriter

from fedunlearn.federation import Update, Weights
from fedunlearn.judging import AttackRow, Verdict
from fedunlearn.judging.groups import cell_label
from fedunlearn.judging.references import labels_of
from fedunlearn.judging.summary import summarise
from fedunlearn.reporting.artefacts import (
    PORTRAITS,
    batches,
    claimed_strip,
    grid,
    marked_strip,
    picture_rows,
    portrait_rows,
)
from fedunlearn.reporting.class_blocks import FINDS, METRICS, blocks
from fedunlearn.reporting.class_pictures import block_picture, score_picture
from fedunlearn.reporting.heat import confusion_picture
from fedunlearn.reporting.inversions import inversions, parted
from fedunlearn.reporting.pair_picture import pair_picture
from fedunlearn.reporting.picture_words import counting, label_source
from fedunlearn.reporting.revival_charts import revival_bars
from fedunlearn.reporting.revivals import revivals
from fedunlearn.reporting.sketch import CountSketch, change
from fedunlearn.reporting.table import HEADLINE

EMBEDDED = 1000  # updates in the embedding at most
LAYOUT = {
    "Federation": {
        "test accuracy of every branch": ["Multiline", ["server/accuracy/.*"]],
        "test loss of every branch": ["Multiline", ["server/loss/.*"]],
    },
    "Forgetting": {
        "accuracy on forgotten classes": ["Multiline", ["unlearn/forget_accuracy/.*"]],
        "accuracy on the other classes": ["Multiline", ["unlearn/retain_accuracy/.*"]],
    },
}
HPARAMS = {
    "data": ("data", "name"),
    "partition": ("partition", "kind"),
    "alpha": ("partition", "alpha"),
    "model": ("model", "name"),
    "algorithm": ("federation", "algorithm"),
    "clients": ("federation", "clients"),
    "rounds": ("federation", "rounds"),
    "batch-size": ("federation", "batch-size"),
    "learning-rate": ("federation", "learning-rate"),
    "local-epochs": ("federation", "local-epochs"),
    "strategy": ("federation", "strategy"),
}


class Board:
    """Writes to `folder`, which is emptied first: after an interruption the run tells everything again.

    Tags are `server/...`, `unlearn/...` and `attack/...`, with the branch last.
    """

    def __init__(self, folder: Path) -> None:
        if folder.exists():
            shutil.rmtree(folder)
        self._writer = SummaryWriter(str(folder), flush_secs=10)
        self._sketch = CountSketch()
        self._points: list[np.ndarray] = []
        self._captions: list[list[str]] = []

    def __enter__(self) -> Board:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write the embedding of the updates seen, and close the files."""
        if len(self._points) > 1:
            header = ["client", "round", "branch", "data"]
            self._writer.add_embedding(np.stack(self._points), self._captions, tag="updates", metadata_header=header)
        self._writer.close()

    def scenario(self, toml: str, manifest: Mapping[str, Any]) -> None:
        """Show the resolved scenario and the versions as text, and arrange the charts."""
        self._writer.add_text("scenario", _code(toml))
        self._writer.add_text("manifest", _code(json.dumps(manifest, indent=2, default=str)))
        self._writer.add_custom_scalars(LAYOUT)

    def round(
        self,
        branch: str,
        round: int,
        *,
        accuracy: float | None = None,
        loss: float | None = None,
        forget_accuracy: float | None = None,
        retain_accuracy: float | None = None,
        failures: int = 0,
        seconds: float = 0.0,
    ) -> None:
        """Add a round to the curves; what was not measured (None) is left out."""
        scalars = {
            f"server/accuracy/{branch}": accuracy,
            f"server/loss/{branch}": loss,
            f"server/failures/{branch}": failures,
            f"server/seconds/{branch}": seconds,
            f"unlearn/forget_accuracy/{branch}": forget_accuracy,
            f"unlearn/retain_accuracy/{branch}": retain_accuracy,
        }
        for tag, value in scalars.items():
            if value is not None:
                self._writer.add_scalar(tag, value, round)

    def updates(
        self, branch: str, round: int, updates: Sequence[Update], broadcast: Weights, groups: Mapping[int, str]
    ) -> None:
        """Add the norms of a round's updates as a histogram, and remember the updates for the embedding.

        Args:
            branch: where.
            round: when.
            updates: what the clients sent, weights or gradients.
            broadcast: the model they started from.
            groups: `forget` or `retain` by client: whether it holds data that is asked to be forgotten.
        """
        changes = [change(update, broadcast) for update in updates]
        if changes:
            norms = np.array([np.linalg.norm(vector) for vector in changes])
            self._writer.add_histogram(f"server/update_norm/{branch}", norms, round)
        for update, vector in zip(updates, changes, strict=True):
            if len(self._points) < EMBEDDED:
                self._points.append(self._sketch(vector))
                self._captions.append(
                    [str(update.client_id), str(round), branch, groups.get(update.client_id, "retain")]
                )

    def branch(self, branch: Mapping[str, Any], class_names: Sequence[str]) -> None:
        """Show a finished branch: its final figures and its confusion matrix.

        Args:
            branch: as in results.json.
            class_names: for the legend under the matrix.
        """
        for name, value in branch["metrics"].items():
            if value is not None:
                self._writer.add_scalar(f"unlearn/final_{name}/{branch['id']}", value)
        counts = branch.get("details", {}).get("confusion")
        if counts:
            picture = confusion_picture(np.array(counts))
            self._writer.add_image(f"unlearn/confusion/{branch['id']}", picture, dataformats="HWC")
            legend = "rows: true class, columns: predicted class"
            names = ", ".join(f"{k} {name}" for k, name in enumerate(class_names) if name != str(k))
            self._writer.add_text(f"unlearn/confusion/{branch['id']}", f"{legend}; {names}" if names else legend)

    def attack(self, row: AttackRow, verdict: Verdict) -> None:
        """Show what an attack found: its metrics, rebuilt below original pictures, the precision-recall curve."""
        place = f"attack/{_slug(row.label or row.name)}-{row.observer}"
        for name, metric in row.metrics.items():
            if np.isfinite(metric.value):
                self._writer.add_scalar(f"{place}/{name}/{row.branch}", metric.value)
        for index, batch in enumerate(batches(verdict.details)):
            if f"rebuilt-{index}" in verdict.arrays:
                picture = grid(picture_rows(verdict.arrays, index))
                which = f"client-{batch.entry['client']}" if "client" in batch.entry else batch.key
                tag = f"{place}/pictures/{row.branch}/{which}"
                self._writer.add_image(tag, picture, batch.entry.get("round", 0), dataformats="HWC")
        if row.finds == FINDS:
            self._forgotten_class(place, row, verdict)
        if "claimed" in verdict.arrays:
            self._writer.add_image(f"{place}/claimed/{row.branch}", claimed_strip(verdict), dataformats="HWC")
        self._revived(place, row, verdict)
        if beside := "; ".join(
            filter(None, [label_source(verdict.details.get("label-source")), counting({"details": verdict.details})])
        ):
            self._writer.add_text(f"{place}/pictures/{row.branch}", beside)
        if "member" in verdict.arrays and np.isfinite(verdict.arrays["scores"]).all():
            scores = verdict.arrays["scores"]
            member, likely = torch.from_numpy(verdict.arrays["member"]), rankdata(scores) / len(scores)
            self._writer.add_pr_curve(f"{place}/members/{row.branch}", member, torch.from_numpy(likely))

    def _forgotten_class(self, place: str, row: AttackRow, verdict: Verdict) -> None:
        """Show the scores of the classes as bars, and the pictures that an attack made of them; true ones marked."""
        scores, true = verdict.details.get("scores", []), verdict.details.get("true", [])
        marked = () if verdict.details.get("control") else true
        if scores and None not in scores:
            bars = score_picture(np.array(scores), marked)
            self._writer.add_image(f"{place}/scores/{row.branch}", bars, dataformats="HWC")
        if "prototypes" in verdict.arrays:
            strip = marked_strip(verdict.arrays["prototypes"], marked)
            self._writer.add_image(f"{place}/prototypes/{row.branch}", strip, dataformats="HWC")

    def _revived(self, place: str, row: AttackRow, verdict: Verdict) -> None:
        """Show a revival as steps, 0 before pruning, 1 pruned, 2 revived, and how its signs settled round by round."""
        for step, answers in enumerate(verdict.details.get("stages", {}).values()):
            for name, value in answers.items():
                if value is not None:
                    self._writer.add_scalar(f"{place}/steps/{name}/{row.branch}", value, step)
        if any(name.startswith(PORTRAITS) for name in verdict.arrays):
            picture = grid(portrait_rows(verdict.arrays))
            self._writer.add_image(f"{place}/portraits/{row.branch}", picture, dataformats="HWC")
        for layer, shares in (verdict.details.get("notes") or {}).get("agreement", {}).items():
            for watched, share in enumerate(shares, start=1):
                self._writer.add_scalar(f"{place}/settled/{_slug(layer)}/{row.branch}", share, watched)

    def models(self, results: Mapping[str, Any]) -> None:
        """Show revived models, and the pictures that attacks make of classes, beside what they are held against."""
        summary = summarise([results])
        charts = {"revival": [revival_bars(revival) for revival in revivals(summary)]}
        charts["class-images"] = list(filter(None, map(parted, inversions(summary))))
        for kind, drawn in charts.items():
            for chart in drawn:
                tag = f"attack/{kind}/{_slug(chart.of)}"
                self._writer.add_image(tag, pair_picture(chart), dataformats="HWC")
                self._writer.add_text(tag, f"orange: {chart.keys[0]}; blue: {chart.keys[1]}. {chart.caption}")

    def classes(self, results: Mapping[str, Any]) -> None:
        """Show which attack found the forgotten class after which method, beside its false alarms."""
        for block in blocks(summarise([results])):
            picture = block_picture(block)
            self._writer.add_image("attack/forgotten-class", picture, dataformats="HWC")
            self._writer.add_text("attack/forgotten-class", f"{METRICS[block.metric]}; orange: false alarms")

    def hparams(self, results: Mapping[str, Any]) -> None:
        """Make the cell a row of the HPARAMS tab: settings, final accuracies, the attacks' headline metrics."""
        scenario = results["scenario"]
        settings = {name: scenario.get(table, {}).get(key) for name, (table, key) in HPARAMS.items()}
        settings |= {"seed": results["seed"], "cell": cell_label(results.get("cell", {}))}
        figures = {
            f"final/{name}/{branch['id']}": value
            for branch in results["branches"]
            for name, value in branch["metrics"].items()
        }
        figures |= {
            f"found/{_slug(label)}-{row['observer']}/{name}/{row['branch']}": metric["value"]
            for label, row in zip(labels_of(results["attacks"]), results["attacks"], strict=True)
            for name, metric in row["metrics"].items()
            if name in (*HEADLINE[row["finds"]], "false-alarm")
        }
        self._writer.add_hparams(
            {name: value for name, value in settings.items() if value is not None},
            {name: value for name, value in figures.items() if value is not None},
            run_name=".",
        )


def _slug(label: str) -> str:
    """Return what an attack is called as a part of a tag, which takes no spaces."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", label)


def _code(text: str) -> str:
    """Return text as a Markdown code block."""
    return "".join(f"    {line}\n" for line in text.splitlines())
