"""How much memory many clients take: resident pages of the driver and the Ray workers, round by round.

Runs in a process of its own (`python bench_memory.py CLIENTS SAMPLED WORKERS ROUNDS`), so that nothing from before
hides what grows, and prints one JSON list: megabytes after each round, [driver, largest worker, all together].
"""

import json
import os
import sys
import tempfile
from pathlib import Path

from bench_workloads import Rounds, mlp_stage
from flwr.serverapp import Grid

from clients.app import app
from server.ray_engine import on_ray


def resident_megabytes() -> list[float]:
    """Return [this process, its largest Ray actor, it and all its actors]."""
    mine = _resident(os.getpid())
    workers = [_resident(child) for child in _descendants(os.getpid()) if b"ray::ClientAppActor" in _command(child)]
    return [mine, max(workers, default=0.0), mine + sum(workers)]


def _descendants(parent: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{parent}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *_descendants(child)]
    return found


def _command(process: int) -> bytes:
    return Path(f"/proc/{process}/cmdline").read_bytes()


def _resident(process: int) -> float:
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main(clients: int, sampled: int, workers: int, rounds: int) -> None:
    """Run the rounds and print the memory after each."""
    with tempfile.TemporaryDirectory() as folder:
        stage = mlp_stage(clients, sampled, Path(folder))

        def body(grid: Grid) -> list[list[float]]:
            step = Rounds(stage, grid, workers)
            history = []
            for _ in range(rounds):
                step()
                history.append(resident_megabytes())
            return history

        print(json.dumps(on_ray(app, workers, workers, 0.0, body)))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
