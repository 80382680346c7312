"""Injected faults: the same ones everywhere, and harmless to the clients without one."""

import math
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fedunlearn.federation import Failure, Update, validated
from fedunlearn.learning import fault_for
from fedunlearn.learning.faults import strike
from fedunlearn.randomness import rng
from tests.learning.workshop import assert_same, mlp, perform

FAILURES = {
    "raise": "RuntimeError: injected fault",
    "crash": "client process died (simulated)",
    "return-none": "returned nothing",
    "hang": "took longer than 0.3 s",
}
CORRUPTIONS = {
    "nan": "NaN or infinite",
    "inf": "NaN or infinite",
    "wrong-shape": r"expected float32\[12, 64\]",
    "missing-key": r"lacks \['head.bias'\]",
}
TASKS: dict[str, dict[str, Any]] = {"train": {"batch-size": 3, "learning-rate": 0.1}, "gradient": {"batch-size": 3}}


@pytest.mark.parametrize("executor", ["loop", "vmap"])
@pytest.mark.parametrize("task", sorted(TASKS))
@pytest.mark.parametrize("kind", sorted(FAILURES | CORRUPTIONS))
def test_a_fault_becomes_one_failure_and_leaves_the_others_alone(executor: str, task: str, kind: str) -> None:
    shop = mlp([5, 4, 6], executor=executor, timeout=0.3 if kind == "hang" else 60.0)
    worker, clean = shop.worker(), shop.order(task, TASKS[task])
    expected, _ = perform(worker, clean)
    faults = [{"kind": kind, "clients": [1], "rounds": "all", "probability": 1.0}]
    order = shop.order(task, TASKS[task] | {"faults": faults})
    updates, failures = perform(worker, order)
    for client in (0, 2):
        assert_same(dict(updates[client].payload), dict(expected[client].payload))
    if kind in FAILURES:
        assert failures == {1: FAILURES[kind]}
    else:
        assert not failures
        refused = validated(updates[1], order)
        assert isinstance(refused, Failure)
        with pytest.raises(AssertionError, match=CORRUPTIONS[kind]):
            raise AssertionError(refused.reason)


def test_the_tables_say_when_and_whom_a_fault_strikes() -> None:
    faults: list[dict[str, Any]] = [
        {"kind": "nan", "clients": [2], "rounds": [3]},
        {"kind": "raise", "clients": "all", "rounds": [4], "probability": 1.0},
        {"kind": "inf", "clients": [2], "rounds": "all"},
    ]
    assert fault_for(0, 3, 2, faults) == "nan"
    assert fault_for(0, 3, 1, faults) is None
    assert fault_for(0, 4, 1, faults) == "raise"
    assert fault_for(0, 5, 2, faults) == "inf"
    assert fault_for(0, 1, 1, []) is None


def test_a_probability_is_the_share_of_clients_and_rounds_struck() -> None:
    faults = [{"kind": "nan", "clients": "all", "rounds": "all", "probability": 0.25}]
    struck = [fault_for(0, call, client, faults) for call in range(1, 41) for client in range(50)]
    share = np.mean([kind == "nan" for kind in struck])
    assert abs(share - 0.25) < 4 * math.sqrt(0.25 * 0.75 / len(struck))
    again = [fault_for(0, call, client, faults) for call in range(1, 41) for client in range(50)]
    assert struck == again


def test_faults_do_not_hang_together_with_dropout() -> None:
    # rounds.py keeps a client when the first number of this stream is at least the dropout rate
    kept = [client for client in range(2000) if rng(0, "faults", 1, client).random() >= 0.5]
    faults = [{"kind": "nan", "probability": 0.5}]
    share = np.mean([fault_for(0, 1, client, faults) is not None for client in kept])
    assert abs(share - 0.5) < 0.06


def test_a_hanging_client_does_its_work_when_it_wakes_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedunlearn.learning.faults.HANG", 0.01)
    update = Update(0, "weights", {"w": np.ones(2, np.float32)}, 1)
    assert strike("hang", 0, lambda: update) is update


def test_corruption_leaves_the_original_alone() -> None:
    update = Update(0, "weights", {"w": np.ones(2, np.float32), "b": np.ones(1, np.float32)}, 1)
    struck = strike("nan", 0, lambda: update)
    assert isinstance(struck, Update)
    assert np.isnan(struck.payload["w"][0])
    assert (update.payload["w"] == 1).all()


def test_work_that_failed_by_itself_stays_failed() -> None:
    failure = Failure(0, "no")
    assert strike("nan", 0, lambda: failure) is failure


def test_an_unknown_fault_is_an_error() -> None:
    update = Update(0, "weights", {"w": np.ones(2, np.float32), "b": np.ones(1, np.float32)}, 1)
    with pytest.raises(ValueError, match='unknown fault "gremlin"'):
        strike("gremlin", 0, lambda: replace(update))


def test_in_a_disposable_process_a_crash_is_real() -> None:
    code = "from fedunlearn.learning.faults import strike; strike('crash', 0, lambda: None)"
    done = subprocess.run([sys.executable, "-c", code], env={"FEDUNLEARN_WORKER": "1"}, timeout=60, check=False)
    assert done.returncode == 1
