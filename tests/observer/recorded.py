"""Small federations on real digits, recorded by a tape: plain loops that share no code with the engines."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits

from fedunlearn.federation import Order, Task, Update, Weights
from fedunlearn.models import Architecture, Classifier, build, load_weights, to_weights
from fedunlearn.observer.knowledge import Knowledge
from fedunlearn.observer.tape import Tape
from fedunlearn.requests import UnlearningRequest

SHAPE, CLASSES = (1, 8, 8), 10


@dataclass(frozen=True)
class Watcher:
    """An observer."""

    access: str = "updates"
    flags: tuple[str, ...] = ()
    rounds: tuple[Any, ...] = ("all",)
    client: int | None = None


@cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Return 1797 images (n, 1, 8, 8) in [0, 1] and labels, shuffled once."""
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    return (data.images[order, None] / 16).astype(np.float32), data.target[order].astype(np.int64)


def blank(activation: str = "sigmoid", name: str = "mlp", shape: tuple[int, int, int] = SHAPE) -> Classifier:
    """Return a model without weights."""
    return build(Architecture(name, activation), shape, CLASSES, None, (0.3, 0.37))


def fresh(seed: int = 0, activation: str = "sigmoid", name: str = "mlp") -> Weights:
    """Return initial weights."""
    return to_weights(build(Architecture(name, activation), SHAPE, CLASSES, np.random.default_rng(seed), (0.3, 0.37)))


def gradient_of(model: Classifier, images: np.ndarray, labels: np.ndarray) -> Weights:
    """Return the gradient of the mean loss, by parameter."""
    parameters = dict(model.named_parameters())
    loss = model.loss(torch.from_numpy(images), torch.from_numpy(labels))
    return dict(zip(parameters, (g.numpy() for g in torch.autograd.grad(loss, list(parameters.values()))), strict=True))


@dataclass
class Federation:
    """Clients with positions into `digits`, and the way they learn."""

    held: Sequence[np.ndarray]
    kind: str = "gradient"
    rate: float = 0.5
    batch: int = 8
    batches: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)  # of the latest branch

    def round(self, weights: Weights, number: int, rng: np.random.Generator) -> tuple[list[Update], Weights]:
        """Return the updates and the next model."""
        images, labels = digits()
        updates, model = [], blank()
        for client, held in enumerate(self.held):
            order = rng.permutation(held)
            load_weights(model, weights)
            if self.kind == "gradient":
                order = order[: self.batch]
                payload = gradient_of(model, images[order], labels[order])
            else:
                for start in range(0, len(order), self.batch):
                    part = order[start : start + self.batch]
                    step = gradient_of(model, images[part], labels[part])
                    load_weights(model, {n: a - np.float32(self.rate) * step[n] for n, a in to_weights(model).items()})
                payload = to_weights(model)
            self.batches[number, client] = order
            updates.append(Update(client, self.kind, payload, len(order), {"loss": 1.0}, {"secret": np.ones(2)}))
        shares = np.array([update.num_examples for update in updates], dtype=np.float32)
        mean = {n: np.average([u.payload[n] for u in updates], axis=0, weights=shares).astype("f4") for n in weights}
        if self.kind == "gradient":
            mean = {n: (a - np.float32(self.rate) * mean[n]).astype("f4") for n, a in weights.items()}
        return updates, mean

    def run(self, tape: Tape, branch: str, weights: Weights, rounds: int, seed: int = 0) -> Weights:
        """Run and record `rounds` rounds; return the last model."""
        rng = np.random.default_rng(seed)
        for number in range(1, rounds + 1):
            order = Order(number, Task("work", {"learning-rate": self.rate}, self.kind), weights, {})
            updates, weights = self.round(weights, number, rng)
            tape.on_round(branch, order, updates)
            tape.on_model(branch, number, weights)
        return weights


def non_iid(clients: int, samples: int, seed: int) -> list[np.ndarray]:
    """Return Dirichlet(0.5) shares of the first `samples` digits."""
    rng = np.random.default_rng(seed)
    labels = digits()[1][:samples]
    held: list[list[int]] = [[] for _ in range(clients)]
    for label in range(CLASSES):
        members = rng.permutation(np.flatnonzero(labels == label))
        cuts = (np.cumsum(rng.dirichlet(np.full(clients, 0.5)))[:-1] * len(members)).astype(int)
        for mine, part in zip(held, np.split(members, cuts), strict=True):
            mine.extend(part.tolist())
    return [np.array(mine, dtype=int) for mine in held if len(mine) >= 4]


