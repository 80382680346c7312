"""Runs with probes and with pictures of forgotten samples, as experiments leave them; the judge is real."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fedunlearn.judging import AnswerKey, AttackRow, with_references
from fedunlearn.judging.baselines import uniform_guess
from fedunlearn.observer.findings import ForgottenImages, LabelCounts, Reconstructions
from fedunlearn.reporting import write_results
from tests.reporting import synthetic
from tests.reporting.synthetic import FORGOTTEN, case_of, digits, row_of

LABEL_ATTACKS = {
    "bias-form": 0.1,
    "weight-form": 0.6,
    "ilrg": 0.4,
    "llg": 0.5,
    "rlu": 0.3,
    "idlg": 0.9,
    "class-conditional-nnls": 0.05,
    "auto": 0.05,
}
EQUAL = (0, 2, 4)


def probe(name: str, samples: int, clients: Sequence[int], after: int = 0, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "branch": f"probe-{name}",
        "after": after,
        "algorithm": "fedsgd",
        "source": "members",
        "samples": samples,
        "equal_labels": None,
        "batch_size": None,
        "local_epochs": None,
        "learning_rate": 0.1,
        "clients": list(clients),
        "skipped": {},
    } | changes


def probes() -> list[dict[str, Any]]:
    made = [probe(f"k{k}-after-{after}", k, (0, 1), after) for k in (4, 32) for after in (0, 4)]
    made += [probe(f"equal-{equal}", 4, (0, 1), equal_labels=equal) for equal in EQUAL]
    skipped = {"2": "holds 180 samples, 512 are wanted"}
    return [*made, probe("k512", 512, (), skipped=skipped)]


def batch(entry: dict[str, Any], client: int, draws: np.random.Generator) -> np.ndarray:
    """Sample ids of a probed batch: some with equal labels, or as they come."""
    labels = digits()[1]
    if entry["equal_labels"] is None:
        return np.sort(draws.permutation(1797)[: entry["samples"]])
    first = np.flatnonzero(labels == client)[: max(entry["equal_labels"], 1)]
    others = [np.flatnonzero(labels == digit)[client] for digit in range(2, 10)]
    return np.concatenate([first, others])[:4]


def probe_attacks(folder: Path, seed: int, noise: float) -> list[dict[str, Any]]:
    """Label attacks with more and more noise, and pictures that fuse the more labels are equal."""
    images, labels = digits()
    key, rows = AnswerKey(folder / "answers"), []
    for entry in probes():
        draws = np.random.default_rng([seed, len(entry["name"])])
        ids = [batch(entry, client, draws) for client in entry["clients"]]
        for client, own in zip(entry["clients"], ids, strict=True):
            key.write_update(entry["branch"], 1, client, own, labels[own])
        targets = tuple((1, client) for client in entry["clients"])
        rows += _labels(folder, entry["branch"], targets, [labels[own] for own in ids], noise, draws)
        if entry["equal_labels"] is not None:
            rows += _pictures(folder, entry, targets, [images[own] for own in ids], [labels[own] for own in ids], draws)
    return [row.to_json() for row in with_references(rows)]


def whole(estimate: np.ndarray, total: int) -> np.ndarray:
    """Counts with this sum: rounded down, then the largest remainders up."""
    scaled = estimate * total / estimate.sum()
    counts = np.floor(scaled).astype(int)
    counts[np.argsort(counts - scaled)[: total - counts.sum()]] += 1
    return counts


def _labels(
    folder: Path, branch: str, targets: tuple, labels: Sequence[np.ndarray], noise: float, draws: np.random.Generator
) -> list[AttackRow]:
    if not targets:
        return []
    true = [np.bincount(own, minlength=10) for own in labels]
    found = {"uniform-guess": [uniform_guess(int(counts.sum()), 10) for counts in true]}
    for name, error in LABEL_ATTACKS.items():
        blurred = [
            counts + noise * error * len(own) * draws.random(10) for counts, own in zip(true, labels, strict=True)
        ]
        found[name] = [whole(counts, len(own)) for counts, own in zip(blurred, labels, strict=True)]
    rows = []
    for number, (name, counts) in enumerate(found.items()):
        finding = None if (name, branch) == ("rlu", "probe-equal-2") else LabelCounts(targets, tuple(counts))
        case = case_of(folder, branch, number)
        rows.append(row_of(folder, name, branch, "labels", finding, case, "" if finding else "no public images"))
    return rows


def _pictures(
    folder: Path,
    entry: dict[str, Any],
    targets: tuple,
    images: Sequence[np.ndarray],
    labels: Sequence[np.ndarray],
    draws: np.random.Generator,
) -> list[AttackRow]:
    fused = entry["equal_labels"] / 4
    rebuilt = [
        ((1 - fused) * own + fused * own.mean(0) + draws.normal(0, 0.03, own.shape)).clip(0, 1).astype(np.float32)
        for own in images
    ]
    notes = {"equations": [15826, 15826], "unknowns": [256, 256], "jacobian-rank": [256, 240], "losses": [1e-6, 1e-5]}
    rows = []
    for number, source in enumerate(("auto", "known")):
        finding = Reconstructions(targets, tuple(rebuilt), tuple(labels), source, notes)
        case = case_of(folder, entry["branch"], number, pool=lambda: np.arange(1797), rebuilt_db=18.0)
        rows.append(row_of(folder, ("inverting-gradients", "dlg")[number], entry["branch"], "images", finding, case))
    return rows


def forgotten_pictures(folder: Path, seed: int) -> list[AttackRow]:
    """Pictures of the forgotten digit after the unlearners, and noise on the controls."""
    images, labels = digits()
    threes, draws = np.flatnonzero(labels == FORGOTTEN), np.random.default_rng(seed)
    rows = []
    for number, branch in enumerate(("finetune", "retrain", "control", "placebo")):
        clear = 0.9 if branch == "finetune" else 0.2
        claimed = clear * images[threes[:6]] + (1 - clear) * draws.random((6, 1, 8, 8))
        notes = {"equations": [15826], "unknowns": [384]}
        finding = ForgottenImages("request-1", claimed.astype(np.float32), np.full(6, 3), "bias-form", notes)
        case = case_of(folder, branch, number, pool=lambda: np.arange(1797))
        rows.append(row_of(folder, "difference-inversion", branch, "forgotten-images", finding, case))
    return rows


def results(folder: Path, cell: dict[str, Any], noise: float = 1.0) -> dict[str, Any]:
    found = synthetic.results(folder, cell)
    seed = int(cell.get("seed", 0))
    forgotten = [row.to_json() for row in with_references(forgotten_pictures(folder, seed))]
    found["attacks"] += probe_attacks(folder, seed, noise) + forgotten
    return found | {"probes": probes()}


def single_run(folder: Path) -> Path:
    write_results(folder, results(folder, {}))
    return folder


def matrix_run(folder: Path, seeds: int = 2) -> Path:
    number = 0
    for activation, noise in (("relu", 0.5), ("tanh", 1.5)):
        for seed in range(seeds):
            path = folder / "cells" / f"{number:03}-{activation}-{seed}"
            write_results(path, results(path, {"model.activation": activation, "seed": seed}, noise))
            number += 1
    return folder
