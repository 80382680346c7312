"""A whole scenario, and the checks that look at several of its tables."""

from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import Field, field_validator, model_validator

from fedunlearn.names import PROBES, TRUNK
from fedunlearn.registry import nearest
from fedunlearn.scenario.defending import DefenceSettings
from fedunlearn.scenario.fields import Name, wrong
from fedunlearn.scenario.poison import PoisonSettings
from fedunlearn.scenario.sections import (
    DataSettings,
    FaultSettings,
    FederationSettings,
    ModelSettings,
    OutputSettings,
    PartitionSettings,
    RequestSettings,
    UnlearningSettings,
)
from fedunlearn.scenario.watching import (
    AttackSettings,
    JudgeSettings,
    ObserverSettings,
    ProbeSettings,
)
from fedunlearn.settings import Settings


class Scenario(Settings):
    """One experiment: a federation, what it is asked to forget, and who watches."""

    name: Name = Field(default="scenario", description="Names the run folder; the file's name if absent.")
    title: str = Field(default="", description="Heading of the report.")
    description: str = Field(default="", description="What the scenario shows, printed in the report.")
    seed: int = Field(default=0, ge=0, le=2**32 - 1, description="Every random number of the run follows from it.")
    training_seed: int | None = Field(
        default=None,
        ge=0,
        le=2**32 - 1,
        description="What training draws follows from it: initialisation, batches, who takes part; `seed` if absent.",
    )
    data: DataSettings = Field(default=DataSettings(), description="Where the samples come from.")
    partition: PartitionSettings = Field(default=PartitionSettings(), description="Which client holds what.")
    poison: PoisonSettings | None = Field(default=None, description="Whose data carry a backdoor; absent: nobody's.")
    model: ModelSettings = Field(default=ModelSettings(), description="What is trained.")
    federation: FederationSettings = Field(default=FederationSettings(), description="How it is trained.")
    faults: tuple[FaultSettings, ...] = Field(default=(), strict=False, description="What goes wrong on purpose.")
    requests: tuple[RequestSettings, ...] = Field(
        default=(), strict=False, description="What is to be forgotten, and when."
    )
    unlearning: UnlearningSettings = Field(default=UnlearningSettings(), description="How it is forgotten.")
    defences: tuple[DefenceSettings, ...] = Field(
        default=(), strict=False, description="What the server and its query interface do against those who watch."
    )
    observers: tuple[ObserverSettings, ...] = Field(default=(), strict=False, description="Who watches.")
    probes: tuple[ProbeSettings, ...] = Field(
        default=(), strict=False, description="Single rounds that are watched beside the run."
    )
    attacks: tuple[AttackSettings, ...] = Field(default=(), strict=False, description="What the observers try.")
    judge: JudgeSettings = Field(default=JudgeSettings(), description="How findings are judged.")
    output: OutputSettings = Field(default=OutputSettings(), description="What is written.")
    matrix: dict[str, Any] = Field(
        default={}, description="Lists of values by key; each combination is a cell of the run."
    )

    @property
    def learning_seed(self) -> int:
        """The seed of everything that training draws; data, requests, attacks and the judge keep `seed`."""
        return self.seed if self.training_seed is None else self.training_seed

    @property
    def split_seed(self) -> int:
        """The seed of which samples train, are tested on, are public, ...; who holds and forgets them keeps `seed`."""
        return self.seed if self.data.split_seed is None else self.data.split_seed

    @property
    def trunk_rounds(self) -> int:
        """The rounds of ordinary training before the first request (all of them when there is none)."""
        return min((request.round for request in self.requests), default=self.federation.rounds)

    @property
    def branches(self) -> tuple[str, ...]:
        """The branches that leave the trunk: references, then methods; none when nothing is requested."""
        return self.unlearning.references + self.unlearning.methods if self.requests else ()

    @property
    def checkpoints(self) -> tuple[int, ...]:
        """The rounds of ordinary training after which some probe starts, ascending."""
        return tuple(sorted({probe.after for probe in self.probes}))

    @model_validator(mode="before")
    @classmethod
    def _request_after_the_last_round(cls, raw: Any) -> Any:
        tables = raw.get("requests") if isinstance(raw, dict) else None
        if not isinstance(tables, list) or not isinstance(raw.get("federation", {}), dict):
            return raw  # the fields' own checks say what is wrong
        rounds = raw.get("federation", {}).get("rounds", FederationSettings().rounds)
        complete = [{"round": rounds} | table if isinstance(table, dict) else table for table in tables]
        return raw | {"requests": complete}

    @field_validator("requests", mode="after")
    @classmethod
    def _number(cls, requests: tuple[RequestSettings, ...]) -> tuple[RequestSettings, ...]:
        return tuple(
            request if request.id else request.model_copy(update={"id": f"request-{number}"})
            for number, request in enumerate(requests, start=1)
        )

    @model_validator(mode="after")
    def _check(self) -> "Scenario":
        clients = self.federation.clients
        sizes = self.partition.sizes
        if self.partition.kind == "by-size" and len(sizes) != clients:
            why = f"has {len(sizes)} sizes for federation.clients = {clients}"
            raise wrong("partition.sizes", sizes, why)
        if self.poison is not None:
            self._check_client("poison.client", self.poison.client)
        for number, fault in enumerate(self.faults):
            if fault.clients != "all":
                self._check_clients(f"faults.{number}.clients", fault.clients)
        for number, request in enumerate(self.requests):
            self._check_request(f"requests.{number}", request)
        _refuse_repeats("requests", "id", [request.id for request in self.requests])
        _refuse_repeats("observers", "name", [observer.name for observer in self.observers])
        last = self.federation.rounds + self.unlearning.rounds
        for number, observer in enumerate(self.observers):
            if observer.client is not None:
                self._check_client(f"observers.{number}.client", observer.client)
            for place, round in enumerate(observer.rounds):
                if isinstance(round, int) and round > last:
                    why = f"must be at most {last}, the rounds of training and unlearning"
                    raise wrong(f"observers.{number}.rounds.{place}", round, why)
            for place, flag in enumerate(observer.flags):
                if flag == "public-labelled" and self.data.private_classes is not None:
                    why = 'data.private-classes leaves only other classes public; did you mean "public-unlabelled"?'
                    raise wrong(f"observers.{number}.flags.{place}", flag, why)
        if self.judge.split == "validation" and not self.data.validation:
            raise wrong("judge.split", self.judge.split, "needs data.validation above 0")
        _refuse_repeats("probes", "name", [probe.name for probe in self.probes])
        for number, probe in enumerate(self.probes):
            self._check_probe(f"probes.{number}", probe)
        for number, attack in enumerate(self.attacks):
            self._check_attack(f"attacks.{number}", attack)
        _refuse_same_labels(self.attacks)
        return self

    def _check_clients(self, key: str, clients: Iterable[int]) -> None:
        for place, client in enumerate(clients):
            self._check_client(f"{key}.{place}", client)

    def _check_client(self, key: str, client: int) -> None:
        if client >= self.federation.clients:
            last = self.federation.clients - 1
            raise wrong(key, client, f"unknown client; they are numbered 0 to {last}")

    def _check_request(self, key: str, request: RequestSettings) -> None:
        if request.round > self.federation.rounds:
            why = f"must be at most federation.rounds = {self.federation.rounds}"
            raise wrong(f"{key}.round", request.round, why)
        if request.holders != "all":
            self._check_clients(f"{key}.holders", request.holders)
        self._check_clients(f"{key}.target.clients", request.target.clients or ())
        if request.scope == "client" and (request.target.random or 0) > self.federation.clients:
            why = f"must be at most federation.clients = {self.federation.clients}"
            raise wrong(f"{key}.target.random", request.target.random, why)

    def _check_probe(self, key: str, probe: ProbeSettings) -> None:
        if probe.after > self.trunk_rounds:
            why = f"must be at most {self.trunk_rounds}, the rounds of training before any request"
            raise wrong(f"{key}.after", probe.after, why)
        if probe.clients != "all":
            self._check_clients(f"{key}.clients", probe.clients)
        if (probe.algorithm or self.federation.algorithm) == "fedsgd":
            for name in ("batch_size", "local_epochs", "learning_rate", "momentum"):
                if (value := getattr(probe, name)) is not None:
                    why = 'means nothing for fedsgd; "samples" is the size of its batch'
                    raise wrong(f"{key}.{name.replace('_', '-')}", value, why)

    def _check_attack(self, key: str, attack: AttackSettings) -> None:
        names = [observer.name for observer in self.observers]
        if attack.observer not in names:
            why = f"unknown observer{nearest(attack.observer, names)}" if names else "there are no [[observers]]"
            raise wrong(f"{key}.observer", attack.observer, why)
        for place, branch in enumerate(attack.branches or ()):
            probes = (PROBES, *(probe.branch for probe in self.probes)) if self.probes else ()
            known = (TRUNK, *self.branches, *probes)
            if branch not in known:
                raise wrong(f"{key}.branches.{place}", branch, f"unknown branch{nearest(branch, known)}")


def _refuse_same_labels(attacks: Sequence[AttackSettings]) -> None:
    called = [attack.label or attack.name for attack in attacks]
    for number, attack in enumerate(attacks):
        others = [other for other, name in enumerate(called) if name == called[number] and other != number]
        if attack.label and others:
            raise wrong(f"attacks.{number}.label", attack.label, f"is what attacks.{others[0]} is called already")


def _refuse_repeats(table: str, field: str, names: list[str]) -> None:
    for number, name in enumerate(names):
        if name in names[:number]:
            raise wrong(f"{table}.{number}.{field}", name, f"is the {field} of {table}.{names.index(name)} already")
