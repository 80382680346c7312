"""Trains the attacker's own federations on public data: the harness behind `knowledge.shadows`.

A shadow is trained by the scenario's recipe (architecture, kind of partition, rounds, rates) and is told to forget
classes drawn at random. It sees the public split's arrays and nothing else: its sample ids are positions in them.

Differences from the run, all of which an attacker cannot help or need not copy: less data, hence fewer clients where
each would have under `PER_CLIENT` samples, and as many fewer asked per round; the plain weighted mean whatever the
strategy; no injected faults and no poison; defences only where the attacker knows of them. A shadow always forgets
whole classes of everybody.

What a shadow draws follows from its content (recipe, public data, number), never from the run's seed. So where
`data.split-seed` fixes the public split, all seeds, branches and attacks share the same shadows; otherwise each seed
pays for its own. Budget: a shadow trains its trunk once for all methods and numbers of classes, then costs what its
method costs. With LeNet, 1,000 public MNIST images, 10 clients, 12 rounds and 4 extra ones, seconds of one core: the
trunk 0.8, `finetune` and the control 0.3, `retrain` 0.75, `ssd` 0.2; `federaser`, for which the trunk's rounds are made
again, and `sharded`, which has a trunk of its own, 3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from fedunlearn.branching import Branch, make_unlearner
from fedunlearn.data import partition
from fedunlearn.defences import Guard, make_defences
from fedunlearn.errors import ScenarioError
from fedunlearn.federation import Federation, Weights
from fedunlearn.guarding import head_inputs
from fedunlearn.journal import Journal
from fedunlearn.learning import Worker
from fedunlearn.observer.access import AccessRefused
from fedunlearn.observer.cache import ContentCache, digest
from fedunlearn.observer.shadows import Shadow
from fedunlearn.randomness import rng
from fedunlearn.requests import UnlearningRequest
from fedunlearn.rounds import OrdinaryRounds
from fedunlearn.scenario import DefenceSettings, PartitionSettings, Scenario
from fedunlearn.stage import Stage
from fedunlearn.storage import part
from fedunlearn.unlearning import UNLEARNERS, History, OwnTrunkUnlearner
from fedunlearn.worker_engine import WorkerEngine

PER_CLIENT = 20  # public samples; with fewer, a shadow has fewer clients than the run
UNKNOWN_METHOD = ("retrain", "finetune")  # in turn, where the attacker does not know which method the server runs


@dataclass(frozen=True)
class Public:
    """The public split as its owner sees it: sample k is the k-th picture."""

    pictures: np.ndarray
    classes: np.ndarray

    def images(self, ids: np.ndarray) -> np.ndarray:
        """Return float32 (n, C, H, W)."""
        return self.pictures[ids]

    def labels(self, ids: np.ndarray) -> np.ndarray:
        """Return int64 (n,)."""
        return self.classes[ids]


class Shadows:
    """Makes shadows of one run, or reads them where equal content was worked on before.

    Args:
        stage: the run; of its data only what `public` holds is used.
        public: the public split.
        cache: where trunks and shadows are kept.
    """

    def __init__(self, stage: Stage, public: Public, cache: ContentCache) -> None:
        self._stage, self._public, self._cache = stage, public, cache

    def __call__(
        self,
        count: int,
        *,
        classes: int,
        method: str | None = None,
        defended: bool = False,
        tell: Callable[[str], None] = lambda text: None,
    ) -> list[Shadow]:
        """Return shadows 0 to `count` - 1.

        Args:
            count: how many.
            classes: how many classes each forgets; 0 for shadow controls, which train on for the same extra rounds.
            method: how they forget; None, or a method that does not serve classes, for `UNKNOWN_METHOD` in turn.
            defended: whether the run's defences act in the shadows as well, as those can do who know of them.
            tell: is told in words how far it is.

        Raises:
            AccessRefused: when the public split does not suffice.
        """
        shadows = []
        for number in range(count):
            tell(f"shadow {number + 1} of {count}")
            shadows.append(self._shadow(number, classes, _method(number, classes, method), defended))
        return shadows

    def _shadow(self, number: int, classes: int, method: str, defended: bool) -> Shadow:
        federation = ShadowFederation(self._stage, self._public, self._recipe | {"number": number})
        scenario = self._stage.scenario
        defences = scenario.defences if defended else ()
        how = {
            "method": method,
            "options": scenario.unlearning.options.get(method, {}),
            "rounds": scenario.unlearning.rounds,
            "classes": classes,
            "defences": [defence.model_dump(mode="json") for defence in defences],
        }

        def make() -> dict[str, np.ndarray]:
            trunk = self._cache.get("shadow-trunk", federation.recipe, federation.train)
            return federation.forget(trunk, method, classes, defences)

        kept = self._cache.get("shadow", {"trunk": federation.recipe} | how, make)
        return Shadow(part(kept, "before/"), part(kept, "after/"), tuple(kept["forgotten"].tolist()))

    @cached_property
    def _recipe(self) -> dict[str, Any]:
        """Everything that a shadow's training follows from, but for its number."""
        scenario, site = self._stage.scenario, self._stage.site
        whole = scenario.federation
        return {
            "public": digest({"pictures": self._public.pictures, "classes": self._public.classes}),
            "site": [list(np.ravel(site.pixel_stats)), site.num_classes, site.device, site.executor],
            "model": dict(site.model),
            "partition": scenario.partition.model_dump(mode="json"),
            "clients": [whole.clients, whole.round_size, whole.dropout],
            "rounds": scenario.trunk_rounds,
            "learning": [whole.algorithm, _settings(self._stage)],
        }


