"""Runs `breaching` in an environment of its own; it answers one JSON line on standard output per line of input.

    {"case": FILE.npz, "answer": FILE.npz, "model": ..., "norm": ..., "stats": [mean, std], "steps": n, "smoothness": w}

The attack is `breaching`'s own `invertinggradients`, untouched, driven with dicts of tensors; each restart is a call of
`reconstruct` from a given start, and the best of them is chosen by the score that `breaching` itself gives them.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import warnings
from collections.abc import MutableSequence
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fedunlearn.models import Architecture, build

UNUSED = ("torchvision", "lpips")  # breaching imports them for its own data, models and metrics


class Nothing(type):
    """A class whose attributes are classes without contents."""

    def __getattr__(cls, name: str) -> Nothing:
        if name.startswith("__"):
            raise AttributeError(name)
        return Nothing(name, (), {})


class EmptyModule(ModuleType):
    """A module in which every name is such a class."""

    __path__: MutableSequence[str] = []

    def __getattr__(self, name: str) -> Nothing:
        if name.startswith("__"):
            raise AttributeError(name)
        return Nothing(name, (), {})


class EmptyModules:
    """Finds empty modules in place of those that are not installed: no torchvision fits every build of torch."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Return where to find `name`, if it is one of those."""
        return ModuleSpec(name, self, is_package=True) if name.partition(".")[0] in UNUSED else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module."""
        return EmptyModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: there is nothing in it."""


class Normalised(nn.Module):
    """One of our models as the peer expects them: on normalised images."""

    def __init__(self, body: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.body, self.head = body, head

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        return self.head(self.body(images))


class Metadata(SimpleNamespace):
    """Values by attribute and by item: the peer uses both."""

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)


def answer(request: dict[str, Any], breaching: Any) -> dict[str, float]:
    """Do one request: write images, scores and objectives of all restarts, and return how long it took."""
    arrays = np.load(request["case"])
    mean, std = request["stats"]
    starts, labels = (torch.from_numpy(arrays[name]) for name in ("starts", "labels"))
    shape = tuple(starts.shape[2:])
    model = build(Architecture(request["model"], norm=request["norm"]), shape, 10, None, (mean, std))
    model.load_state_dict({name: torch.from_numpy(arrays[f"weights/{name}"]) for name in model.state_dict()})
    gradients = [torch.from_numpy(arrays[f"gradient/{name}"]) for name, _ in model.named_parameters()]
    attacker, payload, shared = _prepare(breaching, request, model, gradients, labels, (mean, std))
    began, busy = time.perf_counter(), time.process_time()
    tried = [attacker.reconstruct(payload, shared, {}, initial_data=start) for start in starts]
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - busy
    images = torch.stack([found["data"] for found, _ in tried])
    told = [stats["Trial_0_Val"] for _, stats in tried]  # shorter where a restart diverged
    np.savez(
        request["answer"],
        images=(model.mean + model.std * images).numpy(),
        scores=[stats["opt_value"] for _, stats in tried],
        objectives=[values + [np.nan] * (request["steps"] - len(values)) for values in told],
    )
    return {"seconds": seconds, "cpu_seconds": cpu_seconds}


def _prepare(
    breaching: Any, request: dict[str, Any], model: nn.Module, gradients: list[Tensor], labels: Tensor, stats: Any
) -> tuple[Any, list[dict], list[dict]]:
    settings = [
        f"optim.max_iterations={request['steps']}",
        f"optim.callback={request['steps']}",
        f"regularization.total_variation.scale={request['smoothness']}",
    ]
    config = breaching.get_attack_config("invertinggradients", settings)
    network = Normalised(model.body, model.head).eval()  # type: ignore[arg-type]
    setup = {"device": torch.device("cpu"), "dtype": torch.float}
    attacker = breaching.attacks.prepare_attack(network, nn.CrossEntropyLoss(), config, setup)
    metadata = Metadata(modality="vision", shape=(3, 32, 32), classes=10, normalize=True, mean=stats[0], std=stats[1])
    parameters, buffers = ([t.detach() for t in ts] for ts in (network.parameters(), network.buffers()))
    payload = [{"parameters": parameters, "buffers": buffers, "metadata": metadata}]
    sent = {"num_data_points": len(labels), "labels": labels, "local_hyperparams": None}
    return attacker, payload, [{"gradients": gradients, "buffers": None, "metadata": sent}]


def main() -> None:
    """Answer requests until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the peer prints is no answer
    warnings.simplefilter("ignore")
    sys.meta_path.append(EmptyModules())
    breaching = importlib.import_module("breaching")
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line), breaching)), file=answers, flush=True)


if __name__ == "__main__":
    main()
