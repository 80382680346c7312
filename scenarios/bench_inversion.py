"""How fast and how well fedunlearn inverts gradients, beside the library `breaching` and the published algorithm.

Everybody gets the same images, weights, labels, starts and number of iterations, and does the same algorithm: signed
Adam on the cosine distance of the gradients plus total variation (Geiping et al., NeurIPS 2020), every restart to its
end. The sides take turns in one run, so that a busy machine slows all alike; what counts are the ratios within a turn
(median, smallest, largest), by the clock and by the processor time of each side's process. Every turn has other images
and weights, and another side begins. Without total variation, of which the two have different conventions at the
border, the objectives must agree iteration by iteration: the table shows the median relative difference over the first
ones.

`breaching` is installed into the cache, into an environment of its own; without it only the plain loop is compared.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when numpy and torch are imported, here and by the peer

import numpy as np
import torch
from bench_inversion_cases import Case, Pictures, Row, make_case
from bench_inversion_sides import Attempt, Ours, PlainLoop, Side
from bench_inversion_table import table
from bench_measure import Figures, ratio
from bench_peer import VERSION, Breaching, PeerMissing
from rich.console import Console

from fedunlearn.judging.images import compare

ROWS = (
    Row("lenet-zhu", 1, steps=500, target=3),
    Row("lenet-zhu", 4, steps=500, target=3),
    Row("convnet", 1, steps=120, target=1.2),
    Row("convnet", 8, steps=60, target=1.2),
    Row("resnet18", 1, steps=24, target=1.2),
)
SMOOTHNESS = 1e-3  # weight of total variation
COMPARED = 20  # iterations whose objectives are compared
LEAST = 2  # iterations, however small the scale
OTHERS = ("peer", "plain")


class Benchmark:
    """All rows.

    Args:
        sides: "ours", "plain" and, where it could be had, "peer".
        turns: how often each is measured.
        restarts: of every attack.
        scale: what the iterations are multiplied with, for trying it out.
        say: where progress is told.
    """

    def __init__(self, sides: Mapping[str, Side], turns: int, restarts: int, scale: float, say: Console) -> None:
        self._sides, self._turns, self._restarts, self._scale = sides, turns, restarts, scale
        self._say = say.print
        self._pictures = Pictures()

    def run(self, rows: Sequence[Row]) -> Figures:
        """Return all figures."""
        figures: Figures = {
            "data": self._pictures.name,
            "restarts": self._restarts,
            "turns": self._turns,
            "iterations_scale": self._scale,
            "threads": torch.get_num_threads(),
        }
        for row in rows:
            figures |= self._row(row)
        return figures

    def _row(self, row: Row) -> Figures:
        steps = max(LEAST, round(row.steps * self._scale))
        figures: Figures = {f"{row.name}_steps": steps}
        attempts: dict[str, list[Attempt]] = {name: [] for name in self._sides}
        psnr: dict[str, list[float]] = {name: [] for name in self._sides}
        for turn in range(self._turns):
            case = make_case(row, self._pictures, self._restarts, np.random.default_rng([ROWS.index(row), turn]))
            if turn == 0:
                figures |= self._objective_gaps(row, case, min(steps, COMPARED))
            names = list(self._sides)
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                self._say(f"{row.model}, batch {row.batch}, turn {turn + 1} of {self._turns}: {name} ...")
                attempts[name].append(self._sides[name].attack(case, steps, SMOOTHNESS))
                psnr[name].append(float(compare(case.images, attempts[name][-1].images).psnr.mean()))
        work = steps * self._restarts
        for name in ("ours", *OTHERS):
            figures |= _alone(f"{row.name}_{name}", psnr.get(name), attempts.get(name), work)
        for name in OTHERS:
            figures |= _beside(row, name, psnr, attempts)
        return figures

    def _objective_gaps(self, row: Row, case: Case, steps: int) -> Figures:
        """Return how far the objectives are apart; what is computed here also warms everybody up."""
        told = {name: side.objectives(case, steps) for name, side in self._sides.items()}
        gaps: Figures = {}
        for name in OTHERS:
            differences = np.abs(told["ours"] / told[name] - 1) if name in told else None
            prefix = f"{row.name}_objective_gap"
            gaps[f"{prefix}_to_{name}"] = None if differences is None else float(np.median(differences))
            gaps[f"{prefix}_at_start_to_{name}"] = None if differences is None else float(differences[:, 0].max())
        return gaps


def _alone(prefix: str, psnr: list[float] | None, attempts: list[Attempt] | None, work: int) -> Figures:
    """Return a side's mean PSNR and median throughput; None for a side that was not measured."""
    if psnr is None or attempts is None:
        return {f"{prefix}_psnr": None, f"{prefix}_throughput": None}
    seconds = float(np.median([attempt.seconds for attempt in attempts]))
    return {f"{prefix}_psnr": float(np.mean(psnr)), f"{prefix}_throughput": work / seconds}


def _beside(row: Row, name: str, psnr: dict[str, list[float]], attempts: dict[str, list[Attempt]]) -> Figures:
    """Return what ours gains over another side, by turns; None for a side that was not measured."""
    gain, error, speed = (f"{row.name}_{what}_over_{name}" for what in ("psnr", "psnr_error", "speed"))
    busy = f"{speed}_cpu"
    if name not in psnr:
        return dict.fromkeys((gain, error, speed, f"{speed}_min", f"{speed}_max", busy))
    gains = np.subtract(psnr["ours"], psnr[name])
    clock = ratio(speed, *([attempt.seconds for attempt in attempts[side]] for side in (name, "ours")))
    cpu = ratio(busy, *([attempt.cpu_seconds for attempt in attempts[side]] for side in (name, "ours")))
    return clock | {
        gain: float(gains.mean()),
        error: float(gains.std(ddof=1) / len(gains) ** 0.5) if len(gains) > 1 else 0.0,
        busy: cpu[busy],
    }


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as one flat JSON object")
    parser.add_argument("--turns", type=int, default=3, help="how often every side is measured (3)")
    parser.add_argument("--restarts", type=int, default=8, help="starts per attack (8)")
    parser.add_argument(
        "--iterations-scale", type=float, default=1.0, help="share of the iterations, to try it out (1.0)"
    )
    parser.add_argument("--rows", nargs="+", default=[row.name for row in ROWS], help="names of rows (all)")
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    rows, say = [row for row in ROWS if row.name in options.rows], Console(stderr=True)
    sides: dict[str, Side] = {"ours": Ours(), "plain": PlainLoop()}
    peer: Figures = {"peer": f"breaching {VERSION}", "peer_missing": None}
    with ExitStack() as stack:
        try:
            sides["peer"] = stack.enter_context(Breaching(Path(stack.enter_context(tempfile.TemporaryDirectory()))))
        except PeerMissing as missing:
            peer = {"peer": None, "peer_missing": str(missing)}
            say.print(f"No peer: {missing}")
        figures = peer | Benchmark(sides, options.turns, options.restarts, options.iterations_scale, say).run(rows)
    Console(width=None if sys.stdout.isatty() else 160).print(table(figures, rows))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