def _method(number: int, classes: int, known: str | None) -> str:
    if not classes:
        return "control"
    return known if known and "class" in UNLEARNERS[known].scopes else UNKNOWN_METHOD[number % len(UNKNOWN_METHOD)]


def _settings(stage: Stage) -> dict[str, Any]:
    """Return how clients learn, without the faults."""
    return {key: value for key, value in stage.training.settings.items() if key != "faults"}


class ShadowFederation:
    """One federation of the attacker's own.

    Args:
        stage: the run whose recipe it follows.
        public: the data.
        recipe: decides everything; its digest is the seed.

    Attributes:
        recipe: as given.
    """

    def __init__(self, stage: Stage, public: Public, recipe: dict[str, Any]) -> None:
        self.recipe = recipe
        self._stage, self._public, self._seed = stage, public, int(digest(recipe)[:8], 16)
        self._rounds = stage.scenario.trunk_rounds

    @cached_property
    def _held(self) -> list[np.ndarray]:
        scenario, ids = self._stage.scenario, np.arange(len(self._public.classes))
        clients, deal = dealt_to(scenario, len(ids))
        try:
            return partition(self._public.classes, ids, deal, clients, self._seed)
        except ScenarioError as error:
            raise AccessRefused(f"the public split does not make a shadow federation: {error}") from None

    @cached_property
    def _training(self) -> OrdinaryRounds:
        whole = self._stage.scenario.federation
        asked = max(1, round(whole.round_size * len(self._held) / whole.clients))
        return OrdinaryRounds(self._seed, whole.algorithm, asked, whole.dropout, settings=_settings(self._stage))

    def _federation(self, journal: Journal | None) -> Federation:
        site = replace(self._stage.site, seed=self._seed, dataset="", partition="", poison=None)
        worker = Worker(site, self._public, self._held)
        rate = self._stage.scenario.federation.learning_rate
        return Federation(WorkerEngine(worker, self._stage.parameters, rate), self._held, journal)

    def _fresh(self, replica: int) -> Weights:
        return self._stage.untrained(rng(self._seed, "initialisation", replica))

    def train(self) -> Weights:
        """Return the trunk: the model when the request comes."""
        return self._training.run(self._federation(None), self._fresh(0), self._rounds)

    def forget(
        self, trunk: Weights, method: str, classes: int, defences: Sequence[DefenceSettings] = ()
    ) -> dict[str, np.ndarray]:
        """Return the models before and after forgetting `classes` classes drawn at random, and which they were."""
        unlearner = make_unlearner(self._stage.scenario, Branch("shadow", method, replica=1))
        with ExitStack() as stack:
            journal = None
            if unlearner.stores != "nothing":  # the trunk's rounds are not kept: they are made again
                journal = Journal(Path(stack.enter_context(TemporaryDirectory())))
            federation, before = self._federation(journal), trunk
            if journal:
                self._training.run(federation, self._fresh(0), self._rounds)
            history, request = self._history(federation, journal), self._request(classes)
            federation.calls = self._rounds
            if isinstance(unlearner, OwnTrunkUnlearner):
                federation.restart()
                before, history = unlearner.prepare(request, federation, history)
            federation.open_request(request.samples)
            self._guard(defences, history).request(federation, request.target)
            after = unlearner(before, request, federation, history)
        models = {"before": before, "after": after}
        arrays = {f"{when}/{name}": array for when, model in models.items() for name, array in model.items()}
        return arrays | {"forgotten": np.array(request.target, np.int64)}

    def _guard(self, defences: Sequence[DefenceSettings], history: History) -> Guard:
        num_classes = self._stage.site.num_classes
        return Guard(make_defences(defences), self._seed, num_classes, self._samples_of, head_inputs(history))

    def _samples_of(self, classes: Sequence[int]) -> dict[int, np.ndarray]:
        chosen = [ids[np.isin(self._public.classes[ids], classes)] for ids in self._held]
        return {client: ids for client, ids in enumerate(chosen) if len(ids)}

    def _request(self, classes: int) -> UnlearningRequest:
        present = np.unique(self._public.classes[np.concatenate(self._held)])
        if classes >= len(present):
            raise AccessRefused(f"a shadow cannot forget {classes} of the {len(present)} classes in the public split")
        chosen = np.sort(rng(self._seed, "requests", classes).permutation(present)[:classes])
        target = tuple(chosen.tolist())
        return UnlearningRequest("shadow", self._rounds, "class", target, self._samples_of(target), target)

    def _history(self, federation: Federation, archive: Any) -> History:
        stage = self._stage
        return History(
            archive=archive,
            rounds=tuple((federation.journal_key, call + 1) for call in range(self._rounds)),
            initial=self._fresh(0),
            fresh=self._fresh,
            training=self._training,
            learning_rate=stage.scenario.federation.learning_rate,
            parameters=stage.parameters,
            model=stage.model,
            proxy=lambda: self._public.pictures,
            device=stage.site.device,
            seed=self._seed,
        )


def dealt_to(scenario: Scenario, samples: int) -> tuple[int, PartitionSettings]:
    """Return over how many clients, and how, a shadow's `samples` are dealt out: as in the run, or to fewer clients."""
    clients = min(scenario.federation.clients, max(1, samples // PER_CLIENT))
    sizes = scenario.partition.sizes[:clients]
    share = min(1.0, samples / sum(sizes)) if sizes else 1.0
    return clients, scenario.partition.model_copy(update={"sizes": tuple(int(size * share) for size in sizes)})
