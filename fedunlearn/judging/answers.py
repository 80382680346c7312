"""The answer key: what was true. Everybody may add to it while a run goes; only the judge reads it.

JSON lines, one entry each. Executing a run again after an interruption writes the same entries again, which changes
nothing; another value under the same key is an error, because then the two executions were not the same run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fedunlearn.errors import DataError
from fedunlearn.names import TRUNK

UPDATES, REQUESTS, CANDIDATES = "updates", "requests", "candidates"
Entries = dict[tuple[Any, ...], Any]


class AnswerKey:
    """Appends what was true to files in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[str, Entries] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def write_update(
        self, branch: str, round: int, client: int, sample_ids: np.ndarray | Sequence[int], labels: Sequence[int]
    ) -> None:
        """Record the samples behind one observed update.

        Args:
            branch: where it happened; rounds before the branches part belong to `trunk`.
            round: as the observer counts, 1.. over the trunk and then the branch.
            client: who sent the update.
            sample_ids: the samples (FedSGD: of the batch; FedAvg: all that the client trained on).
            labels: their classes, in the same order.
        """
        value = {"samples": _ints(sample_ids), "labels": _ints(labels)}
        if len(value["samples"]) != len(value["labels"]):
            raise ValueError(f"{len(value['samples'])} samples with {len(value['labels'])} labels")
        self._append(UPDATES, [branch, int(round), int(client)], value)

    def write_request(
        self, request_id: str, classes: Sequence[int], sample_ids_by_client: Mapping[int, np.ndarray]
    ) -> None:
        """Record what a request makes the federation forget; `classes` is empty when no whole class is meant."""
        samples = {str(client): _ints(ids) for client, ids in sorted(sample_ids_by_client.items())}
        self._append(REQUESTS, [request_id], {"classes": sorted(_ints(classes)), "samples": samples})

    def write_candidates(self, sample_ids: np.ndarray | Sequence[int], member: np.ndarray) -> None:
        """Record whose membership is in question, in the order that the attack sees, and who is a member."""
        value = {"samples": _ints(sample_ids), "member": [bool(entry) for entry in member]}
        self._append(CANDIDATES, [], value)

    def _append(self, kind: str, key: list[Any], value: dict[str, Any]) -> None:
        path = self.folder / f"{kind}.jsonl"
        if kind not in self._known:
            self._known[kind] = _load(path, mend=True)
        known = self._known[kind].get(tuple(key))
        if known is None:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"key": key, "value": value}) + "\n")
            self._known[kind][tuple(key)] = value
        elif known != value:
            raise DataError(f"{path}: {kind} {key} is on record with another value; this is another run's folder")


@dataclass(frozen=True)
class TrueUpdate:
    """The samples behind an update and their classes, both (batch,)."""

    sample_ids: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class TrueRequest:
    """The classes and the samples (by client) that a request is about."""

    classes: frozenset[int]
    sample_ids: Mapping[int, np.ndarray]


@dataclass(frozen=True)
class TrueCandidates:
    """The candidates of a membership question and the answer, both (candidates,)."""

    sample_ids: np.ndarray
    member: np.ndarray


class Answers:
    """Reads an answer key; for the judge alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def update(self, branch: str, round: int, client: int) -> TrueUpdate:
        """Return the truth about an update; a round that the branch shares with the trunk is found there.

        Raises:
            DataError: when it was not recorded.
        """
        for name in (branch, TRUNK):
            entry = self._updates.get((name, round, client))
            if entry is not None:
                return TrueUpdate(np.array(entry["samples"]), np.array(entry["labels"]))
        raise DataError(f"{self.folder}: no answer for the update of client {client} in round {round} of {branch}")

    def request(self, request_id: str) -> TrueRequest:
        """Return the truth about a request.

        Raises:
            DataError: when it was not recorded.
        """
        entry = self._requests.get((request_id,))
        if entry is None:
            raise DataError(f'{self.folder}: no answer for request "{request_id}"')
        samples = {int(client): np.array(ids) for client, ids in entry["samples"].items()}
        return TrueRequest(frozenset(entry["classes"]), samples)

    def candidates(self) -> TrueCandidates:
        """Return whose membership is in question and the answer.

        Raises:
            DataError: when none were recorded.
        """
        entry = _load(self.folder / f"{CANDIDATES}.jsonl").get(())
        if entry is None:
            raise DataError(f"{self.folder}: no membership candidates on record")
        return TrueCandidates(np.array(entry["samples"]), np.array(entry["member"], dtype=bool))

    @cached_property
    def _updates(self) -> Entries:
        return _load(self.folder / f"{UPDATES}.jsonl")

    @cached_property
    def _requests(self) -> Entries:
        return _load(self.folder / f"{REQUESTS}.jsonl")


def _ints(values: np.ndarray | Sequence[int]) -> list[int]:
    return [int(value) for value in values]


def _load(path: Path, *, mend: bool = False) -> Entries:
    """Return the entries of a file; a last line cut off by a crash is left out and, to `mend`, removed."""
    if not path.exists():
        return {}
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if mend and whole != text:
        path.write_text(whole, encoding="utf-8")
    entries = (json.loads(line) for line in whole.splitlines())
    return {tuple(entry["key"]): entry["value"] for entry in entries}
