"""Unlearning requests: what is asked, what it means for each client's data, and the ledger that remembers it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fedunlearn.randomness import rng

Scope = Literal["sample", "class", "client"]


@dataclass(frozen=True)
class UnlearningRequest:
    """A request as it is served.

    Attributes:
        id: unique in the run.
        round: it arrives after this many rounds of ordinary training.
        scope: what kind of data it names.
        target: the classes, sample ids or client ids that it names, sorted.
        samples: sorted ids of the training samples to forget, by client; never empty.
        classes: the classes of which it forgets anything, sorted.
    """

    id: str
    round: int
    scope: Scope
    target: tuple[int, ...]
    samples: Mapping[int, np.ndarray] = field(repr=False)
    classes: tuple[int, ...] = ()

    @property
    def whole_classes(self) -> tuple[int, ...]:
        """The classes that the model is meant not to know any more; none when clients or mere samples go."""
        return self.target if self.scope == "class" else ()

    @property
    def size(self) -> int:
        """How many samples are forgotten."""
        return sum(len(ids) for ids in self.samples.values())


class Refused(Exception):
    """A request that cannot be served; the message is the reason that the ledger keeps."""


@dataclass(frozen=True)
class Population:
    """What the server's tables say when a request arrives.

    Attributes:
        held: for each client the sorted sample ids that it still holds.
        labels: class of every sample id.
        num_classes: the number of classes of the data set.
        seed: the scenario's.
    """

    held: Sequence[np.ndarray]
    labels: np.ndarray
    num_classes: int
    seed: int


def resolve(asked: Any, number: int, population: Population) -> UnlearningRequest:
    """Return the request that `asked` (a scenario's request) means for the data now held.

    Randomly drawn targets come from the stream `requests`, keyed by the request's `number` in the scenario.

    Raises:
        Refused: an unknown client or class, nobody holds such data, a named client does not hold any, or
            nothing would be retained.
    """
    clients = range(len(population.held))
    named = asked.holders != "all"
    holders = list(asked.holders) if named else list(clients)
    if unknown := [client for client in holders if client not in clients]:
        raise Refused(f"unknown client {unknown[0]}; the federation has clients 0 to {len(population.held) - 1}")
    draws = rng(population.seed, "requests", number)
    target = _target(asked, holders, population, draws)
    samples: dict[int, np.ndarray] = {}
    for client in holders:
        ids = _matching(asked.scope, target, client, population)
        if named and not len(ids):
            raise Refused(f"client {client} asks to forget data that it does not hold")
        if asked.fraction < 1:
            ids = np.sort(draws.permutation(ids)[: round(asked.fraction * len(ids))])
        if len(ids):
            samples[client] = ids
    if not samples:
        share = "" if asked.fraction == 1 else f" (a share of {asked.fraction:g})"
        raise Refused(f"nobody holds any data of {asked.scope} {list(target)}{share}: the forget set is empty")
    if sum(len(ids) for ids in samples.values()) == sum(len(ids) for ids in population.held):
        raise Refused("no data would be retained: there is nothing left to train on")
    classes = np.unique(population.labels[np.concatenate(list(samples.values()))])
    return UnlearningRequest(asked.id, asked.round, asked.scope, target, samples, tuple(classes.tolist()))


def _target(asked: Any, holders: Sequence[int], population: Population, draws: np.random.Generator) -> tuple[int, ...]:
    """Return what the request names, drawing it where the scenario asks for a random target."""
    given = {"class": asked.target.classes, "sample": asked.target.samples, "client": asked.target.clients}[asked.scope]
    held = np.concatenate([population.held[client] for client in holders]) if holders else np.empty(0, int)
    if asked.target.random is not None:
        candidates = {
            "class": np.unique(population.labels[held]) if len(held) else held,
            "sample": np.sort(held),
            "client": np.array([client for client in holders if len(population.held[client])], int),
        }[asked.scope]
        if asked.target.random > len(candidates):
            raise Refused(f"asks for {asked.target.random} random {asked.scope} targets, only {len(candidates)} exist")
        return tuple(sorted(draws.permutation(candidates)[: asked.target.random].tolist()))
    limit = {"class": population.num_classes, "client": len(population.held), "sample": len(population.labels)}
    if unknown := [value for value in given if not 0 <= value < limit[asked.scope]]:
        raise Refused(f"unknown {asked.scope} {unknown[0]}; it must be between 0 and {limit[asked.scope] - 1}")
    return tuple(sorted(set(given)))


def _matching(scope: Scope, target: tuple[int, ...], client: int, population: Population) -> np.ndarray:
    """Return the sorted ids of the samples of `client` that the target covers."""
    held = population.held[client]
    if scope == "client":
        return held if client in target else held[:0]
    return held[np.isin(population.labels[held] if scope == "class" else held, target)]


def placebo(request: UnlearningRequest, number: int, population: Population) -> UnlearningRequest:
    """Return a sample request of the same size, drawn at random from everything that all clients hold.

    Not from the request's own holders in its own proportions: with non-IID data, that would forget mostly the very
    class that the request is about.

    Args:
        request: what is asked on the other branches.
        number: its number in the scenario; keys the draw.
        population: what is held on the placebo's own branch, where other placebos were served before.
    """
    everything = np.sort(np.concatenate(list(population.held)))
    draws = rng(population.seed, "requests", number, client=1)  # client 0: the request's own draws
    chosen = np.sort(draws.permutation(everything)[: request.size])
    per_client = {c: np.intersect1d(ids, chosen, assume_unique=True) for c, ids in enumerate(population.held)}
    samples = {client: ids for client, ids in per_client.items() if len(ids)}
    classes = tuple(np.unique(population.labels[chosen]).tolist())
    return UnlearningRequest(f"{request.id}-placebo", request.round, "sample", tuple(chosen.tolist()), samples, classes)


def absence(request: UnlearningRequest, population: Population) -> UnlearningRequest:
    """Return a request for all data of the clients that hold any of the classes which `request` names.

    Served, it makes the rounds to come those that sampling might have drawn: nobody in them holds such a class.

    Raises:
        Refused: when no class is named, or when every client that holds data holds some of them.
    """
    if not request.whole_classes:
        raise Refused(f"{request.id} names no whole class")
    holds = [np.isin(population.labels[ids], request.whole_classes).any() for ids in population.held]
    samples = {client: ids for client, ids in enumerate(population.held) if holds[client]}
    if sum(len(ids) for ids in samples.values()) == sum(len(ids) for ids in population.held):
        classes = f"class {request.target[0]}" if len(request.target) == 1 else f"one of the classes {request.target}"
        raise Refused(f"every client holds data of {classes}: no round can be sampled without it")
    theirs = sorted({int(label) for ids in samples.values() for label in np.unique(population.labels[ids])})
    return UnlearningRequest(f"{request.id}-absence", request.round, "client", tuple(samples), samples, tuple(theirs))


State = Literal["accepted", "refused", "running", "done", "failed"]


class Ledger:
    """The durable record of requests (SQLite): one row per request, one per request and branch that serves it.

    Every call is one committed transaction, so what was accepted survives a killed process. Writing the same
    state again after a resume changes nothing.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS requests"
            " (id TEXT PRIMARY KEY, round INTEGER, state TEXT, reason TEXT, target TEXT)"
        )
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS served"
            " (request TEXT, branch TEXT, state TEXT, reason TEXT, before TEXT, after TEXT,"
            " PRIMARY KEY (request, branch))"
        )

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def accept(self, request: UnlearningRequest, branches: Sequence[str]) -> None:
        """Record that the request will be served, by each of `branches`."""
        target = json.dumps(
            {
                "scope": request.scope,
                "target": request.target,
                "classes": request.whole_classes,
                "samples": request.size,
                "clients": sorted(request.samples),
            }
        )
        self._record(request.id, request.round, "accepted", "", target)
        for branch in branches:
            row = (request.id, branch, "accepted", "", "", "")
            self._db.execute("INSERT OR IGNORE INTO served VALUES (?, ?, ?, ?, ?, ?)", row)

    def refuse(self, request_id: str, round: int, scope: Scope, reason: str) -> None:
        """Record that the request will not be served, and why."""
        target = json.dumps({"scope": scope, "target": [], "classes": [], "samples": 0, "clients": []})
        self._record(request_id, round, "refused", reason, target)

    def _record(self, request_id: str, round: int, state: State, reason: str, target: str) -> None:
        row = (request_id, round, state, reason, target)
        self._db.execute("INSERT OR IGNORE INTO requests VALUES (?, ?, ?, ?, ?)", row)

    def serve(
        self, request_id: str, branch: str, state: State, *, reason: str = "", before: str = "", after: str = ""
    ) -> None:
        """Record how far a branch is with a request; `before` and `after` are SHA-256 of the global model.

        What is done stays done: a resumed run, which executes it again from the journal, does not take it back.
        """
        self._db.execute(
            "INSERT INTO served VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (request, branch) DO UPDATE SET"
            " state = excluded.state, reason = excluded.reason, before = excluded.before, after = excluded.after"
            " WHERE served.state != 'done'",
            (request_id, branch, state, reason, before, after),
        )

    def rows(self) -> list[dict[str, Any]]:
        """Return the requests in order of arrival, each with its overall state and the states per branch.

        An accepted request is `done` when every branch is, `failed` when one failed, `accepted` while none has
        begun, else `running`.
        """
        rows = []
        for request, number, state, reason, target in self._db.execute("SELECT * FROM requests ORDER BY round, rowid"):
            served = {
                branch: {"state": served_state, "reason": why, "before": before, "after": after}
                for branch, served_state, why, before, after in self._db.execute(
                    "SELECT branch, state, reason, before, after FROM served WHERE request = ? ORDER BY rowid",
                    (request,),
                )
            }
            states = {row["state"] for row in served.values()}
            if state == "accepted" and states - {"accepted"}:
                state = "failed" if "failed" in states else "done" if states == {"done"} else "running"
                reason = "; ".join(f"{branch}: {row['reason']}" for branch, row in served.items() if row["reason"])
            details = json.loads(target) if target else {}
            rows.append({"id": request, "round": number, "state": state, "reason": reason, "served": served} | details)
        return rows
