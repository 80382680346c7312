"""Finished rounds on disk: what makes a killed run resumable, and what an unlearner's history is read from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError

from fedunlearn.errors import HistoryLost
from fedunlearn.federation import Failure, Order, Outcome, Update, Weights
from fedunlearn.storage import part, read_about, read_arrays, write_arrays
from fedunlearn.wire import decode_outcomes, encode_outcomes, stack

T = TypeVar("T")


class Journal:
    """One file per (branch, call), written atomically.

    Resuming executes the same loop again; a round whose order has the same digest is read from here. So any
    algorithm written as a plain loop over `Federation.round` can be resumed in its middle.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _path(self, branch: str, call: int) -> Path:
        return self.folder / branch / f"{call:06d}.safetensors"

    def save(self, branch: str, order: Order, outcomes: Sequence[Outcome]) -> None:
        """Keep what was broadcast and what came back."""
        updates = [outcome for outcome in outcomes if isinstance(outcome, Update)]
        arrays, plain = encode_outcomes(stack(updates), [o for o in outcomes if isinstance(o, Failure)])
        arrays |= {f"w/{name}": array for name, array in order.weights.items()}
        sizes = [[update.client_id, update.num_examples] for update in updates]
        write_arrays(self._path(branch, order.call), arrays, plain | {"digest": order.digest(), "sizes": sizes})

    def load(self, branch: str, order: Order) -> list[Outcome] | None:
        """Return the outcomes of this very order, or None.

        Raises:
            HistoryLost: when there is a file that cannot be read.
        """
        path = self._path(branch, order.call)
        if not path.exists() or _stored(path, read_about)["digest"] != order.digest():
            return None
        return self.read(branch, order.call)[1]

    def read(self, branch: str, call: int) -> tuple[Weights, list[Outcome]]:
        """Return (the broadcast weights, the outcomes ordered by client id) of a finished round.

        Raises:
            HistoryLost: when the round was never finished, was removed or is damaged.
        """
        arrays, about = _stored(self._path(branch, call), read_arrays)
        broadcast, sizes = part(arrays, "w/"), dict(about["sizes"])
        replies = {name: array for name, array in arrays.items() if not name.startswith("w/")}
        outcomes = [
            replace(outcome, num_examples=sizes[outcome.client_id]) if isinstance(outcome, Update) else outcome
            for outcome in decode_outcomes(replies, about)
        ]
        return broadcast, sorted(outcomes, key=lambda outcome: outcome.client_id)

    def empty(self, branch: str) -> None:
        """Remove all rounds of a branch."""
        for path in (self.folder / branch).glob("*.safetensors"):
            path.unlink()


def _stored(path: Path, read: Callable[[Path], T]) -> T:
    try:
        return read(path)
    except FileNotFoundError:
        raise HistoryLost(f"the stored round {path} is missing") from None
    except (OSError, SafetensorError) as error:
        raise HistoryLost(f"the stored round {path} cannot be read: {error}") from error
