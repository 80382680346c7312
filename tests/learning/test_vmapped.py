"""Many clients at once: the same as one by one, and the same in any company."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedunlearn.learning import vmapped
from tests.learning.workshop import Workshop, assert_same, mlp, perform

TASKS: dict[str, dict[str, Any]] = {
    "gradient": {"batch-size": 4},
    "train": {"batch-size": 4, "learning-rate": 0.05, "local-epochs": 2, "momentum": 0.5, "weight-decay": 0.01},
}
client_sizes = st.lists(st.integers(1, 14), min_size=1, max_size=9)


@settings(max_examples=15, deadline=None)
@given(client_sizes, st.sampled_from(sorted(TASKS)), st.sampled_from([1, 3, 8, 32]))
def test_it_agrees_with_the_loop(sizes: list[int], task: str, batch_size: int) -> None:
    asked = TASKS[task] | {"batch-size": batch_size}
    many, one = mlp(sizes, executor="vmap"), mlp(sizes, executor="loop")
    updates, failures = perform(many.worker(), many.order(task, asked))
    expected, _ = perform(one.worker(), one.order(task, asked))
    assert not failures
    for client, update in updates.items():
        assert update.kind == expected[client].kind
        assert_same(dict(update.payload), dict(expected[client].payload), 1e-6)
        assert update.metrics["loss"] == pytest.approx(expected[client].metrics["loss"], abs=1e-5)
        assert update.metrics["seconds"] > 0


@settings(max_examples=15, deadline=None)
@given(client_sizes, st.sampled_from(sorted(TASKS)), st.data())
def test_no_bit_depends_on_the_grouping(sizes: list[int], task: str, data: st.DataObject) -> None:
    shop = mlp(sizes, executor="vmap")
    worker = shop.worker()
    together, _ = perform(worker, shop.order(task, TASKS[task]))
    clients = data.draw(st.permutations(range(len(sizes))))
    for group_size in (1, 2, 3):
        for start in range(0, len(clients), group_size):
            updates, _ = perform(worker, shop.order(task, TASKS[task], clients[start : start + group_size]))
            for client, update in updates.items():
                assert_same(dict(update.payload), dict(together[client].payload))
                assert update.metrics["loss"] == together[client].metrics["loss"]


@pytest.mark.parametrize(
    "model",
    [{"name": "logistic"}, {"name": "mlp"}, {"name": "mlp", "width": 37, "activation": "sigmoid"}],
    ids=["logistic", "mlp", "sigmoid"],
)
@pytest.mark.parametrize(("shape", "batch_size"), [((1, 28, 28), 7), ((3, 32, 32), 10), ((1, 9, 11), 33)])
def test_no_bit_depends_on_the_grouping_at_other_sizes(
    model: dict[str, object], shape: tuple[int, int, int], batch_size: int
) -> None:
    shop = Workshop([17, 40, 3, 33, 21], model, "vmap", shape)
    worker, asked = shop.worker(), {"batch-size": batch_size, "learning-rate": 0.1}
    together, _ = perform(worker, shop.order("train", asked))
    for group in ([0], [1], [2], [3, 4], [4, 0, 2]):
        for client, update in perform(worker, shop.order("train", asked, group))[0].items():
            assert_same(dict(update.payload), dict(together[client].payload))


def test_no_bit_depends_on_the_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = mlp([5, 9, 2, 14, 7, 7], executor="vmap")
    results = {}
    for floats in (1, 2_400, vmapped.CHUNK_FLOATS):
        monkeypatch.setattr(vmapped, "CHUNK_FLOATS", floats)
        order = shop.order("train", TASKS["train"])
        results[len(shop.worker().perform(order)[0])] = perform(shop.worker(), order)[0]
    assert sorted(results) == [1, 3, 6]  # chunks
    for updates in results.values():
        for client, update in updates.items():
            assert_same(dict(update.payload), dict(results[1][client].payload))


def test_a_client_that_diverges_harms_nobody_else() -> None:
    shop = mlp([6, 6, 6], executor="vmap")
    worker, order = shop.worker(), shop.order("train", TASKS["train"])
    healthy, _ = perform(worker, order)
    worker._vmap._samples.x[shop.partition[1]] = np.nan  # type: ignore[union-attr]
    updates, _ = perform(worker, order)
    assert np.isnan(updates[1].payload["head.weight"]).any()
    for client in (0, 2):
        assert_same(dict(updates[client].payload), dict(healthy[client].payload))


def test_one_stack_holds_all_clients_of_a_chunk() -> None:
    shop = mlp([4] * 20, executor="vmap")
    stacks, _ = shop.worker().perform(shop.order("gradient", TASKS["gradient"]))
    (stack,) = stacks
    assert sorted(stack.client_ids) == list(range(20))
    assert stack.payload["head.weight"].shape[0] == 20


def test_settings_that_cannot_be_used_fail_every_client() -> None:
    shop = mlp([4, 4], executor="vmap")
    _, failures = perform(shop.worker(), shop.order("train", {"batch-size": 4}))
    assert failures == dict.fromkeys((0, 1), 'ValueError: the task\'s settings lack "learning-rate"')


@pytest.mark.parametrize("task", sorted(TASKS))
def test_a_probe_may_ask_for_more_than_anybody_holds(task: str) -> None:
    shops = [mlp([3, 4, 2], executor=executor) for executor in ("vmap", "loop")]
    found = []
    for shop in shops:
        order = shop.order(task, TASKS[task] | {"batch-size": 8})
        jobs = {client: replace(job, samples=tuple(range(7))) for client, job in order.jobs.items()}
        found.append(perform(shop.worker(), replace(order, jobs=jobs))[0])
    for client, update in found[0].items():
        assert_same(dict(update.payload), dict(found[1][client].payload), 1e-6)
