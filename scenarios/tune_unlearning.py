"""Tunes the unlearners of a suite, one grid point per cell, on the validation split and on seeds of their own.

    python scenarios/tune_unlearning.py scenarios/unlearning_suite.toml scenarios/tuning/digits.toml --out runs/tuning

The grid file lists, for each of the suite's `[[matrix.runs]]` by name, tables of options per method; "all" serves the
runs that do not list a method, and what neither lists keeps the suite's options. Point k of every method runs in the
same cell, from one shared trunk. The suite's retrained models are trained beside point 0 only: the other points of a
run and seed start from the same trunk and serve the same request. The score of a point, in points of accuracy, is its
average gap to retraining (on validation data in place of test data) plus how much more the model still knows of what it
was to forget than the retrained one: of a class its accuracy, of a client with a backdoor the backdoor's success. A
point that was not finished with every seed, or of which one of these figures is unknown, cannot win. Of the others the
lowest mean over the seeds wins; points within 0.4 of it count as equal, and the one with the least work of clients is
taken.

Data that come without a test part, such as digits, are split anew with every seed: what is validation data with the
seeds of tuning may be test data with those of the suite. No sample is both with one seed.

Prints the winners as TOML for the suite, and writes every point to `tuning.csv`.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import tomli_w

from fedunlearn.judging.forgetting.gap import average_gap
from fedunlearn.judging.metric import number

ROOT = Path(__file__).parents[1]
RUNS = "runs"
BAD_INPUT = 2  # run_sim.py's exit code
FIGURES = ("forget_accuracy", "retain_accuracy", "test_retain_accuracy", "mia_efficacy")
EQUAL = 0.4  # points of score between which the least work decides
Table = dict[str, Any]


def grid_of(grid: Mapping[str, Any], run: Mapping[str, Any], method: str) -> list[Table]:
    """Return the points of a method in a run; the options that the suite gives it where the grid says nothing."""
    given: Table = run["unlearning"].get("options", {}).get(method, {})
    points: list[Table] = grid.get(run["name"], {}).get(method) or grid.get("all", {}).get(method) or [given]
    return points


def cells(suite: Mapping[str, Any], grid: Mapping[str, Any]) -> Iterator[Table]:
    """Yield one `[[matrix.runs]]` table per run of the suite and number of grid point; the first retrains."""
    references = suite.get("unlearning", {}).get("references", ["retrain"])
    retrained = [name for name in references if name.startswith("retrain")]
    for run in suite["matrix"]["runs"]:
        points = {method: grid_of(grid, run, method) for method in run["unlearning"]["methods"]}
        for place in range(max(map(len, points.values()))):
            chosen = {method: listed[place] for method, listed in points.items() if place < len(listed)}
            beside = [] if place else retrained
            unlearning = run["unlearning"] | {"methods": list(chosen), "options": chosen, "references": beside}
            yield run | {"name": f"{run['name']}-{place}", "unlearning": unlearning}


def tuning_scenario(suite: Mapping[str, Any], grid: Mapping[str, Any], seeds: list[int]) -> Table:
    """Return the suite's scenario with one cell per grid point, judged on validation data."""
    scenario: Table = {key: value for key, value in suite.items() if key != "matrix"}
    judge = suite.get("judge", {}) | {"split": "validation"}
    return scenario | {"judge": judge, "matrix": {"runs": list(cells(suite, grid)), "seed": seeds}}


def known_figure(scenario: Mapping[str, Any]) -> str | None:
    """Return what tells that a model still knows what it was to forget; None where nothing does."""
    scope = scenario["requests"][0]["scope"]
    if scope == "client" and not scenario.get("poison"):
        return None
    return {"class": "forget_accuracy", "client": "backdoor_success"}.get(scope)


def score(metrics: Mapping[str, float | None], retrained: Mapping[str, float | None], known: str | None) -> float:
    """Return how far a branch is from retraining, in points; lower is better, infinity where a figure is unknown."""
    gap = number(metrics["average_gap"])
    own, other = (metrics[known], retrained[known]) if known else (0.0, 0.0)
    if math.isnan(gap) or own is None or other is None:
        return math.inf
    return 100 * (gap + max(0.0, own - other))


