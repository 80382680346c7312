"""Following a stream of rounds: what an attack says after each, and when it thinks that the request came."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from pydantic import Field

from fedunlearn.attacks.forgotten_class.decisions import ClassEvidence, broken_ties, decide
from fedunlearn.attacks.forgotten_class.windows import FEWEST_BEFORE, Evidence
from fedunlearn.observer.access import AccessRefused
from fedunlearn.observer.cache import digest
from fedunlearn.observer.findings import ForgottenClasses, Said
from fedunlearn.observer.knowledge import Knowledge
from fedunlearn.observer.shadows import Shadow
from fedunlearn.observer.view import View
from fedunlearn.settings import Settings

StreamDecision = Literal["test", "top-k", "outliers", "kmeans", "none"]
Name = Callable[[Evidence, int], tuple[int, ...]]  # (evidence, how many rounds may have been the request's)


class Compares(Protocol):
    """What an attack makes of a stream."""

    def __call__(self, split: int, last: int) -> Evidence | None:
        """Return the evidence for a request after the first `split` rounds, seen up to round `last` > `split`.

        None when of the rounds after the split nothing is on record.
        """


class StreamSettings(Settings):
    """Settings that every attack on a stream has."""

    window: int = Field(default=10, ge=1, description="Rounds after the request that are looked at, at most.")
    reference: int = Field(
        default=50, ge=FEWEST_BEFORE, description="Rounds before the request that they are compared with, at most."
    )
    alpha: float = Field(default=0.05, gt=0, lt=1, description="Nominal false-alarm level, over all classes together.")


class TestedSettings(StreamSettings):
    """Settings of attacks whose evidence comes with p-values."""

    decision: StreamDecision = Field(
        default="test",
        description="How classes are named: test (against the rounds before, level alpha), top-k (flag "
        "class-count-known), outliers (against the other classes, level alpha), kmeans, none.",
    )


@dataclass(frozen=True)
class Watched:
    """Evidence as it stood after a round, for the likeliest round of the request."""

    last: int
    split: int
    evidence: Evidence | None


def follow(
    view: View,
    knowledge: Knowledge,
    settings: StreamSettings,
    compare: Compares,
    name: Name,
    rng: np.random.Generator,
    notes: Mapping[str, Any],
) -> ForgottenClasses:
    """Return the finding of an attack on a stream: what it says after the last round, and what after each before.

    An observer that knows the request's round compares the rounds after it with those before; of earlier rounds it
    tells what the same test would have said, had the request come just before the latest. One that does not know it
    tries every round and believes the strongest evidence.

    Args:
        view: gives the number of rounds and the request's.
        knowledge: gives the number of classes.
        settings: `window` bounds how many rounds after a candidate are looked at.
        compare: measures the evidence for a candidate.
        name: names classes.
        rng: breaks ties.
        notes: of the attack, to which the request's presumed round is added.

    Raises:
        AccessRefused: when nothing was watched after the request, or too little to try any round.
    """
    splits = candidate_rounds(view)
    scan = "request-round" not in view.flags
    watched = list(_scan(view, settings.window, compare) if scan else _known(view, settings.window, splits[0], compare))
    if watched[-1].evidence is None:
        raise AccessRefused("of the rounds after the request nothing is on record that this attack could read")
    said = []
    for seen in watched:
        evidence = seen.evidence or Evidence(np.zeros(knowledge.num_classes), np.ones(knowledge.num_classes))
        named = name(evidence, len(splits)) if seen.evidence else ()
        said.append(Said(seen.last, broken_ties(evidence.scores, rng), named))
    found = {"request-round": watched[-1].split, "p-values": watched[-1].evidence.p_values.tolist()}
    return ForgottenClasses(said[-1].scores, said[-1].named, {**notes, **found}, said=tuple(said))


def candidate_rounds(view: View) -> list[int]:
    """Return how many rounds may have come before the request: one number where the observer knows it.

    Raises:
        AccessRefused: when no round was watched after the request.
    """
    if "request-round" not in view.flags:
        splits = list(range(FEWEST_BEFORE, view.num_rounds))
    else:
        splits = [view.request_round] if view.request_round < view.num_rounds else []
    if not splits:
        raise AccessRefused(f"rounds are compared; {view.num_rounds} were watched, none after the request")
    return splits


def _known(view: View, window: int, request: int, compare: Compares) -> Iterator[Watched]:
    for last in range(1, view.num_rounds + 1):
        split = min(request, last - 1)
        enough = split >= FEWEST_BEFORE or last > request
        yield Watched(last, split, compare(split, min(last, split + window)) if enough else None)


def _scan(view: View, window: int, compare: Compares) -> Iterator[Watched]:
    """Yield the strongest candidate after each round; one whose window is full is not measured again."""
    closed: tuple[int, Evidence | None] = (0, None)
    for last in range(1, view.num_rounds + 1):
        best = closed
        for split in range(max(FEWEST_BEFORE, last - window), last):
            best = _stronger(best, (split, compare(split, last)))
            if split == last - window:
                closed = best
        yield Watched(last, *best)


def _stronger(one: tuple[int, Evidence | None], other: tuple[int, Evidence | None]) -> tuple[int, Evidence | None]:
    if one[1] is None or other[1] is None:
        return one if other[1] is None else other
    return other if other[1].strength > one[1].strength else one


def by_test(settings: TestedSettings, knowledge: Knowledge, rng: np.random.Generator) -> Name:
    """Return how classes are named by the settings' decision.

    `test` names the classes whose p-value is below alpha over (classes * candidate rounds): Bonferroni.
    """

    def name(evidence: Evidence, tries: int) -> tuple[int, ...]:
        if settings.decision == "test":
            bound = settings.alpha / (knowledge.num_classes * tries)
            return tuple(np.flatnonzero(evidence.p_values < bound).tolist())
        seen = ClassEvidence.of(evidence.scores)
        return decide(settings.decision, seen, knowledge, _no_shadows, rng, alpha=settings.alpha).named

    return name


def notes_of(settings: TestedSettings, knowledge: Knowledge) -> dict[str, Any]:
    """Return what a finding's notes say about how it was decided."""
    nominal = {"nominal-false-alarm-rate": settings.alpha} if settings.decision in ("test", "outliers") else {}
    count = knowledge.forgotten_count
    return {"decision": settings.decision, "forgotten-count": "unknown" if count is None else count, **nominal}


