"""A matrix of attacks on the forgotten class with known findings: the judge is real, training is made up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fedunlearn.judging import AnswerKey, AttackRow, with_references
from fedunlearn.names import CONTROLS
from fedunlearn.observer.findings import ForgottenClasses, Said
from fedunlearn.reporting import write_results
from tests.reporting import synthetic
from tests.reporting.synthetic import case_of, digits, row_of

METHODS = ("finetune", "random-label", "amnesiac", "neggrad", "federaser")
BRANCHES = (*METHODS, "retrain", "retrain-other-init", *CONTROLS)
STRENGTH = {"param-dot tree": 0.97, "param-dot kmeans": 0.9, "inv-white": 0.8, "row-sign": 1.0, "null-class-query": 0.6}
REQUEST_ROUND, LAST = 5, 9
DELAYS = {"row-sign": (1, 1, 1, 2), "bias-drop": (1, 2, 4, None)}


def finding(attack: str, branch: str, seed: int, true: tuple[int, ...], strength: float) -> ForgottenClasses | None:
    """Return what an attack says, right as often as it is strong; on a control it seldom says anything."""
    draws = np.random.default_rng([seed, len(attack), len(branch), ord(branch[0])])
    if attack == "inv-white" and branch == "federaser":
        return None
    quiet = branch in CONTROLS
    hit = draws.random() < strength * (0.4 if branch == "retrain-other-init" and attack.startswith("param") else 1)
    scores = draws.normal(0, 0.15, 10)
    named: tuple[int, ...] = ()
    if quiet:
        loud = 0.6 if branch == "absent" and attack in DELAYS else 0.3 if attack == "null-class-query" else 0.03
        named = (int(draws.integers(10)),) if draws.random() < loud else ()
    else:
        named = true if hit else ((true[0] + 1) % 10,)
        scores[list(named)] += 1
    said = ()
    if attack in DELAYS and not quiet:
        delay = DELAYS[attack][seed % 4]
        said = tuple(
            Said(round, scores, true if delay and round - REQUEST_ROUND >= delay else ())
            for round in range(1, LAST + 1)
        )
        named = said[-1].named
    images, labels = digits()
    pictures = np.stack([images[labels == k].mean(axis=0) for k in range(10)]) if attack == "inv-white" else None
    notes = {"nominal-false-alarm-rate": 0.05}
    claimed = np.where(np.isin(range(10), named), 1 / max(len(named), 1), 0) if named else np.full(10, 0.1)
    claimed = claimed if attack in DELAYS else None
    return ForgottenClasses(scores, named, notes, said, claimed, pictures)


def attacks(
    folder: Path,
    seed: int,
    true: tuple[int, ...],
    fraction: float = 1.0,
    names: Sequence[str] = (*STRENGTH, "bias-drop"),
    branches: Sequence[str] = BRANCHES,
) -> list[dict[str, Any]]:
    labels = digits()[1]
    AnswerKey(folder / "answers").write_request("request-1", true, {0: np.flatnonzero(np.isin(labels, true))})
    rows: list[AttackRow] = []
    for number, label in enumerate(names):
        for branch in branches:
            known = {"labels": lambda ids: labels[ids], "pool": lambda: np.arange(len(labels))}
            case = case_of(folder, branch, number, request_round=REQUEST_ROUND, **known)
            found = finding(label, branch, seed, true, STRENGTH.get(label, 0.9) * fraction**0.2)
            name = label.partition(" ")[0]
            row = row_of(folder, name, branch, "forgotten-classes", found, case, "" if found else "ValueError: no head")
            rows.append(AttackRow(**{**row.__dict__, "label": label}))
    return [row.to_json() for row in with_references(rows)]


def results(folder: Path, cell: dict[str, Any]) -> dict[str, Any]:
    """Write the artefacts of a cell in which one class was forgotten, and return its results."""
    seed = int(cell.get("seed", 0))
    draws = np.random.default_rng(seed)
    rounds = [row for branch in ("trunk", *BRANCHES) for row in synthetic.curve(branch, draws)]
    return synthetic.results(folder, cell, own=attacks(folder, seed, (3,))) | {
        "rounds": rounds,
        "branches": [synthetic.branch_summary(branch, rounds, seed) for branch in ("trunk", *BRANCHES)],
    }


def matrix_run(folder: Path, seeds: int = 8) -> Path:
    """Run on two data sets."""
    cells = [{"data.name": name, "seed": seed} for name in ("mnist", "usps") for seed in range(seeds)]
    for number, cell in enumerate(cells):
        path = folder / "cells" / f"{number:03}"
        write_results(path, results(path, cell))
    return folder


def several(folder: Path, seeds: int = 2) -> list[dict[str, Any]]:
    """Return results of cells in which three classes of ten were forgotten; what summaries do not read is left out."""
    return [
        {"cell": {"seed": seed}, "seed": seed, "branches": []}
        | {"attacks": attacks(folder / str(seed), seed, (1, 3, 7), names=("row-sign",), branches=("finetune",))}
        for seed in range(seeds)
    ]


def partly(folder: Path, seeds: int = 2) -> list[dict[str, Any]]:
    """Return the same of cells in which a share of a class was forgotten."""
    cells = []
    for share in (0.01, 0.1, 0.5, 1.0):
        for seed in range(seeds):
            names, branches = ("param-dot tree", "row-sign", "inv-white"), ("finetune", "retrain", "control")
            found = attacks(folder / f"{share}-{seed}", seed, (3,), share, names, branches)
            cell = {"requests.0.fraction": share, "seed": seed}
            cells.append(
                {
                    "cell": cell,
                    "seed": seed,
                    "branches": [],
                    "scenario": {"requests": [{"fraction": share}]},
                    "attacks": found,
                }
            )
    return cells
