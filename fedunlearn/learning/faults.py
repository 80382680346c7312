"""Things that go wrong on purpose, the same ones on every engine."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fedunlearn.federation import Failure, Update, Weights
from fedunlearn.randomness import rng

HANG = 3600.0  # seconds


def fault_for(seed: int, call: int, client: int, faults: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the kind of the first of `faults` that strikes `client` in this call, or None.

    Args:
        seed: the scenario's.
        call: the branch's call counter.
        client: the logical id.
        faults: tables with `kind`, `clients` ("all" or ids), `rounds` ("all" or calls) and `probability` (1).
    """
    for number, fault in enumerate(faults):
        clients, rounds = fault.get("clients", "all"), fault.get("rounds", "all")
        if (clients == "all" or client in clients) and (rounds == "all" or call in rounds):
            # The stream's first number decides about dropout (rounds.py): a fault must not hang on the same one.
            chance = rng(seed, "faults", call, client).random(number + 2)[-1]
            if chance < fault.get("probability", 1.0):
                return str(fault["kind"])
    return None


def strike(kind: str, client: int, work: Callable[[], Update | Failure]) -> Update | Failure:
    """Do `work` the way a client with this fault does it.

    A "crash" ends the process where that is expected (the environment variable FEDUNLEARN_WORKER is "1", set by
    engines whose workers are replaced); elsewhere it is only reported.

    Raises:
        RuntimeError: for the kind "raise".
        ValueError: for an unknown kind.
    """
    if kind == "raise":
        raise RuntimeError("injected fault")
    if kind == "crash":
        if os.environ.get("FEDUNLEARN_WORKER") == "1":
            os._exit(1)
        return Failure(client, "client process died (simulated)")
    if kind == "return-none":
        return Failure(client, "returned nothing")
    if kind == "hang":
        time.sleep(HANG)
        return work()
    outcome = work()
    return outcome if isinstance(outcome, Failure) else replace(outcome, payload=_corrupted(outcome.payload, kind))


def _corrupted(payload: Weights, kind: str) -> Weights:
    payload = dict(payload)
    first, *_, last = payload
    if kind == "missing-key":
        del payload[last]
    elif kind == "wrong-shape":
        payload[first] = payload[first][None]  # still broadcasts: the wrong shape that an addition does not notice
    elif kind in ("nan", "inf"):
        payload[first] = np.array(payload[first])
        payload[first].flat[0] = np.nan if kind == "nan" else np.inf
    else:
        raise ValueError(f'unknown fault "{kind}"')
    return payload
