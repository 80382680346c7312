"""What a request means for each client's data, when it is refused, and what the ledger remembers."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from fedunlearn.requests import Ledger, Population, Refused, absence, placebo, resolve

LABELS = np.tile(np.arange(5), 12)
HELD = [np.arange(0, 20), np.arange(20, 40), np.flatnonzero(LABELS[:60] == 3)[-4:]]  # client 2 holds class 3 only


def population(held=HELD, seed=0):
    return Population(held, LABELS, 5, seed)


def asked(scope, holders="all", fraction=1.0, **target):
    known = {"random": None, "classes": None, "samples": None, "clients": None} | target
    return SimpleNamespace(
        id="r", round=3, holders=holders, scope=scope, fraction=fraction, target=SimpleNamespace(**known)
    )


def test_class_scope_skips_clients_without_it():
    request = resolve(asked("class", classes=(1,)), 0, population())
    assert sorted(request.samples) == [0, 1]
    assert all((LABELS[ids] == 1).all() for ids in request.samples.values())
    assert request.size == 8
    assert request.classes == (1,)


def test_client_scope_takes_all_of_it():
    request = resolve(asked("client", clients=(1,)), 0, population())
    assert request.samples[1].tolist() == list(range(20, 40))
    assert list(request.samples) == [1]


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (asked("class", holders=(2,), classes=(1,)), "client 2 asks to forget data that it does not hold"),
        (asked("class", holders=(7,), classes=(1,)), "unknown client 7"),
        (asked("client", clients=(9,)), "unknown client 9"),
        (asked("class", classes=(5,)), "unknown class 5"),
        (asked("class", classes=(0, 1, 2, 3, 4)), "nothing left to train on"),
        (asked("sample", samples=(55,)), "nobody holds"),
        (asked("sample", holders=(0,), samples=(25,)), "does not hold"),
        (asked("class", random=6), "only 5 exist"),
        (asked("class", fraction=0.01, classes=(1,)), r"share of 0.01\): the forget set is empty"),
        (asked("class", holders=(0,), fraction=0.01, classes=(1,)), "the forget set is empty"),
    ],
)
def test_refusals(request_, reason):
    with pytest.raises(Refused, match=reason):
        resolve(request_, 0, population())


def test_forgetting_a_clients_last_data_is_allowed_and_a_repeat_is_refused():
    request = resolve(asked("client", clients=(2,)), 0, population())
    assert request.size == 4
    rest = [*HELD[:2], HELD[2][:0]]
    with pytest.raises(Refused, match="forget set is empty"):
        resolve(asked("client", clients=(2,)), 1, population(rest))
    with pytest.raises(Refused, match="does not hold"):
        resolve(asked("client", holders=(2,), clients=(2,)), 1, population(rest))


@given(st.integers(0, 2**32 - 1), st.floats(0.25, 1))
def test_random_targets_are_reproducible_and_fractions_exact(seed, fraction):
    first, again = (resolve(asked("class", random=1, fraction=fraction), 4, population(seed=seed)) for _ in range(2))
    assert first.target == again.target
    for client, ids in first.samples.items():
        held = HELD[client][LABELS[HELD[client]] == first.target[0]]
        assert len(ids) == round(fraction * len(held))
        assert set(ids) <= set(held)
        np.testing.assert_array_equal(ids, again.samples[client])


def test_random_targets_cover_all_classes():
    drawn = {resolve(asked("class", random=1), 0, population(seed=seed)).target[0] for seed in range(60)}
    assert drawn == {0, 1, 2, 3, 4}


def test_placebo_has_the_same_size_and_is_spread_like_the_data():
    labels = np.repeat(np.arange(10), 300)
    held = [np.arange(c * 300, (c + 1) * 300) for c in range(10)]  # each client holds one class
    request = resolve(asked("class", classes=(4,)), 0, Population(held, labels, 10, 0))
    shares = []
    for seed in range(20):
        other = placebo(request, 0, Population(held, labels, 10, seed))
        assert other.size == request.size == 300
        assert all(set(ids) <= set(held[client]) for client, ids in other.samples.items())
        shares.append(np.bincount(labels[np.concatenate(list(other.samples.values()))], minlength=10))
    assert chisquare(np.sum(shares, axis=0)).pvalue > 1e-3


def test_absence_sets_aside_all_data_of_those_who_hold_the_class_whoever_asked():
    held = [np.flatnonzero(np.isin(LABELS, (label, 4))) for label in range(3)] + [np.flatnonzero(np.isin(LABELS, 0))]
    request = resolve(asked("class", holders=(0,), fraction=0.5, classes=(0,)), 0, population(held))
    aside = absence(request, population(held))
    assert (aside.scope, aside.target, aside.classes, aside.round) == ("client", (0, 3), (0, 4), request.round)
    assert {client: ids.tolist() for client, ids in aside.samples.items()} == {c: held[c].tolist() for c in (0, 3)}
    left = [ids for client, ids in enumerate(held) if client not in aside.samples]
    assert not (LABELS[np.concatenate(left)] == 0).any()


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (asked("client", clients=(1,)), "r names no whole class"),
        (asked("class", classes=(3,)), "every client holds data of class 3"),
        (asked("class", classes=(1, 3)), r"every client holds data of one of the classes \(1, 3\)"),
    ],
)
def test_absence_that_cannot_be(request_, reason):
    with pytest.raises(Refused, match=reason):
        absence(resolve(request_, 0, population()), population())


def test_two_placebos_in_sequence_forget_different_samples():
    held = [np.arange(0, 150), np.arange(150, 300)]
    labels = np.repeat(np.arange(3), 100)
    first = resolve(asked("class", classes=(0,)), 0, Population(held, labels, 3, 0))
    one = placebo(first, 0, Population(held, labels, 3, 0))
    left = [np.setdiff1d(ids, one.samples.get(client, [])) for client, ids in enumerate(held)]
    two = placebo(first, 1, Population(left, labels, 3, 0))
    assert not set(one.target) & set(two.target)
    assert one.size == two.size == 100


def test_ledger_survives_reopening_and_tells_the_state(tmp_path):
    path = tmp_path / "ledger.sqlite"
    request = resolve(asked("class", classes=(1,)), 0, population())
    ledger = Ledger(path)
    ledger.accept(request, ["finetune", "retrain"])
    ledger.refuse("q", 4, "client", "unknown client 9")
    assert [row["state"] for row in ledger.rows()] == ["accepted", "refused"]
    ledger.serve("r", "finetune", "running", before="aa")
    ledger.close()
    ledger = Ledger(path)
    assert [row["state"] for row in ledger.rows()] == ["running", "refused"]
    ledger.accept(request, ["finetune", "retrain"])  # a resumed run accepts again: nothing changes
    ledger.serve("r", "finetune", "done", before="aa", after="bb")
    assert ledger.rows()[0]["state"] == "running"  # another branch is still to come
    ledger.serve("r", "finetune", "running", before="aa")  # executed again from the journal: it stays done
    ledger.serve("r", "retrain", "done", before="aa", after="cc")
    row, refused = ledger.rows()
    assert (row["state"], row["target"], row["samples"]) == ("done", [1], 8)
    assert row["served"]["finetune"]["after"] == "bb"
    assert refused["reason"] == "unknown client 9"
    ledger.serve("r", "control", "failed", reason="quorum")
    assert (ledger.rows()[0]["state"], ledger.rows()[0]["reason"]) == ("failed", "control: quorum")
    ledger.close()
