"""Results of a suite of unlearning methods with figures that are made up, some of them clustered as real ones are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fedunlearn.reporting import write_results

REFERENCES = ("retrain", "retrain-other-init", "control", "placebo")
METHODS = (
    "federaser", "finetune", "fedrecovery", "fucdp", "fuda", "fusf", "knot", "l1-sparse", "neggrad", "neggrad-plus",
    "not-negation", "pga", "random-label", "salun", "scrub", "ssd", "bad-teacher", "boundary-expand", "boundary-shrink",
    "rapid-retrain", "sfru", "mode", "forget-svgd", "incompetent-teacher", "feddistil", "confuse", "projected-ascent",
)  # fmt: skip
SERVER_ONLY = ("ssd", "fedrecovery")
FEW = METHODS[:3]


def branch(name: str, metrics: dict[str, float | None], cost: dict[str, float | None] | None) -> dict[str, Any]:
    """Return a branch's entry in results.json."""
    summary = {
        "id": name,
        "name": name,
        "replica": 0,
        "request_ids": ["request-1"],
        "extra_rounds": 4,
        "sha256": "0" * 64,
        "metrics": metrics,
        "seconds": 3.0,
        "bytes": 1000,
        "details": {},
    }
    return summary if cost is None else summary | {"cost": cost}


def accuracies(place: int, name: str, *, backdoor: bool, draws: np.random.Generator) -> dict[str, float | None]:
    """Return the metrics of a branch: most methods forget, some hardly, and one breaks the model."""
    known = name in ("trunk", "control", "placebo")
    level = np.random.default_rng([place, 7])
    forget = 0.985 if known else 0.0 if name.startswith("retrain") else float(level.choice([0, 0.01, 0.03, 0.08, 0.6]))
    retain = 0.97 - (0 if known or name.startswith("retrain") else float(level.exponential(0.02)))
    if name == "neggrad":
        retain, forget = 0.12, 0.0
    shake = lambda value: float(np.clip(value + draws.normal(0, 0.006), 0, 1))  # noqa: E731
    forget, retain = shake(forget), shake(retain)
    gap = None if known and name == "placebo" else (abs(forget) + abs(0.97 - retain)) / 2
    return {
        "forget_accuracy": forget,
        "retain_accuracy": retain,
        "test_accuracy": shake(retain - 0.03),
        "average_gap": gap,
        "average_gap_floor": 0.012,
        "mia_efficacy": shake(1 - forget),
        "backdoor_success": shake(forget) if backdoor else None,
    }


def cost_of(place: int, name: str) -> dict[str, float | None]:
    """Return what a branch cost: some methods need no client at all."""
    if name in (*SERVER_ONLY, "trunk"):
        return {"rounds": 0, "bytes": 0, "client_seconds": 0.0, "server_bytes": 51_000_000, "speed_up": None}
    share = 1.0 if name.startswith("retrain") else 0.02 * 1.18**place
    rounds = max(1, round(20 * share))
    stored = 12_900_000 if name == "federaser" else 0
    costs = {"rounds": rounds, "bytes": rounds * 1_700_000, "client_seconds": 40 * share, "server_bytes": stored}
    return costs | {"speed_up": 1 / share}


def results(
    cell: dict[str, Any], methods: tuple[str, ...] = METHODS, *, backdoor: bool = False, costs: bool = True
) -> dict[str, Any]:
    """Return the results of one cell."""
    seed = int(cell.get("seed", 0))
    draws = np.random.default_rng([seed, len(methods)])
    names = ("trunk", *methods, *REFERENCES)
    scope = cell.get("requests.0.scope", "class")
    return {
        "scenario": {
            "name": "suite",
            "title": "A suite of methods",
            "data": {"name": cell.get("data.name", "mnist-5k")},
            "unlearning": {"methods": list(methods)},
        },
        "cell": cell,
        "seed": seed,
        "engine": "inline",
        "workers": 1,
        "rounds": [],
        "requests": [
            {
                "id": "request-1",
                "round": 8,
                "scope": scope,
                "target": [3],
                "samples": 183,
                "state": "done",
                "reason": "",
            }
        ],
        "branches": [
            branch(
                name,
                accuracies(place, name, backdoor=backdoor, draws=draws),
                cost_of(place, name) if costs else None,
            )
            for place, name in enumerate(names)
        ],
        "attacks": [],
        "failures": [],
        "timing": {"total_s": 41.2, "client_s": 61.0, "overhead_s": 5.4, "efficiency": 0.82},
    }


def matrix(seeds: int = 3, scopes: tuple[str, ...] = ("class", "client")) -> list[dict[str, Any]]:
    """Return cells of two scopes (client unlearning with a backdoor) and some seeds."""
    return [
        results({"requests.0.scope": scope, "seed": seed}, backdoor=scope == "client")
        for scope in scopes
        for seed in range(seeds)
    ]


def write(run: Path, cells: list[dict[str, Any]]) -> Path:
    """Write cells as a finished run leaves them; return its folder."""
    for number, found in enumerate(cells):
        folder = run if len(cells) == 1 else run / "cells" / f"{number:03}"
        folder.mkdir(parents=True, exist_ok=True)
        write_results(folder, found)
    return run
