"""A worker performs orders for any client and forgets them."""

import gc
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedunlearn.data import open_dataset, prepare, save_partition
from fedunlearn.federation import Job, Order, Task, Update, select_samples
from fedunlearn.learning import LocalClient, Site, Worker, choose_executor, worker_for
from fedunlearn.models import MODELS, Architecture, build, to_weights
from fedunlearn.randomness import rng
from fedunlearn.scenario import DataSettings
from tests.learning.workshop import MemorySamples, Workshop, assert_same, client_half, mlp, perform

SETTINGS = {"batch-size": 3, "learning-rate": 0.1}


def test_a_site_survives_its_journey() -> None:
    site = Site("d", "p", {"name": "mlp", "width": 3}, ((0.1, 0.2), (1.0, 2.0)), (2, 8, 8), 4, 7, "cpu", "vmap", 5.0)
    copy = Site.from_json(site.to_json())
    assert copy.to_json() == site.to_json()
    assert copy.image_shape == (2, 8, 8)


def test_a_worker_opens_its_folders_once_per_process(tmp_path: Path) -> None:
    source = prepare(DataSettings(name="digits"), tmp_path / "cache")
    dataset = open_dataset(source)
    partition = [np.arange(0, 20), np.arange(20, 50)]
    save_partition(partition, tmp_path / "partition")
    folders = str(source), str(tmp_path / "partition")
    site = Site(*folders, {"name": "mlp"}, (0.3, 0.4), dataset.image_shape, 10, 1, executor="vmap")
    worker = worker_for(site.to_json())
    assert worker_for(site.to_json()) is worker
    weights = to_weights(build(Architecture("mlp"), dataset.image_shape, 10, np.random.default_rng(0)))
    order = Order(1, Task("train", SETTINGS), weights, {0: Job(), 1: Job()})
    updates, failures = perform(worker, order)
    assert not failures
    by_loop, _ = perform(Worker(replace(site, executor="loop")), order)
    for client in (0, 1):
        assert_same(dict(updates[client].payload), dict(by_loop[client].payload), 1e-6)
    assert torch.get_num_threads() == 1


def test_each_client_of_an_order_starts_from_the_broadcast() -> None:
    shop = Workshop([6, 6, 6], {"name": "resnet18", "norm": "batch", "width": 4})
    worker = shop.worker()
    together, _ = perform(worker, shop.order("train", SETTINGS))
    for client in (2, 0):
        alone, _ = perform(worker, shop.order("train", SETTINGS, [client]))
        assert_same(dict(alone[client].payload), dict(together[client].payload))


@pytest.mark.parametrize("executor", ["loop", "vmap"])
@pytest.mark.parametrize("view", ["all", "retain", "forget"])
def test_a_client_works_on_its_view(executor: str, view: Any) -> None:
    shop = mlp([9, 9], executor=executor)
    held = shop.partition[0]
    past, current = held[[0, 4]], held[[1, 2]]
    order = shop.order("train", SETTINGS)
    order = replace(order, jobs={0: Job(view=view)}, past={0: past}, current={0: current})
    updates, _ = perform(shop.worker(), order)
    expected = select_samples(held, view, past, current)
    site = replace(shop.worker()._site, executor="loop")
    direct = Worker(site, shop.samples, [expected])
    assert_same(dict(updates[0].payload), dict(perform(direct, shop.order("train", SETTINGS, [0]))[0][0].payload), 1e-6)


@pytest.mark.parametrize("executor", ["loop", "vmap"])
def test_a_client_without_samples_fails_and_the_rest_goes_on(executor: str) -> None:
    shop = mlp([4, 4], executor=executor)
    order = replace(shop.order("train", SETTINGS), jobs={0: Job(view="forget"), 1: Job()})
    updates, failures = perform(shop.worker(), order)
    assert failures == {0: "has no samples to work on"}
    assert list(updates) == [1]


@pytest.mark.parametrize("executor", ["loop", "vmap"])
def test_a_job_may_have_settings_of_its_own(executor: str) -> None:
    shop = mlp([4, 4, 4], executor=executor)
    worker, order = shop.worker(), shop.order("train", SETTINGS)
    slower = Job({"learning-rate": 0.01})
    updates, _ = perform(worker, replace(order, jobs={0: Job(), 1: slower, 2: Job()}))
    usual, _ = perform(worker, order)
    slow, _ = perform(worker, shop.order("train", SETTINGS | {"learning-rate": 0.01}))
    for client, expected in ((0, usual), (1, slow), (2, usual)):
        assert_same(dict(updates[client].payload), dict(expected[client].payload))


def broken(client: LocalClient, settings: Mapping[str, Any]) -> Update:
    if client.client_id == 1:
        raise ValueError("bad luck\nand more lines")
    draws = client.rng("noise").random(2)
    return Update(client.client_id, "statistics", {"mean": client.images.mean(0).numpy(), "draws": draws}, 1)