def knowledge(tape: Tape, watcher: Watcher, branch: str = "trunk", **about: Any) -> Knowledge:
    """Return what an attacker knows, of the model in `blank`."""
    told = {"model": blank, "image_shape": SHAPE, "num_classes": CLASSES} | about
    return Knowledge(tape.view(watcher, branch), **told)


def without_class(held: Sequence[np.ndarray], label: int) -> list[np.ndarray]:
    """Return the clients' samples that are not of this class, for clients that have any."""
    labels = digits()[1]
    return [kept for mine in held if len(kept := mine[labels[mine] != label])]


def asked(held: Sequence[np.ndarray], label: int, round: int) -> UnlearningRequest:
    """Return the request of these clients to forget a class."""
    found = {client: np.sort(mine[digits()[1][mine] == label]) for client, mine in enumerate(held)}
    samples = {client: ids for client, ids in found.items() if len(ids)}
    return UnlearningRequest("request-1", round, "class", (label,), samples, (label,))


def recorded_run(folder: Path, federation: Federation, rounds: int, extra: int, forget: int, seed: int = 0) -> Tape:
    """Record a trunk, the branch `forgotten` that goes on without a class, and the branch `control`.

    All clients but the last asked for it; before the branches' rounds, clients sent statistics. On `forgotten`, some
    of the head is said to have been pruned.
    """
    tape, request = Tape(folder, auxiliary=True), asked(federation.held[:-1], forget, rounds)
    before = federation.run(tape, "trunk", fresh(seed), rounds, seed)
    masks = {"forgotten": {"head.weight": before["head.weight"] > 0}, "control": {}}
    for branch, held in (("forgotten", without_class(federation.held, forget)), ("control", federation.held)):
        other = Federation(held, federation.kind, federation.rate, federation.batch)
        sent = [Update(client, "statistics", {"counts": np.arange(3.0)}, len(ids)) for client, ids in enumerate(held)]
        tape.on_round(branch, Order(rounds + 1, Task("count", reply="statistics"), before, {}), sent)
        final = other.run(tape, branch, before, extra, seed + 1000)
        tape.mark(
            branch,
            request_round=rounds,
            before=before,
            after=final,
            final=final,
            method=branch,
            clients=len(federation.held),
            requests=[request],
            pruned=masks[branch],
        )
    return tape


def pruned_run(folder: Path, federation: Federation, rounds: int, extra: int, forget: int, seed: int = 0) -> Tape:
    """Record a trunk and the branch `forgotten`, on which a tenth of the first layer and two of its units are zeroed.

    Clients then train on without the class; after every round the server zeroes the same weights again.
    """
    tape, request = Tape(folder), asked(federation.held[:-1], forget, rounds)
    before = federation.run(tape, "trunk", fresh(seed), rounds, seed)
    rng = np.random.default_rng(seed)
    gone = rng.random(before["body.fc1.weight"].shape) < 0.1
    gone[:2] = True
    masks = {"body.fc1.weight": gone, "body.fc1.bias": gone.all(axis=1)}
    zeroed = lambda weights: weights | {name: np.where(m, 0, weights[name]).astype("f4") for name, m in masks.items()}  # noqa: E731
    other = Federation(without_class(federation.held, forget), federation.kind, federation.rate, federation.batch)
    weights = after = zeroed(before)
    for number in range(1, extra + 1):
        order = Order(number, Task("work", {"learning-rate": other.rate}, other.kind), weights, {})
        updates, grown = other.round(weights, number, rng)
        tape.on_round("forgotten", order, updates)
        tape.on_model("forgotten", number, grown)
        weights = zeroed(grown)
        tape.on_model("forgotten", number, weights)
    tape.mark(
        "forgotten",
        request_round=rounds,
        before=before,
        after=after,
        final=weights,
        method="pruning",
        clients=len(federation.held),
        requests=[request],
        pruned=masks,
    )
    return tape
