"""Tunes the unlearners of a suite, one grid point per cell, on the validation split and on seeds of their own.

    python scenarios/tune_unlearning.py scenarios/unlearning_suite.toml scenarios/tuning/grid.toml --out runs/tuning

The grid file lists, for each of the suite's `[[matrix.runs]]` by name, tables of options per method; "all" serves the
runs that do not list a method. Point k of every method runs in the same cell, from one shared trunk. The score of a
point, in points of accuracy, is its average gap to retraining (on validation data in place of test data) plus how
much more the model still knows of what it was to forget than the retrained one: of a class its accuracy, of a client
with a backdoor the backdoor's success. The lowest mean over the seeds wins, then the least work of clients.

Prints the winners as TOML for the suite, and writes every point to `tuning.csv`.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import mean
from typing import Any

import tomli_w

ROOT = Path(__file__).parents[1]
RUNS = "runs"
BAD_INPUT = 2  # run_sim.py's exit code
Table = dict[str, Any]


def grid_of(grid: Mapping[str, Any], run: str, method: str) -> list[Table]:
    """Return the points of a method in a run; the defaults alone where the grid says nothing."""
    points: list[Table] = grid.get(run, {}).get(method) or grid.get("all", {}).get(method) or [{}]
    return points


def cells(suite: Mapping[str, Any], grid: Mapping[str, Any]) -> Iterator[Table]:
    """Yield one `[[matrix.runs]]` table per run of the suite and number of grid point."""
    for run in suite["matrix"]["runs"]:
        points = {method: grid_of(grid, run["name"], method) for method in run["unlearning"]["methods"]}
        for number in range(max(map(len, points.values()))):
            chosen = {method: listed[number] for method, listed in points.items() if number < len(listed)}
            unlearning = run["unlearning"] | {"methods": list(chosen), "options": chosen, "references": ["retrain"]}
            yield run | {"name": f"{run['name']}-{number}", "unlearning": unlearning}


def tuning_scenario(suite: Mapping[str, Any], grid: Mapping[str, Any], seeds: list[int]) -> Table:
    """Return the suite's scenario with one cell per grid point, judged on validation data."""
    scenario: Table = {key: value for key, value in suite.items() if key != "matrix"}
    judge = suite.get("judge", {}) | {"split": "validation"}
    return scenario | {"judge": judge, "matrix": {"runs": list(cells(suite, grid)), "seed": seeds}}


def score(metrics: Mapping[str, float | None], retrained: Mapping[str, float | None], scope: str) -> float:
    """Return how far a branch is from retraining, in points; lower is better."""

    def excess(name: str) -> float:
        return max(0.0, (metrics[name] or 0.0) - (retrained[name] or 0.0))

    known = {"class": "forget_accuracy", "client": "backdoor_success"}.get(scope)
    gap = metrics["average_gap"]
    return 100 * ((1.0 if gap is None else gap) + (excess(known) if known else 0.0))


def outcomes(folder: Path, grid: Mapping[str, Any]) -> Iterator[Table]:
    """Yield one row per cell and method: its grid point, its score, what that consists of, and its work."""
    for path in sorted(folder.glob("cells/*/results.json")):
        results = json.loads(path.read_text())
        run, _, number = results["cell"][RUNS]["name"].rpartition("-")
        branches = {branch["id"]: branch for branch in results["branches"]}
        scope = results["scenario"]["requests"][0]["scope"]
        for method in results["scenario"]["unlearning"]["methods"]:
            row = {"run": run, "method": method, "point": int(number), "seed": results["seed"]}
            row["options"] = json.dumps(grid_of(grid, run, method)[int(number)])
            branch = branches.get(method)  # one that diverged is not there
            row["score"] = score(branch["metrics"], branches["retrain"]["metrics"], scope) if branch else float("inf")
            names = ("forget_accuracy", "retain_accuracy", "test_accuracy", "backdoor_success", "average_gap")
            row |= {name: branch["metrics"].get(name) if branch else None for name in names}
            row["speed_up"] = branch["cost"]["speed_up"] if branch else None
            yield row


def winners(rows: list[Table]) -> dict[str, dict[str, Table]]:
    """Return the best options by run and method."""
    best: dict[str, dict[str, Table]] = {}
    for run, method in dict.fromkeys((row["run"], row["method"]) for row in rows):
        mine = [row for row in rows if (row["run"], row["method"]) == (run, method)]
        points = {row["point"] for row in mine}

        def rank(point: int, mine: list[Table] = mine) -> tuple[float, float]:
            same = [row for row in mine if row["point"] == point]
            return round(mean(row["score"] for row in same), 2), -mean(row["speed_up"] or 1e9 for row in same)

        chosen = min(points, key=rank)
        best.setdefault(run, {})[method] = json.loads(next(r["options"] for r in mine if r["point"] == chosen))
    return best


def main() -> None:
    """Tune, print the winners, write every point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", type=Path)
    parser.add_argument("grid", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--out", type=Path, default=Path("runs/tuning"))
    given = parser.parse_args()
    suite, grid = (tomllib.loads(path.read_text(encoding="utf-8")) for path in (given.suite, given.grid))
    given.out.mkdir(parents=True, exist_ok=True)
    scenario = given.out / "tuning.toml"
    scenario.write_text(tomli_w.dumps(tuning_scenario(suite, grid, given.seeds)), encoding="utf-8")
    command = [sys.executable, str(ROOT / "run_sim.py"), "run", str(scenario), "--out", str(given.out / "run")]
    command += ["--resume"] if (given.out / "run").exists() else []
    if subprocess.run(command, check=False).returncode == BAD_INPUT:  # a method that diverged is no reason to stop
        sys.exit(BAD_INPUT)
    rows = list(outcomes(given.out / "run", grid))
    with (given.out / "tuning.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for run, options in winners(rows).items():
        print(f"# {run}")
        for method, chosen in options.items():
            inline = ", ".join(f"{key} = {json.dumps(value)}" for key, value in chosen.items())
            print(f"{method} = {{ {inline} }}")


if __name__ == "__main__":
    main()
