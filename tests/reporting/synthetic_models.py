"""Runs with revived models and with pictures of classes, as experiments leave them: the judge is real."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import RidgeClassifier

from fedunlearn.federation import Weights
from fedunlearn.judging import AnswerKey, AttackRow, Case, with_references
from fedunlearn.judging.inversion.evaluator import Evaluator
from fedunlearn.models import Classifier, load_weights
from fedunlearn.names import CONTROLS, TRUNK
from fedunlearn.observer.findings import ClassImages, Finding, RevivedModel
from fedunlearn.reporting import read_results, write_results
from tests.observer.recorded import blank
from tests.reporting import synthetic
from tests.reporting.synthetic import FORGOTTEN, case_of, digits, row_of

UNSEEN, JUDGE, PUBLIC = np.arange(600, 1000), np.arange(1000, 1400), np.arange(1400, 1797)
HELD = np.arange(120)  # by the federation, and compared with pictures
PRUNED, REFUSED = "concept-prune", "control"
MATRIX = "head.weight"
ROUNDS = (1, 2, 4)
SHARE_RIGHT = {"revival": 0.66, "random signs": 0.5, "oracle signs": 1.0} | {
    f"regrowth {count}": 0.6 + 0.04 * count for count in ROUNDS
}
REVIVALS = (*SHARE_RIGHT, "class bias", "donor rows")
NAMES = {"random signs": "revival", "oracle signs": "revival", "class bias": "class-bias-revival"}
CLEARNESS = {TRUNK: 0.9, "finetune": 0.3, "concept-prune": 0.6, "retrain": 0.1, "control": 0.9}
INVERSIONS = {"white-box-inversion": 0.5, "gmi": 1.0}


@cache
def trained(first: int, last: int) -> Weights:
    """A linear classifier of the digits, in closed form."""
    images, labels = digits()
    chosen = slice(first, last)
    fitted = RidgeClassifier(alpha=10.0).fit(images[chosen].reshape(last - first, -1), labels[chosen])
    return {MATRIX: 8 * fitted.coef_.astype(np.float32), "head.bias": 8 * fitted.intercept_.astype(np.float32)}


def model_of(weights: Weights) -> Classifier:
    model = blank(name="logistic", shape=(1, 8, 8))
    load_weights(model, weights)
    return model.eval()


def mask() -> Weights:
    """What was pruned: the largest weights of the forgotten class."""
    row = trained(0, 600)[MATRIX][FORGOTTEN]
    gone = np.zeros((10, 64), bool)
    gone[FORGOTTEN] = np.abs(row) > np.quantile(np.abs(row), 0.6)
    return {MATRIX: gone}


def pruned() -> Weights:
    before = trained(0, 600)
    return before | {MATRIX: np.where(mask()[MATRIX], 0, before[MATRIX])}


def revived(label: str, seed: int) -> RevivedModel:
    """Put weights back, as many with the right sign as the attack's name says."""
    draws, before, weights, gone = np.random.default_rng([seed, len(label)]), trained(0, 600), pruned(), mask()
    if label == "class bias":
        raised = weights["head.bias"] + 3.0 * (np.arange(10) == FORGOTTEN).astype(np.float32)
        return RevivedModel(weights | {"head.bias": raised}, {}, FORGOTTEN, {"class-from": "told"})
    if label == "donor rows":
        rows = weights[MATRIX].copy()
        rows[FORGOTTEN] = rows[8]
        return RevivedModel(weights | {MATRIX: rows}, {}, None, {"fill": "donor"})
    right = np.where(draws.random((10, 64)) < SHARE_RIGHT[label], 1, -1)
    signs = np.where(gone[MATRIX], np.sign(before[MATRIX]) * right, 0)
    values = np.where(gone[MATRIX], signs * np.abs(before[MATRIX]), weights[MATRIX]).astype(np.float32)
    notes: dict[str, Any] = {"signs": label.partition(" ")[0] if label != "revival" else "soft-impute"}
    if label.startswith("regrowth"):
        notes = {"form": "updates", "fused": True, "rounds": list(range(9, 9 + int(label[-1])))}
        notes["agreement"] = {MATRIX: np.linspace(0.7, 1, int(label[-1])).tolist()}
    return RevivedModel(weights | {MATRIX: values}, gone, None, notes, {MATRIX: signs.astype(np.int8)})


