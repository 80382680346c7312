"""The order in which clients visit their samples."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fedunlearn.learning import draw_batch, epoch_batches
from fedunlearn.learning.batches import GOLDEN, MOST_SAMPLES, StackedBatches, mix, shuffles

sizes_of_clients = st.lists(st.integers(1, 40), min_size=1, max_size=12)


def test_mix_is_splitmix64() -> None:
    steps = np.arange(1, 6, dtype=np.uint64)
    # reference outputs for the seed 1234567: https://rosettacode.org/wiki/Pseudo-random_numbers/Splitmix64
    expected = [
        6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821,
    ]  # fmt: skip
    assert mix(np.uint64(1234567) + GOLDEN * steps).tolist() == expected


@settings(deadline=None)
@given(sizes_of_clients, st.integers(0, 2**32 - 1), st.integers(1, 10_000), st.integers(1, 3))
def test_every_order_is_a_permutation_and_independent_of_the_company(
    sizes: list[int], seed: int, call: int, epochs: int
) -> None:
    clients = list(range(7, 7 + len(sizes)))
    orders = shuffles(seed, call, clients, np.array(sizes), epochs)
    for row, (client, size) in enumerate(zip(clients, sizes, strict=True)):
        for epoch in range(epochs):
            assert sorted(orders[row, epoch, :size].tolist()) == list(range(size))
        alone = shuffles(seed, call, [client], np.array([size]), epochs)
        np.testing.assert_array_equal(alone[0], orders[row, :, :size])


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 20), st.integers(1, 3))
def test_an_epoch_visits_every_sample_once(n: int, batch_size: int, epochs: int) -> None:
    batches = epoch_batches(0, 1, 2, n, batch_size, epochs)
    per_epoch = -(-n // batch_size)
    assert len(batches) == per_epoch * epochs
    for epoch in range(epochs):
        visited = np.concatenate(batches[epoch * per_epoch : (epoch + 1) * per_epoch])
        assert sorted(visited.tolist()) == list(range(n))
    np.testing.assert_array_equal(draw_batch(0, 1, 2, n, batch_size), batches[0])


def test_all_orders_are_equally_likely() -> None:
    clients, calls = list(range(600)), range(1, 21)
    orders = np.concatenate([shuffles(5, call, clients, np.full(600, 4), 2).reshape(-1, 4) for call in calls])
    code = orders @ [64, 16, 4, 1]
    counts = [np.count_nonzero(code == np.dot(p, [64, 16, 4, 1])) for p in permutations(range(4))]
    assert sum(counts) == len(orders)
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("apart", ["client", "call", "epoch", "seed"])
def test_neighbours_draw_independently(apart: str) -> None:
    n, count = 6, 5000

    def first(seed: int = 0, call: int = 1, shift: int = 0, epoch: int = 0) -> np.ndarray:
        clients = range(shift, shift + count)
        return shuffles(seed, call, clients, np.full(count, n), 2)[:, epoch, 0]

    others = {"client": first(shift=1), "call": first(call=2), "epoch": first(epoch=1), "seed": first(seed=1)}
    table = np.histogram2d(first(), others[apart], bins=n)[0]
    assert stats.chi2_contingency(table).pvalue > 1e-3


def test_a_drawn_batch_holds_every_sample_equally_often() -> None:
    drawn = np.concatenate([draw_batch(1, call, client, 20, 6) for call in range(1, 40) for client in range(40)])
    assert stats.chisquare(np.bincount(drawn, minlength=20)).pvalue > 1e-3


@settings(deadline=None)
@given(sizes_of_clients, st.integers(1, 12), st.integers(1, 2))
def test_stacked_batches_are_the_batches_of_each_client(sizes: list[int], batch_size: int, epochs: int) -> None:
    sizes = sorted(sizes, reverse=True)
    held = {client: np.arange(size) * 100 + client for client, size in enumerate(sizes)}
    stacked = StackedBatches(0, 1, held, batch_size, min(batch_size, max(sizes)), epochs)
    expected = {c: epoch_batches(0, 1, c, len(ids), batch_size, epochs) for c, ids in held.items()}
    assert stacked.steps.tolist() == [len(batches) for batches in expected.values()]
    for step in range(stacked.steps[0]):
        active = int((stacked.steps > step).sum())
        ids, real = stacked.at(step, active)
        assert ids.shape == real.shape
        for client in range(active):
            np.testing.assert_array_equal(ids[client][real[client]], held[client][expected[client][step]])
            assert set(ids[client] % 100) == {client}


def test_more_samples_than_can_be_shuffled_are_refused() -> None:
    with pytest.raises(ValueError, match="at most"):
        shuffles(0, 1, [0], np.array([MOST_SAMPLES + 1]), 1)
