"""One client's useless update does not hide what the others give away."""

import numpy as np
import pytest

from fedunlearn.attacks import ATTACKS
from fedunlearn.attacks.gradient_inversion.labels import likeliest
from fedunlearn.attacks.targets import each_target
from fedunlearn.federation import Order, Task, Update
from fedunlearn.models import load_weights
from fedunlearn.observer.access import AccessRefused
from fedunlearn.observer.tape import Tape
from tests.observer.recorded import Watcher, blank, digits, fresh, gradient_of, knowledge

IMAGES, LABELS = digits()


def refuse_odd(target):
    if target[1] % 2:
        raise AccessRefused(f"client {target[1]} is odd")
    return 10 * target[1]


def test_what_is_refused_is_named_and_the_rest_is_kept():
    done, skipped = each_target([(1, 0), (1, 3), (1, 4)], refuse_odd)
    assert done == {(1, 0): 0, (1, 4): 40}
    assert skipped == {"round 1, client 3": "client 3 is odd"}
    assert each_target([], refuse_odd) == ({}, {})


def test_when_nothing_is_left_the_first_refusal_is_raised():
    with pytest.raises(AccessRefused, match="client 3 is odd"):
        each_target([(1, 3), (1, 5)], refuse_odd)


@pytest.mark.parametrize("name", ["bias-form", "llg", "gradient-matching", "linear-analytic"])
def test_a_client_that_sent_zeros_is_left_out(tmp_path, name):
    tape, weights, model, updates = Tape(tmp_path), fresh(2), blank(), []
    load_weights(model, weights)
    for client in range(3):
        ids = np.arange(2 * client, 2 * client + 2)
        gradient = gradient_of(model, IMAGES[ids], LABELS[ids])
        factor = 0 if client == 1 else 1
        updates.append(Update(client, "gradient", {n: factor * g for n, g in gradient.items()}, 2))
    tape.on_round("trunk", Order(1, Task("gradient", {}, "gradient"), weights, {}), updates)
    settings = {"clients": "all"} | ({"steps": 5} if "steps" in ATTACKS[name].Settings.model_fields else {})
    attack = ATTACKS[name](ATTACKS[name].Settings(**settings))
    facts = knowledge(tape, Watcher())
    found = attack(tape.view(Watcher()), facts, np.random.default_rng(0))
    assert found.targets == ((1, 0), (1, 2))
    assert list(found.notes["skipped"]) == ["round 1, client 1"]


def test_the_nearest_counts_of_many_classes_take_little():
    estimate = np.full(5000, 8 / 5000)
    counts = np.zeros(5000, np.int64)
    counts[:8] = 1
    found = likeliest(counts, estimate, 6)
    assert [int(each.sum()) for each in found] == [8] * 6