def claimed(attack: str, branch: str, seed: int) -> ClassImages:
    """Five pictures of each class, the less like it the less the model shows; those of the forgotten class least."""
    images, labels = digits()
    draws, shown, truth = np.random.default_rng([seed, len(attack), len(branch)]), [], np.repeat(np.arange(10), 5)
    for label in truth:
        clear = INVERSIONS[attack] * CLEARNESS[branch if label == FORGOTTEN else TRUNK]
        sample = images[draws.choice(HELD[labels[HELD] == label])]
        shown.append(clear * sample + (1 - clear) * draws.random((1, 8, 8)))
    return ClassImages(np.array(shown, np.float32), truth, {"restarts": 2})


def case(folder: Path, branch: str, number: int) -> Case:
    labels = digits()[1]
    own = Evaluator(model_of(trained(1000, 1400)), JUDGE)
    attacked = {"before": trained(0, 600), "after": pruned(), "final": pruned()}
    if branch in CONTROLS:
        attacked["final"] = trained(0, 600)
    return case_of(
        folder,
        branch,
        number,
        labels=lambda ids: labels[ids],
        pool=lambda: HELD,
        unseen=lambda: UNSEEN,
        public=lambda: PUBLIC,
        evaluator=lambda: own,
        classifier=model_of,
        models=lambda when: attacked[when],
        pruned=lambda: {} if branch in CONTROLS else mask(),
    )


def attacks(folder: Path, seed: int) -> list[dict[str, Any]]:
    labels = digits()[1]
    AnswerKey(folder / "answers").write_request(
        "request-1", (FORGOTTEN,), {0: np.flatnonzero(labels[HELD] == FORGOTTEN)}
    )
    rows: list[AttackRow] = []
    for number, label in enumerate(REVIVALS):
        for branch in (PRUNED, REFUSED):
            refused = branch == REFUSED and label not in ("class bias", "donor rows")
            finding = None if refused else revived(label, seed)
            name = NAMES.get(label, label.replace(" ", "-")).partition("-1")[0]
            rows.append(made(folder, number, name, label, branch, finding))
    for number, attack in enumerate(INVERSIONS, start=len(REVIVALS)):
        for branch in CLEARNESS:
            silent = (attack, branch) == ("gmi", "retrain")
            finding = None if silent else claimed(attack, branch, seed)
            rows.append(made(folder, number, attack, attack, branch, finding))
    return [row.to_json() for row in with_references(rows)]


def made(folder: Path, number: int, name: str, label: str, branch: str, finding: Finding | None) -> AttackRow:
    finds = "class-images" if number >= len(REVIVALS) else "revival"
    why = "" if finding else "no weight is exactly 0: <nothing> was pruned"
    row = row_of(folder, f"{name}-{number}", branch, finds, finding, case(folder, branch, number), why)
    grants = ("weights",) if label == "oracle signs" else ()
    status = "done" if finding else "refused"
    return AttackRow(**{**row.__dict__, "name": name, "label": label, "grants": grants, "status": status})


def results(folder: Path, cell: dict[str, Any]) -> dict[str, Any]:
    return synthetic.results(folder, cell, own=attacks(folder, int(cell.get("seed", 0))))


def single_run(folder: Path) -> Path:
    write_results(folder, results(folder, {}))
    return folder


def matrix_run(folder: Path, single: Path, seeds: int = 3) -> Path:
    """Copy a cell under several seeds, its figures a little lower each time; the first revival fails under the last."""
    for seed in range(seeds):
        own = read_results(single) | {"seed": seed, "cell": {"seed": seed}}
        for row in own["attacks"]:
            for metric in row["metrics"].values():
                metric["value"] = None if metric["value"] is None else metric["value"] * (1 - 0.05 * seed)
        if seed == seeds - 1:
            own["attacks"][0] |= {"status": "failed", "reason": "ValueError: singular", "details": {}}
            for metric in own["attacks"][0]["metrics"].values():
                metric |= {"value": None, "n": 0, "ci": [None, None]}
        path = folder / "cells" / f"{seed:03}"
        path.mkdir(parents=True)
        write_results(path, own)
    return folder