def outcomes(folder: Path) -> Iterator[Table]:
    """Yield one row per cell and method: its grid point, its score, what that consists of, and its work."""
    names = ("forget_accuracy", "retain_accuracy", "test_retain_accuracy", "backdoor_success", "average_gap")
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("cells/*/results.json"))]
    retrained = {_trunk(results): models for results in found if (models := _retrained(results))}
    for results in found:
        branches = {branch["id"]: branch for branch in results["branches"]}
        scenario, others = results["scenario"], retrained.get(_trunk(results))
        for method in scenario["unlearning"]["methods"]:
            run, point = _point(results)
            row = {"run": run, "method": method, "point": point, "seed": results["seed"]}
            row["options"] = json.dumps(scenario["unlearning"].get("options", {}).get(method, {}))
            branch = branches.get(method)  # one that diverged is not there
            metrics = _with_retained_test(branch["metrics"]) if branch else {}
            row["score"] = math.inf
            if branch and others:
                metrics["average_gap"] = average_gap(_figures(metrics), [_figures(other) for other in others])
                row["score"] = score(metrics, others[0], known_figure(scenario))
            row |= {name: metrics.get(name) for name in names}
            row |= {"client_seconds": branch["cost"]["client_seconds"] if branch else None}
            yield row


def _point(results: Mapping[str, Any]) -> tuple[str, int]:
    """Return the suite's run and the number of the grid point that a cell is."""
    run, _, point = results["cell"][RUNS]["name"].rpartition("-")
    return run, int(point)


def _trunk(results: Mapping[str, Any]) -> tuple[str, int]:
    """Return what the cells have in common that start from one model and serve one request: run and seed."""
    return _point(results)[0], results["seed"]


def _retrained(results: Mapping[str, Any]) -> list[Table]:
    """Return the metrics of a cell's retrained models, that of the same initialisation first; none without that."""
    models = {branch["id"]: _with_retained_test(branch["metrics"]) for branch in results["branches"]}
    others = [metrics for name, metrics in models.items() if name.startswith("retrain-")]
    return [models["retrain"], *others] if "retrain" in models else []


def _figures(metrics: Mapping[str, float | None]) -> np.ndarray:
    """Return what the average gap is over: distances of forget accuracy are those of unlearning accuracy."""
    return np.array([number(metrics[name]) for name in FIGURES])


def _with_retained_test(metrics: Mapping[str, float | None]) -> Table:
    """Return the metrics; where no whole class was forgotten, all test samples are of retained ones."""
    retained = metrics.get("test_retain_accuracy")
    return {**metrics, "test_retain_accuracy": metrics["test_accuracy"] if retained is None else retained}


def winners(rows: list[Table], seeds: Iterable[int]) -> dict[str, dict[str, Table]]:
    """Return the best options by run and method; a method without a point that every seed finished is left out."""
    best: dict[str, dict[str, Table]] = {}
    for run, method in dict.fromkeys((row["run"], row["method"]) for row in rows):
        mine = [row for row in rows if (row["run"], row["method"]) == (run, method)]
        points = _means(mine, set(seeds))
        lowest = min((score for score, _ in points.values()), default=math.inf)
        equal = [point for point, (score, _) in points.items() if score <= lowest + EQUAL]
        if equal:
            chosen = min(equal, key=lambda point: points[point][1])
            best.setdefault(run, {})[method] = json.loads(next(r["options"] for r in mine if r["point"] == chosen))
    return best


def _means(rows: list[Table], seeds: set[int]) -> dict[int, tuple[float, float]]:
    """Return (mean score, mean client seconds) of every point that all seeds finished."""
    means = {}
    for point in {row["point"] for row in rows}:
        same = {row["seed"]: row for row in rows if row["point"] == point and not math.isinf(row["score"])}
        if seeds <= same.keys():
            means[point] = tuple(mean(row[name] for row in same.values()) for name in ("score", "client_seconds"))
    return means


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
    rows = list(outcomes(given.out / "run"))
    with (given.out / "tuning.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for run, options in winners(rows, given.seeds).items():
        print(f"# {run}")
        for method, chosen in options.items():
            inline = ", ".join(f"{key} = {json.dumps(value)}" for key, value in chosen.items())
            print(f"{method} = {{ {inline} }}")


if __name__ == "__main__":
    main()
