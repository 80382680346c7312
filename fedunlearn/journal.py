"""Finished rounds on disk: what makes a killed run resumable, and what an unlearner's history is read from."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from fedunlearn.federation import Failure, Order, Outcome, Update, Weights
from fedunlearn.wire import decode_outcomes, encode_outcomes, stack


class Journal:
    """One safetensors file per (branch, call), written atomically.

    Resuming executes the same loop again; a round whose order has the same digest is read from here. So any
    algorithm written as a plain loop over `Federation.round` can be resumed in its middle.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _path(self, branch: str, call: int) -> Path:
        return self.folder / branch / f"{call:06d}.safetensors"

    def save(self, branch: str, order: Order, outcomes: Sequence[Outcome]) -> None:
        """Keep what was broadcast and what came back."""
        updates = [o for o in outcomes if isinstance(o, Update)]
        arrays, plain = encode_outcomes(stack(updates), [o for o in outcomes if isinstance(o, Failure)])
        arrays |= {f"w/{name}": array for name, array in order.weights.items()}
        plain |= {
            "digest": order.digest(),
            "sizes": json.dumps({o.client_id: o.num_examples for o in updates}),
            "names": json.dumps([list(order.weights), list(updates[0].payload) if updates else []]),
        }
        path = self._path(branch, order.call)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        save_file({name: np.asarray(array, order="C") for name, array in arrays.items()}, partial, metadata=plain)
        os.replace(partial, path)

    def load(self, branch: str, order: Order) -> list[Outcome] | None:
        """Return the outcomes of this very order, or None."""
        path = self._path(branch, order.call)
        if not path.exists():
            return None
        with safe_open(path, framework="numpy") as file:
            if file.metadata()["digest"] != order.digest():
                return None
        return self.read(branch, order.call)[1]

    def read(self, branch: str, call: int) -> tuple[Weights, list[Outcome]]:
        """Return (the broadcast weights, the outcomes ordered by client id) of a finished round.

        Raises:
            FileNotFoundError: when the round was never finished.
        """
        with safe_open(self._path(branch, call), framework="numpy") as file:
            plain, arrays = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
        names, payload_names = json.loads(plain["names"])
        weights = {name: arrays.pop(f"w/{name}") for name in names}
        sizes = {int(client): size for client, size in json.loads(plain["sizes"]).items()}
        outcomes: list[Outcome] = []
        for outcome in decode_outcomes(arrays, plain):
            if isinstance(outcome, Update):
                # safetensors sorts its keys; a model's order is part of what it is
                payload = {name: outcome.payload[name] for name in payload_names if name in outcome.payload}
                payload |= outcome.payload
                client = outcome.client_id
                outcome = Update(client, outcome.kind, payload, sizes[client], outcome.metrics, outcome.private)
            outcomes.append(outcome)
        return weights, sorted(outcomes, key=lambda outcome: outcome.client_id)
