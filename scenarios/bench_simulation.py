"""How fast fedunlearn simulates a federation: beside bare PyTorch, beside stock Flower, and with 10,000 clients.

The contenders take turns in one run, so that a busy machine slows all of them alike; what counts are the ratios
within a turn (median, smallest and largest). All of them do the same client work from the same weights, and the
benchmark fails if they end with different models.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when numpy and torch are imported, here and in the workers

import torch
from bench_limits import RawLoop, VmapLimit
from bench_measure import Contender, Figures, agree, help_seconds, median_seconds, ratio, shares, take_turns
from bench_stock_flower import StockFlower
from bench_table import table
from bench_workloads import Rounds, lenet_stage, mlp_stage
from flwr.serverapp import Grid
from rich.console import Console

from clients.app import app
from fedunlearn.stage import Stage
from server.local_grid import in_process
from server.ray_engine import on_ray

FIRST, LAST = 5, 50  # the rounds between which memory must not grow
STOCK_ROUNDS = 4


class Benchmark:
    """All comparisons, on engines that are started once.

    Args:
        workers: processes that do the clients' work.
        turns: how often every contender is measured.
        scale: the share of the clients, for trying it out.
    """

    def __init__(self, workers: int, turns: int, scale: float, say: Console) -> None:
        self._workers = workers
        self._turns = turns
        self._scale = scale
        self._say = say.print

    def run(self) -> Figures:
        """Return all figures."""
        figures: Figures = {"workers": self._workers, "cpus": os.cpu_count(), "scale": self._scale}
        figures |= {"help_seconds": help_seconds()} | self._memory()
        with tempfile.TemporaryDirectory() as folder:
            compare = lambda ray: in_process(app, 1, lambda local: self._compare(ray, local, Path(folder)))  # noqa: E731
            return figures | on_ray(app, self._workers, self._workers, 0.0, compare)

    def _clients(self, number: int) -> int:
        return max(self._workers, round(number * self._scale))

    def _memory(self) -> Figures:
        clients, sampled = self._clients(10_000), self._clients(100)
        self._say(f"Memory: {clients} clients, {sampled} per round, {LAST} rounds ...")
        command = [sys.executable, str(Path(__file__).with_name("bench_memory.py"))]
        numbers = map(str, (clients, sampled, self._workers, LAST))
        done = subprocess.run([*command, *numbers], check=True, stdout=subprocess.PIPE, text=True)
        history = json.loads(done.stdout.splitlines()[-1])
        (_, _, before), (driver, worker, after) = history[FIRST - 1], history[LAST - 1]
        return {
            "rss_clients": clients,
            "rss_sampled": sampled,
            f"rss_round_{FIRST}_mb": before,
            f"rss_round_{LAST}_mb": after,
            "rss_driver_mb": driver,
            "rss_worker_mb": worker,
            "rss_growth": after / before - 1,
        }

    def _compare(self, ray: Grid, local: Grid, folder: Path) -> Figures:
        stage, name = lenet_stage(self._clients(100), folder / "lenet")
        self._say(f"LeNet: {len(stage.held)} clients, {name}, {self._turns} turns ...")
        figures: Figures = {"lenet_data": name, "lenet_clients": len(stage.held)}
        lenet: dict[str, Contender] = {"limit": RawLoop(stage, self._workers), **self._ours(stage, ray, local)}
        figures |= shares("lenet", "limit", take_turns(lenet, self._turns, rounds=1))
        agree({name: contender.weights for name, contender in lenet.items()})

        stage = mlp_stage(self._clients(1000), "all", folder / "mlp")
        self._say(f"MLP: {len(stage.held)} clients, {3 * self._turns} turns ...")
        mlp: dict[str, Contender] = {"vmap_limit": VmapLimit(stage), **self._ours(stage, ray, local)}
        figures |= {"mlp_clients": len(stage.held)}
        figures |= shares("mlp", "vmap_limit", take_turns(mlp, 3 * self._turns, rounds=5))
        agree({name: contender.weights for name, contender in mlp.items()})

        self._say(f"Stock Flower: {len(stage.held)} SuperNodes, {STOCK_ROUNDS} rounds ...")
        return figures | self._beside_stock_flower(stage, ray, local, folder / "stock")

    def _ours(self, stage: Stage, ray: Grid, local: Grid) -> dict[str, Rounds]:
        return {"ray": Rounds(stage, ray, self._workers), "in_process": Rounds(stage, local, 1)}

    def _beside_stock_flower(self, stage: Stage, ray: Grid, local: Grid, folder: Path) -> Figures:
        stock, check = StockFlower(stage, self._workers, STOCK_ROUNDS, folder), Rounds(stage, local, 1)
        ours = self._ours(stage, ray, local)
        seconds: dict[str, list[float]] = {"stock": [], "ray": [], "in_process": []}
        for turn in range(STOCK_ROUNDS):
            taken = {"stock": stock()} | {name: median_seconds(contender, 5) for name, contender in ours.items()}
            check()
            for name in seconds if turn else ():  # the first round starts processes and imports
                seconds[name].append(taken[name])
        agree({"fedunlearn": check.weights, "stock Flower": stock.finish()})
        return {
            "mlp_stock_flower_seconds": sorted(seconds["stock"])[len(seconds["stock"]) // 2],
            **ratio("mlp_vs_stock_flower", seconds["stock"], seconds["ray"]),
            **ratio("mlp_in_process_vs_stock_flower", seconds["stock"], seconds["in_process"]),
        }


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as one flat JSON object")
    parser.add_argument("--workers", type=int, default=2, help="processes that do the clients' work (2)")
    parser.add_argument("--turns", type=int, default=9, help="how often every contender is measured (9)")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the clients, to try it out (1.0)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    figures = Benchmark(options.workers, options.turns, options.scale, Console(stderr=True)).run()
    Console(width=None if sys.stdout.isatty() else 120).print(table(figures))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
