"""Which client holds which training samples; dealt out by the partitioners of flwr-datasets."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from fedunlearn.data.quiet import quiet_datasets
from fedunlearn.data.settings import PartitionSettings
from fedunlearn.errors import ScenarioError
from fedunlearn.randomness import rng
from fedunlearn.registry import Registry

if TYPE_CHECKING:
    from flwr_datasets.partitioner import Partitioner

# (labels of the rows, settings, number of clients, random numbers) -> the rows of each client
Dealer = Callable[[np.ndarray, PartitionSettings, int, np.random.Generator], list[np.ndarray]]
PARTITIONS: Registry[Dealer] = Registry("partition kind")


def partition(
    labels: np.ndarray, train_ids: np.ndarray, settings: PartitionSettings, num_clients: int, seed: int
) -> list[np.ndarray]:
    """Deal the training samples out to the clients, from the stream `partition`.

    Every client gets at least one sample, no sample goes to two clients, and every sample goes to one
    (but for by-size, when the sizes add up to fewer).

    Args:
        labels: the classes of the training samples, aligned with `train_ids`.
        train_ids: their sample ids.
        settings: the kind of partition and its settings.
        num_clients: how many clients.
        seed: the scenario's.

    Returns:
        For each client its sorted sample ids (int64).

    Raises:
        ScenarioError: when the samples do not suffice; the message says which setting to change.
    """
    deal = PARTITIONS[settings.kind]
    if num_clients > len(train_ids):
        why = f"the {len(train_ids)} training samples are too few to give each client one"
        raise ScenarioError(f"federation.clients = {num_clients}: {why}")
    generator = rng(seed, "partition")
    # The partitioners for iid and by-size take rows as they come, so the rows come in random order.
    order = generator.permutation(len(train_ids))
    shares = deal(np.asarray(labels)[order], settings, num_clients, generator)
    return [np.sort(train_ids[order[rows]]) for rows in shares]


def _seed(draws: np.random.Generator) -> int:
    """Return a seed for a partitioner; without one it would fall back on its own constant."""
    return int(draws.integers(2**31))


def _rows(partitioner: Partitioner, labels: np.ndarray, num_partitions: int) -> list[np.ndarray]:
    """Return the rows of each partition; raise what the partitioner raises."""
    with quiet_datasets():
        import datasets

        table = {"row": np.arange(len(labels)), "label": labels}
        partitioner.dataset = datasets.Dataset.from_dict(table)
        return [
            np.array(partitioner.load_partition(number)["row"][:], dtype=np.int64) for number in range(num_partitions)
        ]


@PARTITIONS.register("iid")
def _iid(
    labels: np.ndarray, settings: PartitionSettings, num_clients: int, draws: np.random.Generator
) -> list[np.ndarray]:
    """Samples at random, the same number for every client (give or take one)."""
    from flwr_datasets.partitioner import IidPartitioner

    return _rows(IidPartitioner(num_clients), labels, num_clients)


@PARTITIONS.register("dirichlet")
def _dirichlet(
    labels: np.ndarray, settings: PartitionSettings, num_clients: int, draws: np.random.Generator
) -> list[np.ndarray]:
    """Each class dealt out by a draw from a Dirichlet distribution: small alpha, few classes per client."""
    from flwr_datasets.partitioner import DirichletPartitioner

    alpha, fewest = float(settings.alpha), max(1, settings.min_size)
    if not 0 < alpha < math.inf:
        raise ScenarioError(f"partition.alpha = {settings.alpha}: must be greater than 0 and finite")
    partitioner = DirichletPartitioner(num_clients, "label", alpha, fewest, shuffle=False, seed=_seed(draws))
    try:
        return _rows(partitioner, labels, num_clients)
    except ValueError as error:
        why = f"none of ten draws gave each of {num_clients} clients {fewest} of the {len(labels)} training samples"
        remedy = "raise alpha, lower partition.min-size or take fewer clients"
        raise ScenarioError(f"partition.alpha = {settings.alpha}: {why}; {remedy}") from error


@PARTITIONS.register("pathological")
def _pathological(
    labels: np.ndarray, settings: PartitionSettings, num_clients: int, draws: np.random.Generator
) -> list[np.ndarray]:
    """The same number of classes for every client (classes-per-client), drawn at random; no class is left out."""
    from flwr_datasets.partitioner import PathologicalPartitioner

    present, each = len(np.unique(labels)), settings.classes_per_client
    if not 1 <= each <= present:
        raise ScenarioError(f"partition.classes-per-client = {each}: must be from 1 to the {present} classes there are")
    if num_clients * each < present:
        why = f"{num_clients} clients hold at most {num_clients * each} of the {present} classes"
        raise ScenarioError(f"partition.classes-per-client = {each}: {why}; raise it or take more clients")
    renamed = _shuffle_classes(labels, draws)
    try:
        if num_clients >= present:
            random = PathologicalPartitioner(num_clients, "label", each, "first-deterministic", False, _seed(draws))
            return _rows(random, renamed, num_clients)
        # With fewer clients than classes random draws would leave classes to nobody. So cut every class into as many
        # pieces as needed, in the order 0, 1, .., 0, 1, .., and give each client consecutive pieces.
        pieces = PathologicalPartitioner(num_clients * each, "label", 1, "first-deterministic", False, _seed(draws))
        cut = _rows(pieces, renamed, num_clients * each)
        return [np.concatenate(cut[client * each : (client + 1) * each]) for client in range(num_clients)]
    except ValueError as error:
        why = f"some class has fewer samples than the clients that are to hold it ({len(labels)} samples in all)"
        raise ScenarioError(f"partition.classes-per-client = {each}: {why}; lower it or take fewer clients") from error


def _shuffle_classes(labels: np.ndarray, draws: np.random.Generator) -> np.ndarray:
    """Return the labels under other names: the first client's first class shall not always be class 0."""
    classes, numbers = np.unique(labels, return_inverse=True)
    return draws.permutation(len(classes))[numbers]


