"""Sharded training (SISA): models of disjoint groups of clients, of which only the concerned are trained again.

Source: Bourtoule, Chandrasekaran, Choquette-Choo, Jia, Travers, Zhang, Lie and Papernot, "Machine Unlearning", IEEE S&P
2021 (arXiv 1912.03817): shards are trained in isolation, so a deletion concerns one of them. The shards here are groups
of clients, dealt at random; each trains its own model from the same initialisation, in as many rounds and with the same
settings as the ordinary trunk. A request retrains the shards that hold forgotten data, from the initialisation and with
the batches and the sampling of the first time: afterwards each is, bit for bit, what it would be had the data never
been there, for the shards as they were dealt (the deal itself looks at who holds data). Of a class that everybody
holds, that is all of them.

Scopes: all. Who takes part: the retained clients of the shards concerned. Needs from the server: one model per shard,
which it keeps itself on its own trunk. Cost: every shard's round counts as a round, so training is shards x rounds of
them, though shards could train side by side; training the trunk costs nothing here, as elsewhere. Requests may follow
one another: rounds in between and afterwards train each shard apart, and belong to what a later request repeats.

Deviations: the shards' models are merged into one by their mean, weighted by retained samples, where SISA lets them
vote: a federation ships one model. The mean is worse than the vote where the models have come far apart. That mean is
what is published, after every round of the shards that train; their own models are published nowhere, though who
watches the wire sees them on their way to the shard's clients. Shards are not cut into slices. In each round a shard
asks its share of the clients per round, rounded up, and so with the quorum.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from pydantic import Field

from fedunlearn.aggregation import weighted_mean
from fedunlearn.federation import DataView, Federation, Weights
from fedunlearn.randomness import rng
from fedunlearn.requests import UnlearningRequest
from fedunlearn.rounds import Amend, OrdinaryRounds, as_it_is
from fedunlearn.settings import Settings
from fedunlearn.unlearning.base import UNLEARNERS, History, OwnTrunkUnlearner
from fedunlearn.unlearning.phases import install


class ShardedSettings(Settings):
    """Hyper-parameters of sharded training."""

    shards: int = Field(default=2, ge=1, description="Groups of clients; at most one for each client with data.")


@UNLEARNERS.register("sharded")
class Sharded(OwnTrunkUnlearner):
    """Train groups of clients apart, and again only those groups that hold forgotten data (SISA)."""

    Settings = ShardedSettings

    @property
    def own_models(self) -> int:
        """One per shard; fewer where there are fewer clients than shards."""
        shards: int = self.settings.shards
        return shards

    def prepare(self, request: UnlearningRequest, federation: Federation, history: History) -> tuple[Weights, History]:
        """Deal the clients to shards and train them; the request is not foreseen."""
        ordinary, clients = history.training, federation.holders("all")
        dealt = rng(history.seed, "unlearning").permutation(clients)
        groups = np.array_split(dealt, min(self.settings.shards, len(clients)))
        shards = tuple(Shard(ordinary, group.tolist(), len(clients), history.initial) for group in groups)
        training = ShardedRounds(**vars(ordinary), shards=shards)
        weights = training.run(federation, history.initial, len(history.rounds))
        rounds = tuple((federation.journal_key, call + 1) for call in range(federation.calls))
        return weights, replace(history, training=training, rounds=rounds)

    def forget(self, weights: Weights, request: UnlearningRequest, federation: Federation, history: History) -> Weights:
        """Return the mean of the shards' models, those of the concerned shards retrained."""
        if not isinstance(history.training, ShardedRounds):
            raise ValueError("sharded unlearning starts from the trunk that its own `prepare` trained")
        return history.training.repeat(federation, set(request.samples))


@dataclass(frozen=True)
class ShardRounds(OrdinaryRounds):
    """Ordinary rounds among some clients.

    Attributes:
        clients: who can be asked.
    """

    clients: frozenset[int] = frozenset()

    def holders(self, federation: Federation, view: DataView) -> list[int]:
        """Return those of the shard's clients that have data under `view`."""
        return [client for client in super().holders(federation, view) if client in self.clients]


class Shard:
    """A group of clients and what they have trained.

    Args:
        ordinary: the scenario's rounds.
        clients: of the shard.
        among: the number of clients in all shards.
        initial: the model that it starts from.

    Attributes:
        model: after the shard's latest round.
    """

    def __init__(self, ordinary: OrdinaryRounds, clients: Sequence[int], among: int, initial: Weights) -> None:
        share = {name: -(-vars(ordinary)[name] * len(clients) // among) for name in ("clients_per_round", "quorum")}
        self.rounds = ShardRounds(**vars(ordinary) | share, clients=frozenset(clients))
        self._initial = initial
        self.reset()

    def reset(self) -> None:
        """Go back to the initialisation."""
        self.model, self._state = self._initial, None

    def train(self, federation: Federation, view: DataView) -> None:
        """Take the federation's next call for one round; a shard that has no data left stays as it is."""
        if self.rounds.holders(federation, view):
            updates = self.rounds.collect(federation, self.model, self.rounds.task(), view)
            self.model, self._state = federation.next_model(self.model, updates, self._state)

    def size(self, federation: Federation, view: DataView) -> int:
        """Return how many samples the shard has."""
        return sum(federation.num_examples(client, view) for client in self.rounds.clients)


@dataclass(frozen=True)
class ShardedRounds(OrdinaryRounds):
    """The rounds of a sharded federation: each trains every shard by one round of its own, and is so many calls.

    The calls are numbered as if all shards took part, also when only some of them train again: a call's number decides
    what is drawn in it.

    Attributes:
        shards: what is trained; they remember their models.
    """

    shards: tuple[Shard, ...] = ()

    def run(
        self,
        federation: Federation,
        weights: Weights,
        rounds: int,
        view: DataView = "retain",
        amend: Amend = as_it_is,
    ) -> Weights:
        """Train every shard for `rounds` rounds; return the mean of their models, which `weights` was before.

        The shards' own models are not amended, only the mean that leaves.
        """
        done = federation.calls // len(self.shards)
        return self._train(federation, range(len(self.shards)), range(done, done + rounds), view, amend)

    def repeat(self, federation: Federation, clients: set[int]) -> Weights:
        """Train the shards of `clients` again, all their rounds on retained data; return the mean of all models."""
        done = federation.calls // len(self.shards)
        concerned = [number for number, shard in enumerate(self.shards) if shard.rounds.clients & clients]
        for number in concerned:
            self.shards[number].reset()
        federation.restart()
        return self._train(federation, concerned, range(done), "retain", as_it_is)

    def _train(
        self, federation: Federation, chosen: Iterable[int], rounds: range, view: DataView, amend: Amend
    ) -> Weights:
        weights = self._mean(federation, view)
        for number in rounds:
            for place in chosen:
                federation.calls = number * len(self.shards) + place
                self.shards[place].train(federation, view)
            federation.calls = (number + 1) * len(self.shards)
            weights = install(amend(self._mean(federation, view)), federation)
        return weights

    def _mean(self, federation: Federation, view: DataView) -> Weights:
        sizes = [shard.size(federation, view) for shard in self.shards]
        return weighted_mean([shard.model for shard in self.shards], sizes)
