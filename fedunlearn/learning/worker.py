"""What acts for the clients in a worker process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import groupby
from typing import Any

import numpy as np

from fedunlearn.data import Poison, open_dataset, open_partition, poisoned
from fedunlearn.federation import Failure, Order, Update, select_samples
from fedunlearn.learning.arithmetic import pin_arithmetic
from fedunlearn.learning.client import Samples
from fedunlearn.learning.faults import fault_for, strike
from fedunlearn.learning.loop import LoopExecutor, attempt
from fedunlearn.learning.site import Executor, Site
from fedunlearn.learning.vmapped import VmapExecutor
from fedunlearn.models import Architecture, Classifier, build
from fedunlearn.wire import Stack, stack

Results = tuple[list[Stack], list[Failure]]


def choose_executor(model: Classifier, device: str) -> Executor:
    """Return the executor of a model: a fixed rule, so that it never depends on a measurement at run time.

    vmap for models of linear layers only, where it takes less than a tenth of the loop's time; the loop for
    convolutions, which vmap turns into grouped convolutions that are slower than the loop on CPU.
    """
    return "vmap" if model.linear_only else "loop"


class Worker:
    """Performs orders for any of a site's clients, with one resident model.

    It keeps nothing of a client after its order, so memory does not grow with the number of clients. Constructing
    one pins the process's arithmetic (`pin_arithmetic`).

    Args:
        site: the description of the work.
        samples: the data set as the clients hold it; None to open the site's folder and lay its poison over it.
        partition: the sorted sample ids of each client; None to open the site's folder.
    """

    def __init__(
        self, site: Site, samples: Samples | None = None, partition: Sequence[np.ndarray] | None = None
    ) -> None:
        pin_arithmetic()
        self._site = site
        self._partition = open_partition(site.partition) if partition is None else partition
        samples = _open_samples(site, self._partition) if samples is None else samples
        architecture = Architecture(**site.model)
        model = build(architecture, site.image_shape, site.num_classes, None, site.pixel_stats).to(site.device)
        self._loop = LoopExecutor(model, samples, site.seed, site.device, site.client_timeout)
        self._vmap: VmapExecutor | None = None
        if site.executor == "vmap":
            largest = max(len(ids) for ids in self._partition)
            self._vmap = VmapExecutor(model, samples, site.seed, site.device, largest)

    def perform(self, order: Order) -> tuple[list[Stack], list[Failure]]:
        """Return the updates and the failures of all clients in `order.jobs`.

        A client that raises, takes longer than the site's limit, returns nothing or has no samples in its view
        becomes a `Failure`; the others go on. The settings key "faults" injects faults (`fault_for`).
        """
        stacks: list[Stack] = []
        failures: list[Failure] = []
        for settings, held in self._groups(order):
            failures += [Failure(client, "has no samples to work on") for client, ids in held.items() if not len(ids)]
            held = {client: ids for client, ids in held.items() if len(ids)}
            faults = self._faults(order, settings, held)
            healthy = {client: ids for client, ids in held.items() if client not in faults}
            results = [self._run(order, settings, healthy)] if healthy else []
            results += [self._strike(order, settings, {c: held[c]}, kind) for c, kind in faults.items()]
            for done, failed in results:
                stacks += done
                failures += failed
        return stacks, failures

    def _groups(self, order: Order) -> Iterator[tuple[dict[str, Any], dict[int, np.ndarray]]]:
        """Yield (settings, sample ids by client) for clients with equal settings.

        Only for speed: no client's result depends on who is in its group.
        """
        for own, clients in groupby(sorted(order.jobs), key=lambda client: order.jobs[client].settings):
            yield {**order.task.settings, **own}, {client: self._samples_of(order, client) for client in clients}

    def _samples_of(self, order: Order, client: int) -> np.ndarray:
        held, view, given = self._partition[client], order.jobs[client].view, order.jobs[client].samples
        if given is not None:
            return np.array(given, np.int64)
        past, current = order.past.get(client), order.current.get(client)
        if past is None and current is None and view != "forget":
            return held  # what select_samples returns, without its set operations: most clients in most rounds
        return select_samples(held, view, past, current)

    def _faults(self, order: Order, settings: Mapping[str, Any], clients: Iterable[int]) -> dict[int, str]:
        tables = settings.get("faults", ())
        struck = {client: fault_for(self._site.seed, order.call, client, tables) for client in clients if tables}
        return {client: kind for client, kind in struck.items() if kind is not None}

    def _run(self, order: Order, settings: Mapping[str, Any], held: Mapping[int, np.ndarray]) -> Results:
        executor = self._vmap if self._vmap and order.task.name in self._vmap.tasks else self._loop
        seconds = self._site.client_timeout * len(held)
        results = attempt(list(held), seconds, partial(executor.run, order, settings, held))
        return ([], results) if isinstance(results, list) else results

    def _strike(self, order: Order, settings: Mapping[str, Any], held: Mapping[int, np.ndarray], kind: str) -> Results:
        """Return what one faulty client answers; alone, so that the others' call stays whole."""

        def work() -> Update | Failure:
            done, failed = self._run(order, settings, held)
            return failed[0] if failed else done[0].updates()[0]

        (client,) = held
        outcome = attempt([client], self._site.client_timeout, partial(strike, kind, client, work))
        if isinstance(outcome, Update):
            return stack([outcome]), []
        return [], outcome if isinstance(outcome, list) else [outcome]


def _open_samples(site: Site, partition: Sequence[np.ndarray]) -> Samples:
    dataset = open_dataset(site.dataset)
    return poisoned(dataset, partition, Poison(**site.poison), site.data_seed) if site.poison else dataset


@lru_cache(maxsize=4)
def worker_for(site_json: str) -> Worker:
    """Return this process's worker for a site, made when first asked for."""
    return Worker(Site.from_json(site_json))
