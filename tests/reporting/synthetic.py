"""A run folder as experiments leave it, with known findings: the judge is real, training is made up."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

from fedunlearn.judging import AnswerKey, Answers, AttackRow, Case, judge_failure, judge_finding, with_references
from fedunlearn.names import CONTROLS, PROBE, TRUNK
from fedunlearn.observer.findings import (
    Finding,
    ForgottenClasses,
    LabelCounts,
    Membership,
    Reconstructions,
)
from fedunlearn.reporting import save_verdict, write_results

FORGOTTEN, REQUEST_ROUND, EXTRA = 3, 8, 4
BRANCHES = ("federaser", "finetune", "retrain", "retrain-other-init", "control", "placebo")
REQUEST = {
    "id": "request-1",
    "round": REQUEST_ROUND,
    "scope": "class",
    "target": [FORGOTTEN],
    "samples": 183,
    "state": "done",
    "reason": "",
}
BATCH = np.array([3, 13, 23, 30])


@cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    source = load_digits()
    return (source.images[:, None] / 16).astype(np.float32), source.target


def request_scores(seed: int, branch: str) -> ForgottenClasses:
    """A class score that points at the forgotten class on every branch where it was forgotten."""
    scores = np.random.default_rng([seed, len(branch)]).normal(0, 0.03, 10)
    if branch not in CONTROLS:
        scores[FORGOTTEN] += 0.4 if branch != "retrain-other-init" else 0.04
    named = tuple(np.flatnonzero(scores > 0.15).tolist())
    return ForgottenClasses(scores, named, {"nominal-false-alarm-rate": 0.05})


def membership(seed: int, branch: str, member: np.ndarray) -> Membership:
    shift = {"control": 1.0, "placebo": 0.9, "federaser": 0.5, "finetune": 0.6}.get(branch, 0.0)
    return Membership(np.random.default_rng([seed, 7, len(branch)]).normal(0, 1, len(member)) + shift * member)


def trunk_findings(seed: int, noise: float) -> dict[str, Finding]:
    images, labels = digits()
    rebuilt = images[BATCH][::-1] + np.random.default_rng(seed).normal(0, noise, (4, 1, 8, 8)).astype(np.float32)
    rebuilt[0] = images.mean(axis=0)  # one that did not converge
    counts = np.bincount(labels[BATCH], minlength=10)
    if noise > 0.1:
        counts[[1, 3]] += [1, -1]
    target = ((1, 0),)
    return {
        "bias-form": LabelCounts(target, (counts,)),
        "gradient-matching": Reconstructions(
            target, (np.clip(rebuilt, 0, 1),), (labels[BATCH],), "bias-form", {"loss": 1e-6}
        ),
    }


def case_of(folder: Path, branch: str, number: int, **changes: Any) -> Case:
    images, _ = digits()
    return Case(
        branch=branch,
        control=branch in CONTROLS,
        request_ids=() if branch == "trunk" or branch.startswith(PROBE) else ("request-1",),
        answers=Answers(folder / "answers"),
        num_classes=10,
        images=lambda ids: images[ids],
        public_mean=images.mean(axis=0),
        rng=np.random.default_rng(number),
        **changes,
    )


def row_of(
    folder: Path, name: str, branch: str, finds: str, finding: Finding | None, case: Case, reason: str = ""
) -> AttackRow:
    verdict = judge_failure(finds, control=case.control) if finding is None else judge_finding(finding, case)
    details, pictures = save_verdict(folder, f"{name}-server-{branch}", verdict)
    row = AttackRow(name, "server", "updates", branch, finds, verdict.metrics, (), 500, 1.2, details=details)
    return replace(row, pictures=pictures, status="done" if finding else "failed", reason=reason)


def attacks(folder: Path, seed: int, noise: float) -> list[dict[str, Any]]:
    labels = digits()[1]
    key = AnswerKey(folder / "answers")
    key.write_update("trunk", 1, 0, BATCH, labels[BATCH])
    key.write_request("request-1", (FORGOTTEN,), {0: np.flatnonzero(labels == FORGOTTEN)})
    member = np.arange(120) < 60
    key.write_candidates(np.arange(120), member)
    found: list[tuple[str, str, str, Finding | None]] = [
        (name, "trunk", "labels" if isinstance(finding, LabelCounts) else "images", finding)
        for name, finding in trunk_findings(seed, noise).items()
    ]
    found += [("bias-drop", branch, "forgotten-classes", request_scores(seed, branch)) for branch in BRANCHES]
    found += [("population", branch, "membership", membership(seed, branch, member)) for branch in BRANCHES]
    found += [("null-class-query", "finetune", "forgotten-classes", None)]
    rows = []
    for number, (name, branch, finds, finding) in enumerate(found):
        reason = "ValueError: no noise <left>" if finding is None else ""
        rows.append(row_of(folder, name, branch, finds, finding, case_of(folder, branch, number), reason))
    return [row.to_json() for row in with_references(rows)]


def curve(branch: str, draws: np.random.Generator) -> list[dict[str, Any]]:
    """Rounds of a branch: rising accuracy; the forgotten class falls where it is forgotten."""
    start, stop = {"trunk": (1, REQUEST_ROUND)}.get(branch, (REQUEST_ROUND + 1, REQUEST_ROUND + EXTRA))
    if branch.startswith("retrain"):
        start = 1
    rows = []
    for round in range(start, stop + 1):
        accuracy = 0.95 - 0.8 * np.exp(-round / 3) + draws.normal(0, 0.01)
        gone = 0.0 if branch.startswith("retrain") else max(0.0, 1 - 0.4 * (round - REQUEST_ROUND))
        known = branch in (TRUNK, *CONTROLS)
        rows.append(
            {
                "branch": branch,
                "round": round,
                "accuracy": accuracy,
                "loss": 1 - accuracy,
                "forget_accuracy": accuracy if known else accuracy * gone,
                "retain_accuracy": accuracy,
                "clients": 10,
                "failures": [{"client_id": 4, "reason": "hung"}] if (branch, round) == ("trunk", 3) else [],
                "seconds": 0.4,
            }
        )
    return rows


def branch_summary(branch: str, rounds: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    last = [row for row in rounds if row["branch"] == branch][-1]
    per_class = np.full(10, last["accuracy"])
    per_class[FORGOTTEN] = last["forget_accuracy"]
    hits = np.round(30 * per_class).astype(int)
    confusion = np.diag(hits)
    confusion[np.arange(10), (np.arange(10) + 5) % 10] += 30 - hits
    return {
        "id": branch,
        "name": branch,
        "replica": 0,
        "request_ids": [] if branch == "trunk" else ["request-1"],
        "extra_rounds": 0 if branch == "trunk" else EXTRA,
        "sha256": hashlib.sha256(f"{branch} {seed}".encode()).hexdigest(),
        "metrics": {
            "forget_accuracy": last["forget_accuracy"],
            "retain_accuracy": last["accuracy"],
            "test_accuracy": float(per_class.mean()),
        },
        "seconds": 3.2,
        "bytes": 12_345_678,
        "details": {"per_class_accuracy": per_class.tolist(), "confusion": confusion.tolist()},
    }


def results(
    folder: Path, cell: dict[str, Any], noise: float = 0.03, own: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """Write the artefacts of a cell and return its results; with `own` attacks in place of those here."""
    folder.mkdir(parents=True, exist_ok=True)
    seed = int(cell.get("seed", 0))
    draws = np.random.default_rng(seed)
    rounds = [row for branch in ("trunk", *BRANCHES) for row in curve(branch, draws)]
    algorithm = cell.get("federation.algorithm", "fedavg")
    return {
        "scenario": {
            "name": "synthetic",
            "title": "Ten clients, one forgotten digit, one curious server",
            "description": "Ten clients hold handwritten digits, each another mix of classes. <They> train together.",
            "seed": seed,
            "data": {"name": "digits"},
            "partition": {"kind": "dirichlet", "alpha": 0.5},
            "model": {"name": "lenet"},
            "federation": {"algorithm": algorithm, "clients": 10, "rounds": REQUEST_ROUND, "batch-size": 4,
                           "learning-rate": 0.1, "local-epochs": 1, "strategy": "FedAvg"},
            "unlearning": {"methods": ["federaser", "finetune"], "rounds": EXTRA},
            "observers": [{"name": "server", "access": "updates", "flags": ["public-unlabelled", "candidates"]}],
        },
        "cell": cell,
        "seed": seed,
        "engine": "ray",
        "workers": 2,
        "federation": {
            "clients": 10,
            "classes": [str(digit) for digit in range(10)],
            "image_shape": [1, 8, 8],
            "samples": {"train": 990, "validation": 90, "test": 360, "public": 267, "judge": 90},
            "parameters": 21_410,
            "executor": "loop",
            "device": "cpu",
            "clients_per_node": 5,
            "client_class_counts": draws.multinomial(99, draws.dirichlet(np.full(10, 0.5)), size=10).tolist(),
        },
        "rounds": rounds,
        "requests": [REQUEST],
        "branches": [branch_summary(branch, rounds, seed) for branch in ("trunk", *BRANCHES)],
        "attacks": attacks(folder, seed, noise) if own is None else own,
        "timing": {"total_s": 41.2, "client_s": 61.0, "overhead_s": 5.4, "efficiency": 0.82},
    }  # fmt: skip


def single_run(folder: Path) -> Path:
    write_results(folder, results(folder, {}))
    return folder


def matrix_run(folder: Path, seeds: int = 1) -> Path:
    number = 0
    for algorithm, noise in (("fedsgd", 0.03), ("fedavg", 0.3)):
        for seed in range(seeds):
            cell: dict[str, Any] = {"federation.algorithm": algorithm}
            cell |= {"seed": seed} if seeds > 1 else {}
            path = folder / "cells" / f"{number:03}-{algorithm}-{seed}"
            write_results(path, results(path, cell, noise))
            number += 1
    return folder
