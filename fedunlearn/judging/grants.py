"""What an oracle attacker is given of the truth: handed out by the judge, and kept for everybody to see."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fedunlearn.judging.answers import Answers


def grant_labels(answers: Answers, branch: str, folder: Path) -> Callable[[int, int], np.ndarray]:
    """Return an oracle for the labels behind the update of (round, client) on a branch.

    Every answer is copied to `folder/labels.jsonl` as it is given.

    Raises:
        DataError: from the oracle, for an update whose samples were not recorded.
    """

    def oracle(round: int, client: int) -> np.ndarray:
        labels = answers.update(branch, round, client).labels
        given = {"branch": branch, "round": round, "client": client, "labels": labels.tolist()}
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "labels.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(given) + "\n")
        return labels

    return oracle
