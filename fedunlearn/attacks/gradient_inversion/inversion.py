"""The composable attack: labels, target, search and notes, for every chosen update."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from fedunlearn.attacks.base import Attack, Finds
from fedunlearn.attacks.gradient_inversion.conditioning import MOST_PIXELS, jacobian_rank
from fedunlearn.attacks.gradient_inversion.labels import sought_labels
from fedunlearn.attacks.gradient_inversion.observing import observe
from fedunlearn.attacks.gradient_inversion.optimisers import Watch
from fedunlearn.attacks.gradient_inversion.search import Candidate, search
from fedunlearn.attacks.gradient_inversion.settings import InversionSettings
from fedunlearn.attacks.gradient_inversion.target import Target
from fedunlearn.attacks.targets import Target as Place
from fedunlearn.attacks.targets import choose_targets, each_target
from fedunlearn.federation import Weights
from fedunlearn.models import Classifier
from fedunlearn.observer.access import Access
from fedunlearn.observer.findings import Reconstructions
from fedunlearn.observer.knowledge import Knowledge
from fedunlearn.observer.view import View

MOST_TRIALS = 32  # searched at once: what is lost when a run is interrupted
MOST_NUMBERS = 1 << 20  # in the candidates searched at once: L-BFGS keeps two hundred times as many


@dataclass(frozen=True)
class Case:
    """One update under attack.

    Attributes:
        place: (round, client).
        target: what is matched.
        others: other labels that it may have, the likeliest first.
        notes: how it was come by.
        rngs: for its search, one for each try.
    """

    place: Place
    target: Target
    others: Sequence[np.ndarray]
    notes: dict[str, Any]
    rngs: Sequence[np.random.Generator]

    def with_other(self, number: int) -> Case:
        """Return the same update with others of its labels."""
        notes = self.notes | {"labels-tried": number + 2}
        target = replace(self.target, labels=self.others[number])
        return replace(self, target=target, notes=notes, rngs=self.rngs[number + 1 :])

    @property
    def kind(self) -> tuple[Any, ...]:
        """What cases that are searched together have in common."""
        target = self.target
        return (target.work, tuple(target.gradient), target.trained, len(target.statistics))


class GradientInversion(Attack):
    """Images whose gradient, or whose local training, matches what was observed; subclasses name the parts.

    Labels are fixed beforehand. Batch normalisation uses the broadcast's running statistics, unless the attack asks
    for those of the batch and has the flag. Everything that a finding was made under is in its notes.
    """

    Settings: ClassVar[type[InversionSettings]] = InversionSettings
    needs: ClassVar[Access] = "updates"
    finds: ClassVar[Finds] = "images"

    def run(self, view: View, knowledge: Knowledge, rng: np.random.Generator) -> Reconstructions:
        """Return the best candidate for each chosen update."""
        settings: InversionSettings = self.settings
        broadcast = as_floats(view.broadcast(settings.round))
        model = knowledge.model(broadcast)
        chosen = choose_targets(view, settings)
        rngs = dict(zip(chosen, rng.spawn(len(chosen)), strict=True))
        readable, skipped = each_target(
            chosen, lambda place: self._case(view, knowledge, place, broadcast, model, rngs[place])
        )
        places, cases = tuple(readable), list(readable.values())
        found = self._search_all(knowledge, model, cases, 0)
        for number in range(settings.label_tries - 1):
            doubtful = [case for case in cases if found[case.place][1].loss > settings.doubt]
            others = [case.with_other(number) for case in doubtful if number < len(case.others)]
            for place, tried in self._search_all(knowledge, model, others, number + 1).items():
                found[place] = min(found[place], tried, key=lambda one: one[1].loss)
        cases, ordered = [found[place][0] for place in places], [found[place][1] for place in places]
        labels = tuple(case.target.labels[0] for case in cases)
        notes = notes_of(cases, ordered, knowledge.image_shape) | ({"skipped": skipped} if skipped else {})
        if settings.rank:
            notes["jacobian-rank"] = [self._rank(model, case, one) for case, one in zip(cases, ordered, strict=True)]
        return Reconstructions(places, tuple(one.images for one in ordered), labels, settings.label_source, notes)

    def _case(
        self,
        view: View,
        knowledge: Knowledge,
        place: Place,
        broadcast: Weights,
        model: Classifier,
        rng: np.random.Generator,
    ) -> Case:
        settings: InversionSettings = self.settings
        own, update = rng.spawn(settings.label_tries), view.update(*place)
        seen = observe(update, broadcast, model, knowledge.learning, view.flags, settings)
        labels, remarks = sought_labels(view, knowledge, place, settings, seen.work.images, rng)
        if seen.work.steps > 1:
            labels = [rng.permutation(each) for each in labels]  # nobody knows which image is in which batch
        first, *others = (np.tile(each, (seen.work.copies, 1)) for each in labels)
        target = Target(seen.gradient, first, seen.work, seen.statistics, seen.trained)
        return Case(place, target, others, seen.notes | ({"labels": remarks} if remarks else {}), own)

    def _group_size(self, knowledge: Knowledge) -> int:
        """Return how many updates are searched together.

        One at a time where that makes the angle to its gradient cheaper to tell (`CosineDistance`), if on CPU.
        """
        settings: InversionSettings = self.settings
        if settings.objective == "cosine" and knowledge.device == "cpu":
            return 1
        return max(1, MOST_TRIALS // settings.restarts)

    def _search_all(
        self, knowledge: Knowledge, model: Classifier, cases: Sequence[Case], tries: int
    ) -> dict[Place, tuple[Case, Candidate]]:
        """Return every case with what was found for it, after so many `tries` with other labels."""
        most = MOST_NUMBERS // (self.settings.restarts * int(np.prod(knowledge.image_shape)))
        found: dict[Place, Candidate] = {}
        for group in grouped(cases, self._group_size(knowledge), most):
            found |= self._search(knowledge, model, group, tries)
        return {case.place: (case, found[case.place]) for case in cases}

    def _search(
        self, knowledge: Knowledge, model: Classifier, group: Sequence[Case], tries: int
    ) -> dict[Place, Candidate]:
        settings: InversionSettings = self.settings

        def make() -> dict[str, np.ndarray]:
            targets, rngs = [case.target for case in group], [case.rngs[0] for case in group]
            found = search(model, targets, knowledge.image_shape, settings, rngs, _watch(knowledge, group))
            return {key: array for case, one in zip(group, found, strict=True) for key, array in _packed(case, one)}

        round, client = group[0].place
        kept = knowledge.keep(f"r{round}-c{client}" + (f"-{tries}" if tries else ""), make)
        return {case.place: _unpacked(case, kept) for case in group}

    def _rank(self, model: Classifier, case: Case, found: Candidate) -> int | None:
        if found.images.size > MOST_PIXELS or not np.isfinite(found.images).all():
            return None
        return jacobian_rank(model, case.target, found.images)


def as_floats(weights: Weights) -> Weights:
    """Return weights with every floating-point tensor in float32, which the models are made of."""
    return {
        name: array.astype(np.float32) if array.dtype.kind == "f" and array.dtype != np.float32 else array
        for name, array in weights.items()
    }


def grouped(cases: Sequence[Case], size: int, most: int) -> Iterator[list[Case]]:
    """Yield groups of cases of one kind, at most `size` and `most` images, in the order of their first members."""
    kinds: dict[tuple[Any, ...], list[Case]] = {}
    for case in cases:
        kinds.setdefault(case.kind, []).append(case)
    for alike in kinds.values():
        together = max(1, min(size, most // alike[0].target.work.images))
        for start in range(0, len(alike), together):
            yield alike[start : start + together]


def notes_of(cases: Sequence[Case], found: Sequence[Candidate], image_shape: tuple[int, int, int]) -> dict[str, Any]:
    """Return a finding's notes: one entry per target, or one for all where they agree in words."""
    notes: dict[str, Any] = {
        "losses": [one.loss for one in found],
        "restart-losses": [one.losses.tolist() for one in found],
        "iterations": [one.iterations for one in found],
        "equations": [case.target.equations for case in cases],
        "unknowns": [case.target.unknowns(image_shape) for case in cases],
    }
    for key in dict.fromkeys(key for case in cases for key in case.notes):
        remarks = [case.notes.get(key) for case in cases]
        notes[key] = remarks[0] if all(remark == remarks[0] for remark in remarks) else remarks
    return notes


def _packed(case: Case, found: Candidate) -> Iterator[tuple[str, np.ndarray]]:
    client = case.place[1]
    yield f"{client}.images", found.images
    yield f"{client}.losses", found.losses
    yield f"{client}.iterations", np.array([found.iterations])


def _unpacked(case: Case, kept: dict[str, np.ndarray]) -> Candidate:
    images, losses, iterations = (kept[f"{case.place[1]}.{part}"] for part in ("images", "losses", "iterations"))
    return Candidate(images, float(losses.min()), losses, int(iterations[0]))


def _watch(knowledge: Knowledge, group: Sequence[Case]) -> Watch:
    who = f"client {group[0].place[1]}" if len(group) == 1 else f"{len(group)} clients"

    def tell(done: int, loss: float) -> None:
        knowledge.progress(f"{who}, step {done}, loss {loss:.2g}")

    return tell
