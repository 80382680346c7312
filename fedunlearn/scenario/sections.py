"""The tables of a scenario file about the federation: every key, its type, its range, its default and its meaning."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from fedunlearn.scenario.fields import Count, Counts, Everyone, Fraction, Index, Indices, Name, Scalar, Several, wrong
from fedunlearn.settings import Settings

Scope = Literal["sample", "class", "client"]
Reference = Literal["retrain", "retrain-other-init", "control", "placebo", "absent"]
Strategy = Literal[
    "FedAvg", "FedAvgM", "FedAdagrad", "FedAdam", "FedYogi", "FedProx",
    "FedMedian", "FedTrimmedAvg", "Krum", "MultiKrum", "Bulyan",
]  # fmt: skip
STRATEGIES: dict[Strategy, str] = {
    "FedAvg": "The mean of the clients' models, weighted by their numbers of samples; our own, in float64.",
    "FedAvgM": "FedAvg with momentum at the server.",
    "FedAdagrad": "Adagrad at the server.",
    "FedAdam": "Adam at the server.",
    "FedYogi": "Yogi at the server.",
    "FedProx": "FedAvg, the clients' loss with a proximal term (federation.proximal-mu).",
    "FedMedian": "The median of each weight.",
    "FedTrimmedAvg": "The mean of each weight without its extremes.",
    "Krum": "The one model that is closest to its neighbours.",
    "MultiKrum": "The mean of the models that are closest to their neighbours.",
    "Bulyan": "The trimmed mean of what repeated Krum selects.",
}


class DataSettings(Settings):
    """Where the samples come from, and how they are split before anything else."""

    name: str = Field(
        default="digits",
        min_length=1,
        description="A built-in data set or a Hugging Face name (owner/name); beside `path`, only what to call it.",
    )
    path: str | None = Field(
        default=None,
        min_length=1,
        description="A folder or file of your own, seen from where the command is given; needs `format`.",
    )
    format: Literal["parquet", "idx", "cifar", "npz", "imagefolder"] | None = Field(
        default=None, description="How the files in `path` are written."
    )
    train: Count | Fraction | None = Field(
        default=None, description="Training samples to keep: a count or a share; absent: all."
    )
    test: Count | Fraction = Field(
        default=0.2,
        description="Test samples, a count or a share; taken from the source's own test part when it has one.",
    )
    public: Index | Fraction = Field(default=0.15, description="Samples that an attacker may own: a count or a share.")
    validation: Index | Fraction = Field(default=0.05, description="Samples for tuning: a count or a share.")
    judge: Index | Fraction = Field(default=0.05, description="Samples for the judge's own models: a count or a share.")
    split_seed: int | None = Field(
        default=None,
        ge=0,
        le=2**32 - 1,
        description="Which samples go to which part follows from it; the scenario's `seed` if absent. With it, runs of "
        "many seeds share one public part, and what attackers made of it.",
    )
    stratified: bool = Field(
        default=False,
        description="Whether every part has the classes in the proportions of the whole, to within a sample; else as "
        "drawn.",
    )
    private_classes: Several | Indices | None = Field(
        default=None,
        description="The federation's classes, or how many of the first; they are renumbered 0, 1, ... All samples of "
        "the other classes may become public, of which `public` says how many; absent: all classes are the "
        "federation's, and the public samples are of the same.",
    )
    side: int | None = Field(
        default=None,
        ge=8,
        description="Pixels: pictures are cut to their middle square and resized to this; absent: left as they are.",
    )
    image_column: str | None = Field(default=None, description="Column of the images; found by its type if absent.")
    label_column: str | None = Field(default=None, description="Column of the labels; found by its type if absent.")

    @model_validator(mode="before")
    @classmethod
    def _name_a_folder_after_itself(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and isinstance(raw.get("path"), str) and "name" not in raw:
            return raw | {"name": Path(raw["path"]).name or raw["path"]}
        return raw

    @model_validator(mode="after")
    def _check(self) -> "DataSettings":
        if (self.path is None) != (self.format is None):
            present, absent = ("path", "format") if self.format is None else ("format", "path")
            raise wrong(present, getattr(self, present), f'needs "{absent}" beside it')
        if isinstance(self.private_classes, tuple):
            if len(self.private_classes) < 2:
                raise wrong("private-classes", self.private_classes, "must name at least two classes")
            if len(set(self.private_classes)) < len(self.private_classes):
                raise wrong("private-classes", self.private_classes, "names a class twice")
        public = None if self.private_classes is not None else self.public  # then it is a share of other samples
        parts = {"train": self.train, "public": public, "validation": self.validation, "judge": self.judge}
        shares = {part: size for part, size in parts.items() if isinstance(size, float)}
        if sum(shares.values()) > 1 + 1e-9:
            key = max(shares, key=lambda part: shares[part])
            raise wrong(key, shares[key], f"the shares {' + '.join(shares)} add up to more than 1")
        return self


class PartitionSettings(Settings):
    """Which client holds which training samples."""

    kind: Literal["iid", "dirichlet", "pathological", "shard", "by-size"] = Field(
        default="dirichlet", description="How the training samples are dealt out."
    )
    alpha: float = Field(
        default=0.5, gt=0, description="dirichlet: concentration; the smaller, the fewer classes per client."
    )
    classes_per_client: int = Field(default=2, ge=1, description="pathological: how many classes each client holds.")
    shards_per_client: int = Field(
        default=2, ge=1, description="shard: how many shards of label-sorted data each client gets."
    )
    sizes: Counts = Field(default=(), description="by-size: the number of samples of each client.")
    min_size: int = Field(default=2, ge=0, description="dirichlet: the fewest samples a client may end up with.")

    @model_validator(mode="after")
    def _check(self) -> "PartitionSettings":
        if self.kind == "by-size" and not self.sizes:
            raise wrong("kind", self.kind, 'needs "sizes" beside it, one number of samples per client')
        return self


class ModelSettings(Settings):
    """The classifier that is trained."""

    name: str = Field(default="lenet", description="An architecture; `run_sim.py list models` shows them.")
    activation: Literal["relu", "tanh", "sigmoid", "silu"] | None = Field(
        default=None, description="Between the layers; the architecture's own if absent."
    )
    width: int | None = Field(
        default=None, ge=1, description="Hidden units or channels; the architecture's own if absent."
    )
    norm: Literal["batch", "group"] = Field(default="group", description="resnet18: the normalisation layers.")


class FederationSettings(Settings):
    """Who trains, for how long, and on which engine."""

    algorithm: Literal["fedsgd", "fedavg"] = Field(
        default="fedavg",
        description="fedsgd: clients send one batch's gradient; fedavg: their weights after local epochs.",
    )
    clients: int = Field(default=10, ge=1, description="Clients in the federation.")
    clients_per_round: Everyone | Count = Field(default="all", description="Clients asked in each round.")
    rounds: int = Field(default=12, ge=1, description="Rounds of ordinary training.")
    local_epochs: int = Field(default=1, ge=1, description="fedavg: passes over a client's data per round.")
    batch_size: int = Field(default=16, ge=1, description="Samples per gradient.")
    learning_rate: float = Field(
        default=0.1, gt=0, description="Step of the clients (fedavg) or of the server (fedsgd)."
    )
    optimiser: Literal["sgd", "adamw"] = Field(
        default="sgd", description="fedavg: of the clients; AdamW forgets between rounds."
    )
    momentum: float = Field(default=0.0, ge=0, lt=1, description="fedavg: of the clients' SGD.")
    weight_decay: float = Field(default=0.0, ge=0, description="fedavg: of the clients' optimiser.")
    strategy: Strategy = Field(default="FedAvg", description="The Flower strategy that aggregates.")
    strategy_options: dict[str, Scalar] = Field(default={}, description="Arguments of the strategy, in kebab-case.")
    proximal_mu: float = Field(default=0.0, ge=0, description="Weight of the proximal term in the clients' loss.")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Share of asked clients that never answer.")
    quorum: int = Field(default=1, ge=1, description="The fewest usable updates of a round; with fewer the run ends.")
    engine: Literal["ray", "inline"] = Field(
        default="ray", description="Flower on Ray processes, or all in this process."
    )
    workers: int = Field(default=2, ge=1, description="ray: processes that do the clients' work.")
    clients_per_node: Literal["auto"] | Count = Field(
        default="auto", description="Clients whose work travels in one message."
    )
    client_timeout: float = Field(default=300.0, gt=0, description="Seconds after which a client counts as hung.")
    round_timeout: float = Field(
        default=600.0, gt=0, description="Seconds after which a round goes on without the missing."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="Where tensors live.")
    executor: Literal["auto", "loop", "vmap"] = Field(
        default="auto",
        description="Clients of a message one by one, or at once by vmap; auto: a fixed rule by architecture.",
    )
    evaluate_every: int = Field(default=1, ge=1, description="Rounds between evaluations of the global model.")
    keep_updates: bool = Field(
        default=True,
        description="Whether the server keeps every client's update of every round, "
        "which some unlearning methods need.",
    )

    @property
    def round_size(self) -> int:
        """The number of clients asked in each round."""
        return self.clients if self.clients_per_round == "all" else self.clients_per_round

    @model_validator(mode="after")
    def _check(self) -> "FederationSettings":
        if self.round_size > self.clients:
            why = f"must be at most federation.clients = {self.clients}"
            raise wrong("clients-per-round", self.clients_per_round, why)
        if self.strategy == "FedProx" and not self.proximal_mu:
            raise wrong("strategy", self.strategy, 'needs "proximal-mu" above 0 beside it')
        if self.optimiser == "adamw":
            beside = {"momentum": self.momentum, "proximal-mu": self.proximal_mu}
            if used := [name for name, value in beside.items() if value]:
                raise wrong(used[0], beside[used[0]], 'does not go with optimiser = "adamw"; leave it out')
            if self.algorithm == "fedsgd":
                raise wrong("optimiser", "adamw", 'is of fedavg\'s clients; fedsgd has strategy = "FedAdam"')
        if self.quorum > self.round_size:
            raise wrong("quorum", self.quorum, f"must be at most the {self.round_size} clients of a round")
        return self


class FaultSettings(Settings):
    """Something that goes wrong on purpose."""

    kind: Literal["raise", "crash", "hang", "nan", "inf", "wrong-shape", "missing-key", "return-none"] = Field(
        description="What the client does instead of answering properly."
    )
    clients: Everyone | Indices = Field(default="all", description="Whose updates go wrong.")
    rounds: Everyone | Counts = Field(default="all", description="In which rounds, counted per branch.")
    probability: float = Field(default=1.0, gt=0, le=1, description="How often, drawn per client and round.")


class TargetSettings(Settings):
    """What a request asks to forget: exactly one of these."""

    random: int | None = Field(default=None, ge=1, description="So many classes, samples or clients, drawn at random.")
    classes: Indices | None = Field(default=None, description="These classes.")
    samples: Indices | None = Field(default=None, description="These sample ids.")
    clients: Indices | None = Field(default=None, description="All data of these clients.")

    @property
    def chosen(self) -> str:
        """The key that is given."""
        return next(key for key in ("random", "classes", "samples", "clients") if getattr(self, key) is not None)

    @model_validator(mode="after")
    def _check(self) -> "TargetSettings":
        given = [key for key in ("random", "classes", "samples", "clients") if getattr(self, key) is not None]
        if len(given) != 1:
            named = given[-1] if given else "random"
            raise wrong(named, getattr(self, named), "give exactly one of random, classes, samples, clients")
        if not getattr(self, given[0]):
            raise wrong(given[0], getattr(self, given[0]), "must not be empty")
        return self


class RequestSettings(Settings):
    """An unlearning request."""

    id: Name = Field(default="", description="Its name in the ledger; request-1, request-2, ... if absent.")
    round: int = Field(ge=1, description="It is made after this many rounds of training; after the last if absent.")
    holders: Everyone | Indices = Field(default="all", description="Who asks.")
    scope: Scope = Field(description="Whether samples, classes or whole clients are forgotten.")
    target: TargetSettings = Field(description="What is to be forgotten.")
    fraction: float = Field(default=1.0, gt=0, le=1, description="Share of the holders' such data that is forgotten.")

    @model_validator(mode="after")
    def _check(self) -> "RequestSettings":
        fitting = {"sample": "samples", "class": "classes", "client": "clients"}[self.scope]
        if self.target.chosen not in ("random", fitting):
            given = getattr(self.target, self.target.chosen)
            why = f'does not fit scope = "{self.scope}"; give "{fitting}" or "random"'
            raise wrong(f"target.{self.target.chosen}", given, why)
        if self.holders == ():
            raise wrong("holders", self.holders, 'must be "all" or name at least one client')
        return self


class UnlearningSettings(Settings):
    """What the server does about the requests."""

    methods: tuple[str, ...] = Field(
        default=("finetune",),
        strict=False,
        description="Unlearners, one branch each; `run_sim.py list unlearners` shows them.",
    )
    rounds: int = Field(default=4, ge=1, description="Extra rounds of each branch.")
    options: dict[str, dict[str, Any]] = Field(default={}, description="Settings of an unlearner, by its name.")
    retrain_replicas: int = Field(
        default=1, ge=1, description="Retrained models, where a distribution of them is needed."
    )
    references: tuple[Reference, ...] = Field(
        default=("retrain", "retrain-other-init", "control", "placebo", "absent"),
        strict=False,
        description="Branches that every method is compared with; `absent` is left out where every client holds a "
        "requested class, or no whole class is requested.",
    )

    @model_validator(mode="after")
    def _check(self) -> "UnlearningSettings":
        branches = self.references + self.methods
        for number, name in enumerate(self.methods):
            if branches.count(name) > 1:
                why = "is a reference and runs by itself" if name in self.references else "is listed twice"
                raise wrong(f"methods.{number}", name, why)
        return self


class OutputSettings(Settings):
    """What is written beside the results."""

    tensorboard: bool = Field(default=True, description="Whether TensorBoard files are written.")
    tape: bool = Field(default=True, description="Whether the tape of what the observers saw is kept.")
    keep_journal: bool = Field(default=False, description="Whether finished rounds are kept after the run.")
