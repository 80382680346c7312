"""The trunk: ordinary training up to the first request. Trained once, kept as a checkpoint, shared by branches."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from fedunlearn.federation import Federation, Spent, Weights, weights_sha256
from fedunlearn.monitor import Monitor
from fedunlearn.stage import Stage
from fedunlearn.storage import part, read_arrays, write_arrays


@dataclass(frozen=True)
class Trunk:
    """The model when the first request arrives.

    Attributes:
        weights: the global model.
        rounds: (journal key, call) of every round.
        folder: where the models are kept that probes start from.
    """

    weights: Weights
    rounds: tuple[tuple[str, int], ...]
    folder: Path

    def model_after(self, rounds: int) -> Weights:
        """Return the global model after so many rounds, one of the scenario's `checkpoints`."""
        return read_arrays(_checkpoint(self.folder, rounds))[0]


def _checkpoint(folder: Path, rounds: int) -> Path:
    return folder / f"after-{rounds:06d}.safetensors"


def train_or_load(stage: Stage, federation: Federation, folder: Path, monitor: Monitor) -> Trunk:
    """Train the trunk on `federation`, or go on from the checkpoint in `folder` that an equal trunk left.

    Args:
        stage: data, model and training.
        federation: at call 0; afterwards at the trunk's last call, with the server optimiser's state and what the
            trunk cost when it was trained.
        folder: where the checkpoint is or will be.
        monitor: has seen every round afterwards, as if it had been trained now.
    """
    path = folder / "checkpoint.safetensors"
    count = stage.scenario.trunk_rounds
    rounds = tuple((federation.journal_key, call + 1) for call in range(count))
    if path.exists():
        arrays, about = read_arrays(path)
        federation.calls = count
        federation.state = part(arrays, "s/") if about["stateful"] else None
        federation.spent = Spent(**about["spent"])
        monitor.replay(about["rows"])
        return Trunk(part(arrays, "w/"), rounds, folder)
    fresh, wanted = stage.fresh(0), stage.scenario.checkpoints

    def keep(branch: str, call: int, model: Weights) -> None:
        if call in wanted:
            write_arrays(_checkpoint(folder, call), model)

    keep(federation.branch, 0, fresh)
    federation.model_listeners.append(keep)
    weights = stage.training.run(federation, fresh, count)
    federation.model_listeners.remove(keep)
    arrays = {f"w/{name}": array for name, array in weights.items()}
    arrays |= {f"s/{name}": array for name, array in (federation.state or {}).items()}
    about = {"stateful": federation.state is not None, "spent": asdict(federation.spent), "rows": monitor.rows}
    write_arrays(path, arrays, about)
    return Trunk(weights, rounds, folder)


def save_model(folder: Path, name: str, weights: Weights) -> str:
    """Keep a branch's final model as `<folder>/<name>.safetensors`; return its SHA-256."""
    write_arrays(folder / f"{name}.safetensors", weights)
    return weights_sha256(weights)
