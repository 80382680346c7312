"""What an oracle attacker is given of the truth: handed out by the judge, and kept for everybody to see."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fedunlearn.federation import Weights, weights_sha256
from fedunlearn.judging.answers import Answers
from fedunlearn.observer.recording import Recording, When


def grant_labels(answers: Answers, branch: str, folder: Path) -> Callable[[int, int], np.ndarray]:
    """Return an oracle for the labels behind the update of (round, client) on a branch.

    Every answer is copied to `folder/labels.jsonl` as it is given.

    Raises:
        DataError: from the oracle, for an update whose samples were not recorded.
    """

    def oracle(round: int, client: int) -> np.ndarray:
        labels = answers.update(branch, round, client).labels
        given = {"branch": branch, "round": round, "client": client, "labels": labels.tolist()}
        _note(folder / "labels.jsonl", given)
        return labels

    return oracle


def grant_model(recording: Recording, folder: Path) -> Callable[[When], Weights]:
    """Return an oracle for the true models of a branch.

    That a model was given, and which, is added to `folder/models.jsonl`.

    Raises:
        AccessRefused: from the oracle, when the branch knows no such moment.
    """

    def oracle(when: When) -> Weights:
        weights = recording.model(when)
        given = {"branch": recording.branch, "when": when, "sha256": weights_sha256(weights)}
        _note(folder / "models.jsonl", given)
        return weights

    return oracle


def _note(path: Path, given: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(given) + "\n")