@pytest.mark.parametrize("executor", ["loop", "vmap"])
def test_new_client_halves_need_no_other_change(executor: str) -> None:
    shop = mlp([4, 4, 4], executor=executor)
    with client_half("broken", broken):
        updates, failures = perform(shop.worker(), shop.order("broken", {}))
    assert failures == {1: "ValueError: bad luck"}
    np.testing.assert_allclose(updates[2].payload["mean"], shop.samples.x[shop.partition[2]].mean(0), rtol=1e-5)
    assert (updates[0].payload["draws"] != updates[2].payload["draws"]).all()


def drawing(client: LocalClient, settings: Mapping[str, Any]) -> Update:
    share = client.labels.double().mean().item()
    return Update(client.client_id, "statistics", {"draws": client.rng("noise").random(3), "share": np.array(share)}, 1)


@pytest.mark.parametrize("executor", ["loop", "vmap"])
def test_a_client_draws_its_own_numbers_in_any_company(executor: str) -> None:
    shop = mlp([4, 2, 4], executor=executor)
    worker = shop.worker()
    with client_half("drawing", drawing):
        order = replace(shop.order("drawing", {}), call=5)
        together, _ = perform(worker, order)
        alone, _ = perform(worker, replace(order, jobs={2: Job()}))
        next_call, _ = perform(worker, replace(order, call=6))
    for client, update in together.items():
        np.testing.assert_array_equal(update.payload["draws"], rng(shop.seed, "noise", 5, client).random(3))
        np.testing.assert_array_equal(next_call[client].payload["draws"], rng(shop.seed, "noise", 6, client).random(3))
        assert update.payload["share"] == shop.samples.y[shop.partition[client]].mean()
    assert_same(dict(alone[2].payload), dict(together[2].payload))


@dataclass(frozen=True)
class Noting(MemorySamples):
    """Samples that note how many images are read at once."""

    read: list[int] = field(default_factory=list)

    def images(self, ids: np.ndarray) -> np.ndarray:
        self.read.append(len(ids))
        return super().images(ids)


@pytest.mark.parametrize("task", ["train", "gradient"])
def test_a_client_reads_one_batch_at_a_time(task: str) -> None:
    shop = mlp([50, 7])
    samples = Noting(shop.samples.x, shop.samples.y)
    worker = Worker(shop.worker()._site, samples, shop.partition)
    updates, failures = perform(worker, shop.order(task, SETTINGS))
    assert len(updates) == 2
    assert not failures
    assert max(samples.read) == SETTINGS["batch-size"]


def test_a_half_that_returns_nothing_and_an_unknown_task_are_failures() -> None:
    shop = mlp([4])
    with client_half("mute", lambda client, settings: None):  # type: ignore[arg-type, return-value]
        assert perform(shop.worker(), shop.order("mute", {}))[1] == {0: "returned nothing"}
    _, failures = perform(shop.worker(), shop.order("trian", {}))
    assert failures[0].startswith('ScenarioError: unknown client task "trian"; did you mean "train"')


@pytest.mark.parametrize("executor", ["loop", "vmap"])
def test_weights_of_another_model_fail_the_order_not_the_worker(executor: str) -> None:
    shop = mlp([4, 4], executor=executor)
    worker, order = shop.worker(), shop.order("train", SETTINGS)
    _, failures = perform(worker, replace(order, weights={"head.weight": np.ones((5, 3), np.float32)}))
    assert set(failures) == {0, 1}
    assert perform(worker, order)[1] == {}


@pytest.mark.parametrize("executor", ["loop", "vmap"])
def test_the_broadcast_is_not_changed_and_may_be_read_only(executor: str) -> None:
    shop = mlp([7, 4], executor=executor)
    order = shop.order("train", SETTINGS | {"momentum": 0.9, "proximal-mu": 0.1})
    before = {name: array.copy() for name, array in order.weights.items()}
    for array in order.weights.values():
        array.flags.writeable = False
    _, failures = perform(shop.worker(), order)
    assert not failures
    assert_same(order.weights, before)


def test_nothing_of_a_client_stays_behind() -> None:
    shop = mlp([2] * 50)
    worker = shop.worker()
    perform(worker, shop.order("train", SETTINGS))
    gc.collect()
    assert not [thing for thing in gc.get_objects() if type(thing) is LocalClient]


def test_the_executor_is_a_fixed_rule() -> None:
    for name in MODELS:
        model = build(Architecture(name), (1, 8, 8), 3, None)
        expected = "vmap" if name in ("logistic", "mlp", "deep-mlp") else "loop"
        assert {choose_executor(model, device) for device in ("cpu", "cuda")} == {expected}
