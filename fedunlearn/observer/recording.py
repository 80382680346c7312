"""One branch of a tape, read back without any refusal: what views and the query interface stand on."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from fedunlearn.federation import Weights
from fedunlearn.observer.access import AccessRefused
from fedunlearn.observer.files import (
    TapedRound,
    auxiliary_paths,
    marks_path,
    model_path,
    read_auxiliary,
    read_round,
    round_path,
)
from fedunlearn.storage import part, read_about, read_arrays

When = Literal["before", "after", "final"]


class Recording:
    """The rounds and models of a branch, in the observer's numbering: the trunk's rounds first, then its own.

    Args:
        folder: of the tape.
        branch: the branch's name.
    """

    def __init__(self, folder: Path, branch: str) -> None:
        self.folder = folder
        self.branch = branch
        self._latest: tuple[int, TapedRound] | None = None  # attacks ask for one round many times over

    @cached_property
    def marks(self) -> dict[str, Any] | None:
        """The requests' rounds, the trunk's rounds and the method; None where nothing was marked."""
        path = marks_path(self.folder, self.branch)
        return read_about(path) if path.exists() else None

    @cached_property
    def rounds(self) -> list[tuple[str, int]]:
        """(branch, number within it) of every round."""
        own = [(self.branch, n + 1) for n in range(len(list((self.folder / self.branch).glob("round-*.safetensors"))))]
        if self.branch == "trunk" or self.marks is None:
            return own
        return [("trunk", n + 1) for n in range(self.marks["trunk-rounds"])] + own

    def round(self, number: int) -> TapedRound:
        """Return a round as it was recorded.

        Raises:
            AccessRefused: when there is no round of that number.
        """
        if not 1 <= number <= len(self.rounds):
            raise AccessRefused(f"there is no round {number}; the observer saw {len(self.rounds)}")
        if self._latest is None or self._latest[0] != number:
            self._latest = number, read_round(round_path(self.folder, *self.rounds[number - 1]))
        return self._latest[1]

    def broadcast(self, number: int) -> tuple[Weights, bool]:
        """Return what a round sent to the clients, and whether it is whole."""
        taped = self.round(number)
        branch, own = self.rounds[number - 1]
        return self._model(branch, own - 1) if taped.broadcast is None else (taped.broadcast, taped.whole)

    def result(self, number: int) -> tuple[Weights, bool]:
        """Return the global model after a round, and whether it is whole; an unpublished round leaves the broadcast."""
        self.round(number)
        branch, own = self.rounds[number - 1]
        published = model_path(self.folder, branch, own).exists()
        return self._model(branch, own) if published else self.broadcast(number)

    def auxiliary(self, number: int) -> dict[int, Weights]:
        """Return the statistics replies that came right before a round, or after the last, as `<exchange>/<name>`.

        Raises:
            AccessRefused: when there is no round of that number, nor one before it.
        """
        if not 1 <= number <= len(self.rounds) + 1:
            raise AccessRefused(f"there is no round {number}; the observer saw {len(self.rounds)}")
        shared = sum(branch != self.branch for branch, _ in self.rounds)  # the trunk's, in which nobody sends any
        replies: dict[int, Weights] = {}
        paths = auxiliary_paths(self.folder, self.branch, number - 1 - shared)
        for exchange, path in enumerate(paths, start=1):
            for client, arrays in read_auxiliary(path).items():
                named = {f"{exchange}/{name}": array for name, array in arrays.items()}
                replies[client] = replies.get(client, {}) | named
        return replies

    def _model(self, branch: str, own: int) -> tuple[Weights, bool]:
        arrays, about = read_arrays(model_path(self.folder, branch, own))
        return arrays, about["whole"]

    def model(self, when: When) -> Weights:
        """Return the global model before the request, after it, or at the end.

        Raises:
            AccessRefused: when the branch knows no such moment.
        """
        path = marks_path(self.folder, self.branch)
        if path.exists():
            return part(read_arrays(path)[0], f"{when}/")
        if when != "final" or not self.rounds:
            raise AccessRefused(f'branch "{self.branch}" serves no request: there is no model {when} it')
        weights, whole = self.result(len(self.rounds))
        if not whole:
            raise AccessRefused(f"the last model of branch {self.branch} was not recorded whole")
        return weights

    def pruned(self) -> Weights:
        """Return which weights the branch's method removed, bool by tensor; empty where it removed none."""
        return {} if self.marks is None else part(read_arrays(marks_path(self.folder, self.branch))[0], "pruned/")
