"""The files of a tape: their names, their layout, and how they are written and read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fedunlearn.federation import Update, Weights
from fedunlearn.storage import read_arrays, write_arrays
from fedunlearn.wire import Stack, stack

HEAD = ("head.weight", "head.bias")  # of these small tensors a tape keeps every round


@dataclass(frozen=True)
class TapedRound:
    """One round as it was recorded.

    Attributes:
        broadcast: what the clients were sent, or None when it was the model published last.
        updates: what they sent back, by client; without metrics and private parts.
        whole: False when only the last layer of everything was kept.
    """

    broadcast: Weights | None
    updates: Mapping[int, Update]
    whole: bool


def head_of(weights: Weights) -> Weights:
    """Return the tensors of the last layer."""
    return {name: weights[name] for name in HEAD if name in weights}


def round_path(folder: Path, branch: str, number: int) -> Path:
    """Return the file of a branch's `number`-th round, from 1."""
    return folder / branch / f"round-{number:06d}.safetensors"


def model_path(folder: Path, branch: str, number: int) -> Path:
    """Return the file of the model that a branch published after its `number`-th round."""
    return folder / branch / f"model-{number:06d}.safetensors"


def auxiliary_paths(folder: Path, branch: str, rounds: int) -> list[Path]:
    """Return the files of the statistics replies that came after a branch's first `rounds` rounds, in order."""
    return sorted((folder / branch).glob(f"auxiliary-{rounds:06d}-*.safetensors"))


def marks_path(folder: Path, branch: str) -> Path:
    """Return the file of the models before and after the request that a branch serves."""
    return folder / branch / "marks.safetensors"


def write_model(path: Path, weights: Weights, whole: bool) -> None:
    """Write a published model, or its last layer alone."""
    write_arrays(path, weights if whole else head_of(weights), {"whole": whole})


def write_round(path: Path, broadcast: Weights | None, updates: Sequence[Update], whole: bool) -> None:
    """Write a round; of each tensor dictionary the last layer alone unless `whole`."""
    part = dict if whole else head_of
    stacks = stack(replace(update, payload=part(update.payload), metrics={}, private=None) for update in updates)
    arrays = {f"w/{name}": array for name, array in part(broadcast or {}).items()}
    for number, group in enumerate(stacks):
        arrays |= {f"{number}/{name}": array for name, array in group.payload.items()}
    about = {
        "stacks": [[group.kind, group.client_ids] for group in stacks],
        "sizes": [[update.client_id, update.num_examples] for update in updates],
        "whole": whole,
    }
    write_arrays(path, arrays, about)


def write_auxiliary(folder: Path, branch: str, rounds: int, replies: Sequence[Update]) -> None:
    """Write the next statistics replies that come after a branch's first `rounds` rounds."""
    exchange = len(auxiliary_paths(folder, branch, rounds)) + 1
    path = folder / branch / f"auxiliary-{rounds:06d}-{exchange:03d}.safetensors"
    write_arrays(
        path, {f"{reply.client_id}/{name}": array for reply in replies for name, array in reply.payload.items()}
    )


def read_auxiliary(path: Path) -> dict[int, Weights]:
    """Return the arrays of each client that `write_auxiliary` wrote."""
    replies: dict[int, Weights] = {}
    for key, array in read_arrays(path)[0].items():
        client, name = key.split("/", 1)
        replies.setdefault(int(client), {})[name] = array
    return replies


def read_round(path: Path) -> TapedRound:
    """Return the round that `write_round` wrote."""
    arrays, about = read_arrays(path)
    parts: dict[str, Weights] = {}
    for key, array in arrays.items():
        part, name = key.split("/", 1)
        parts.setdefault(part, {})[name] = array
    updates = {
        update.client_id: update
        for number, (kind, clients) in enumerate(about["stacks"])
        for update in Stack(kind, clients, parts.get(str(number), {})).updates(dict(about["sizes"]))
    }
    return TapedRound(parts.get("w"), updates, about["whole"])