def _no_shadows(shadow: Shadow) -> ClassEvidence:
    raise AccessRefused("shadows have no rounds to compare")


@dataclass
class Series:
    """One row per watched round, measured when it is first asked for.

    Args:
        measure: returns a round's row.
        needs_whole: whether `measure` raises AccessRefused for rounds of which only the last layer is on record; they
            are passed over.
    """

    measure: Callable[[int], np.ndarray]
    needs_whole: bool = False
    _rows: dict[int, np.ndarray | None] = field(default_factory=dict)

    def rows(self, numbers: Sequence[int]) -> list[np.ndarray]:
        """Return the rows of those rounds that are on record."""
        return [row for number in numbers if (row := self._row(number)) is not None]

    def _row(self, number: int) -> np.ndarray | None:
        if number not in self._rows:
            try:
                self._rows[number] = self.measure(number)
            except AccessRefused:
                if not self.needs_whole:
                    raise
                self._rows[number] = None
        return self._rows[number]


def paired(series: Series, same: Mapping[int, int], split: int, last: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the rows of rounds before, and of the rounds after `split` up to `last` that are their twins.

    Empty where the round after `split` has no twin in `same` (see `twins`). Twins go on as long as rounds before the
    split last.
    """
    if split + 1 not in same:
        return [], []
    offset = split + 1 - same[split + 1]
    numbers = range(split + 1, min(last, split + offset) + 1)
    pairs = [pair for number in numbers if len(pair := series.rows((number - offset, number))) == 2]
    return [before for before, _ in pairs], [after for _, after in pairs]


def later_half(split: int, most: int, least: int = FEWEST_BEFORE) -> range:
    """Return the rounds up to `split` that later ones are compared with: the later half, as early training drifts.

    At least `least` where there are as many, and at most `most`.
    """
    return range(split + 1 - min(most, max(split // 2, min(split, least))), split + 1)


def twins(view: View) -> dict[int, int]:
    """Return, for rounds whose broadcast had the last layer of an earlier one, the first such round.

    A federation that begins again from its first model, as retraining does, repeats rounds on the retained data: what
    differs between such twins is what was forgotten, and little else.
    """
    first: dict[str, int] = {}
    found = {}
    for number in range(1, view.num_rounds + 1):
        earlier = first.setdefault(digest(view.broadcast(number, head=True)), number)
        if earlier < number:
            found[number] = earlier
    return found
