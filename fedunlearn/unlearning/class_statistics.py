"""What a client's data look like inside the model, class by class: means that clients send and the server pools."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fedunlearn.federation import Update, Weights
from fedunlearn.learning import LocalClient

Measure = Callable[[Tensor, Tensor], Tensor]  # (a module's input, its output) to one row (n, d) per image


@torch.no_grad()
def class_means(client: LocalClient, modules: Mapping[str, nn.Module], measure: Measure, batch_size: int) -> Update:
    """Return each module's mean of `measure` (d, K) by class, and "counts" (K,) of the images behind them.

    The model is in evaluation mode, so that no image's row depends on its batch. Classes that the client does not
    hold have zeros.
    """
    model = client.model.eval()
    classes = model.head.out_features
    counts = np.bincount(client.samples.labels(client.sample_ids), minlength=classes)
    rows: dict[str, Tensor] = {}
    sums: dict[str, Tensor] = {}

    def watch(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def keep(module: nn.Module, inputs: Any, output: Tensor) -> None:
            rows[name] = measure(inputs[0], output).double()

        return keep

    with ExitStack() as hooks:
        for name, module in modules.items():
            hooks.enter_context(module.register_forward_hook(watch(name)))
        for positions in np.array_split(np.arange(len(client.sample_ids)), -(-len(client.sample_ids) // batch_size)):
            images, labels = client.take(positions)
            model(images)
            by_class = nn.functional.one_hot(labels, classes).double()
            sums = {name: sums.get(name, torch.zeros(())) + of.T @ by_class for name, of in rows.items()}
    payload = {name: (of.numpy(force=True) / np.maximum(counts, 1)).astype(np.float32) for name, of in sums.items()}
    return Update(client.client_id, "statistics", payload | {"counts": counts}, len(client.sample_ids))


def pooled(updates: Sequence[Update]) -> Weights:
    """Return the clients' means as means over the images of all of them, and the "counts" behind those."""
    counts = np.sum([update.payload["counts"] for update in updates], axis=0)
    names = [name for name in updates[0].payload if name != "counts"]
    sums = {name: sum(u.payload[name].astype(np.float64) * u.payload["counts"] for u in updates) for name in names}
    return {name: of / np.maximum(counts, 1) for name, of in sums.items()} | {"counts": counts}
