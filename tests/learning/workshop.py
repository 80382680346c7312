"""A worker over a few random images in memory."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from fedunlearn.federation import Failure, Job, Kind, Order, Task, Update, Weights
from fedunlearn.learning import CLIENT_TASKS, Site, Worker
from fedunlearn.learning.client import ClientHalf
from fedunlearn.models import Architecture, Classifier, build, to_weights

CLASSES = 5


@dataclass(frozen=True)
class MemorySamples:
    """Random images and labels: sample id = row."""

    x: np.ndarray
    y: np.ndarray

    def images(self, ids: np.ndarray) -> np.ndarray:
        """Return float32 copies."""
        return self.x[ids]

    def labels(self, ids: np.ndarray) -> np.ndarray:
        """Return int64 copies."""
        return self.y[ids]


@dataclass(frozen=True)
class Workshop:
    """Clients with `sizes` samples each, and a worker for them."""

    sizes: Sequence[int]
    model: Mapping[str, Any]
    executor: str = "loop"
    image_shape: tuple[int, int, int] = (1, 8, 8)
    timeout: float = 60.0
    seed: int = 3

    @property
    def samples(self) -> MemorySamples:
        """As many samples as the clients hold."""
        draws, n = np.random.default_rng(11), sum(self.sizes)
        return MemorySamples(draws.random((n, *self.image_shape), np.float32), draws.integers(0, CLASSES, n))

    @property
    def partition(self) -> list[np.ndarray]:
        """Every client's samples lie scattered over the data set."""
        ids = np.random.default_rng(12).permutation(sum(self.sizes))
        return [np.sort(part) for part in np.split(ids, np.cumsum(self.sizes)[:-1])]

    def blank(self) -> Classifier:
        """Return a model of the site."""
        draws = np.random.default_rng(0)
        return build(Architecture(**self.model), self.image_shape, CLASSES, draws, (0.5, 0.25))

    def weights(self) -> Weights:
        """Return initial weights."""
        return to_weights(self.blank())

    def worker(self) -> Worker:
        """Return a new worker."""
        site = Site(
            dataset="",
            partition="",
            model=self.model,
            pixel_stats=(0.5, 0.25),
            image_shape=self.image_shape,
            num_classes=CLASSES,
            seed=self.seed,
            executor=self.executor,  # type: ignore[arg-type]
            client_timeout=self.timeout,
        )
        return Worker(site, self.samples, self.partition)

    def order(self, task: str, settings: Mapping[str, Any], clients: Sequence[int] | None = None) -> Order:
        """Return the order of call 1 to `clients` (all)."""
        reply: Kind = {"train": "weights", "gradient": "gradient"}.get(task, "statistics")  # type: ignore[assignment]
        jobs = {client: Job() for client in (range(len(self.sizes)) if clients is None else clients)}
        return Order(1, Task(task, settings, reply), self.weights(), jobs)


def perform(worker: Worker, order: Order) -> tuple[dict[int, Update], dict[int, str]]:
    """Return updates and failure reasons by client."""
    stacks, failures = worker.perform(order)
    updates = [update for stack in stacks for update in stack.updates()]
    assert all(isinstance(failure, Failure) for failure in failures)
    assert len(updates) + len(failures) == len(order.jobs)
    return {update.client_id: update for update in updates}, {f.client_id: f.reason for f in failures}


def assert_same(one: Weights, other: Weights, tolerance: float = 0.0) -> None:
    """Check that two payloads agree: names, dtypes, and values to an absolute tolerance (0: to the last bit)."""
    assert list(one) == list(other)
    for name, array in one.items():
        assert array.dtype == other[name].dtype
        assert array.shape == other[name].shape
        if tolerance:
            np.testing.assert_allclose(array, other[name], rtol=0, atol=tolerance, err_msg=name)
        else:
            np.testing.assert_array_equal(array, other[name], err_msg=name)


@contextmanager
def client_half(name: str, half: ClientHalf) -> Iterator[None]:
    """Register a client half for the length of the block."""
    CLIENT_TASKS.register(name)(half)
    try:
        yield
    finally:
        del CLIENT_TASKS._entries[name]


mlp = partial(Workshop, model={"name": "mlp", "width": 12})