@PARTITIONS.register("shard")
def _shard(
    labels: np.ndarray, settings: PartitionSettings, num_clients: int, draws: np.random.Generator
) -> list[np.ndarray]:
    """The samples sorted by class, cut into equal shards, and so many shards for each client (shards-per-client)."""
    from flwr_datasets.partitioner import ShardPartitioner

    each = settings.shards_per_client
    if each < 1:
        raise ScenarioError(f"partition.shards-per-client = {each}: must be at least 1")
    # Rounded up: the last shard may be smaller (and a few missing) but no sample is left over.
    size = math.ceil(len(labels) / (num_clients * each))
    shards = math.ceil(len(labels) / size)
    if shards < num_clients:
        why = f"{len(labels)} training samples make {shards} shards of {size}, too few for {num_clients} clients"
        raise ScenarioError(f"partition.shards-per-client = {each}: {why}; raise it or take fewer clients")
    partitioner = ShardPartitioner(
        num_clients, "label", shard_size=size, keep_incomplete_shard=True, shuffle=False, seed=_seed(draws)
    )
    return _rows(partitioner, labels, num_clients)


@PARTITIONS.register("by-size")
def _by_size(
    labels: np.ndarray, settings: PartitionSettings, num_clients: int, draws: np.random.Generator
) -> list[np.ndarray]:
    """Samples at random, so many for each client (sizes); what is left over goes to nobody."""
    from flwr_datasets.partitioner import SizePartitioner

    sizes = [int(size) for size in settings.sizes]
    if len(sizes) != num_clients:
        raise ScenarioError(f"partition.sizes: {len(sizes)} numbers for federation.clients = {num_clients}")
    if min(sizes) < 1:
        raise ScenarioError(f"partition.sizes: client {sizes.index(min(sizes))} has {min(sizes)} samples; at least 1")
    if sum(sizes) > len(labels):
        raise ScenarioError(f"partition.sizes: {sum(sizes)} samples in all, but only {len(labels)} to train on")
    return _rows(SizePartitioner(sizes), labels, num_clients)
