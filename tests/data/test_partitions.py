import numpy as np
import pytest
from data_stubs import Dealing
from hypothesis import given, settings
from hypothesis import strategies as st

from fedunlearn.data import PARTITIONS, partition
from fedunlearn.errors import ScenarioError

KINDS = ["iid", "dirichlet", "pathological", "shard", "by-size"]


def samples(count: int, classes: int = 10, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and sample ids that are neither contiguous nor start at 0."""
    draws = np.random.default_rng(seed)
    ids = np.sort(draws.choice(10 * count, count, replace=False)) + 7
    return draws.permutation(np.arange(count) % classes), ids


def equal_sizes(count: int, clients: int) -> list[int]:
    return [len(piece) for piece in np.array_split(np.arange(count), clients)]


def assert_exact_cover(shares: list[np.ndarray], ids: np.ndarray) -> None:
    for share in shares:
        assert share.dtype == np.int64
        assert len(share)
        assert (np.diff(share) > 0).all()
    np.testing.assert_array_equal(np.sort(np.concatenate(shares)), ids)


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    count=st.integers(200, 400),
    clients=st.integers(1, 12),
    classes=st.integers(1, 10),
    each=st.integers(1, 10),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_sample_goes_to_exactly_one_client(kind, count, clients, classes, each, seed):
    labels, ids = samples(count, classes)
    each = max(min(each, classes), -(-classes // clients))
    dealing = Dealing(kind, 10.0, each, each, equal_sizes(count, clients), 1)
    shares = partition(labels, ids, dealing, clients, seed)
    assert len(shares) == clients
    assert_exact_cover(shares, ids)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_partition_and_another_another(kind):
    labels, ids = samples(300)
    dealing = Dealing(kind, sizes=equal_sizes(300, 10), min_size=1)
    one, again, other = (partition(labels, ids, dealing, 10, seed) for seed in (1, 1, 2))
    assert all(map(np.array_equal, one, again))
    assert not all(map(np.array_equal, one, other))


def test_every_kind_describes_itself():
    assert sorted(PARTITIONS) == sorted(KINDS)
    assert all(PARTITIONS.describe().values())


def test_iid_sizes_and_classes_are_even():
    labels, ids = samples(2000)
    shares = partition(labels, ids, Dealing("iid"), 10, 0)
    assert [len(share) for share in shares] == [200] * 10
    class_of = dict(zip(ids, labels, strict=True))
    counts = np.array([np.bincount([class_of[i] for i in share], minlength=10) for share in shares])
    assert abs(counts - 20).max() < 20  # 20 expected, standard deviation 4


def concentration(alpha: float, clients: int, seeds: int) -> float:
    """Return the mean over classes and seeds of the sum over clients of (the client's share of the class) squared."""
    labels, ids = samples(5000)
    squares = []
    for seed in range(seeds):
        shares = partition(labels, ids, Dealing("dirichlet", alpha, min_size=1), clients, seed)
        held = np.array([np.bincount(labels[np.searchsorted(ids, share)], minlength=10) for share in shares])
        squares.append(((held / held.sum(axis=0)) ** 2).sum(axis=0).mean())
    return float(np.mean(squares))


@pytest.mark.parametrize("alpha", [0.5, 1.0, 5.0, 100.0])
def test_dirichlet_shares_have_the_second_moment_of_the_distribution(alpha):
    expected = (alpha + 1) / (5 * alpha + 1)  # the sum of E[p^2] under a symmetric Dirichlet over 5 clients
    assert concentration(alpha, 5, 10) == pytest.approx(expected, rel=0.1)


def test_label_skew_grows_as_alpha_falls():
    skews = [concentration(alpha, 5, 5) for alpha in (100.0, 10.0, 1.0, 0.1)]
    assert skews == sorted(skews)
    assert skews[-1] > 3 * skews[0]


@pytest.mark.parametrize(("clients", "each"), [(10, 2), (25, 3), (5, 2), (3, 4), (4, 10), (1, 10)])
def test_pathological_clients_hold_so_many_classes_and_no_class_is_left_out(clients, each):
    labels, ids = samples(1000)
    for seed in range(3):
        shares = partition(labels, ids, Dealing("pathological", classes_per_client=each), clients, seed)
        held = [np.unique(labels[np.searchsorted(ids, share)]) for share in shares]
        assert [len(classes) for classes in held] == [each] * clients
        assert_exact_cover(shares, ids)


def test_shards_hold_one_or_two_classes():
    labels, ids = samples(1000)
    shares = partition(labels, ids, Dealing("shard", shards_per_client=2), 10, 0)  # shards of 50 out of 100 per class
    assert [len(share) for share in shares] == [100] * 10
    assert max(len(np.unique(labels[np.searchsorted(ids, share)])) for share in shares) == 2


def test_by_size_leaves_the_rest_to_nobody():
    labels, ids = samples(100)
    shares = partition(labels, ids, Dealing("by-size", sizes=[50, 10, 1]), 3, 0)
    assert [len(share) for share in shares] == [50, 10, 1]
    assert len(np.unique(np.concatenate(shares))) == 61


@pytest.mark.parametrize(
    ("dealing", "clients", "message"),
    [
        (Dealing("iid"), 101, r"federation\.clients = 101: the 100 training samples are too few"),
        (Dealing("by-size", sizes=[60, 41]), 2, r"partition\.sizes: 101 samples in all, but only 100 to train on"),
        (Dealing("by-size", sizes=[60]), 2, r"partition\.sizes: 1 numbers for federation\.clients = 2"),
        (Dealing("by-size", sizes=[60, 0]), 2, r"partition\.sizes: client 1 has 0 samples"),
        (Dealing("dirichlet", 0.001), 50, r"partition\.alpha = 0\.001: none of ten draws gave each of 50 clients 2 "),
        (Dealing("dirichlet", min_size=60), 2, r"of 2 clients 60 of the 100 training samples; raise alpha, lower"),
        (Dealing("dirichlet", 0.0), 2, r"partition\.alpha = 0\.0: must be greater than 0"),
        (Dealing("pathological", classes_per_client=11), 2, r"classes-per-client = 11: must be from 1 to the 10"),
        (Dealing("pathological", classes_per_client=2), 4, r"4 clients hold at most 8 of the 10 classes; raise it"),
        (Dealing("pathological", classes_per_client=10), 20, r"some class has fewer samples than the clients"),
        (Dealing("shard", shards_per_client=1), 60, r"100 training samples make 50 shards of 2, too few for 60"),
        (Dealing("shard", shards_per_client=0), 2, r"partition\.shards-per-client = 0: must be at least 1"),
        (Dealing("dirichlets"), 2, r'unknown partition kind "dirichlets"; did you mean "dirichlet"'),
    ],
)
def test_a_partition_larger_than_the_data_is_one_line(dealing, clients, message):
    labels, ids = samples(100)
    with pytest.raises(ScenarioError, match=message) as caught:
        partition(labels, ids, dealing, clients, 0)
    assert "\n" not in str(caught.value)


def test_it_is_silent(capfd, recwarn):
    labels, ids = samples(100)
    for kind in KINDS:
        partition(labels, ids, Dealing(kind, 5.0, sizes=[10] * 5, min_size=14), 5, 3)
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list
