"""How soon an attack on a stream of rounds says which classes were forgotten, and how often it does so too early."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from fedunlearn.judging.metric import METRICS, NAN
from fedunlearn.observer.findings import Said


@dataclass(frozen=True)
class Watch:
    """What an attack said round by round, held against the truth; the arrays have an entry per round it spoke after.

    Attributes:
        rounds: rounds since the request: 1 is the first round after it, 0 the last one before it.
        right: whether exactly the forgotten classes were named.
        loud: whether any class was named.
    """

    rounds: np.ndarray
    right: np.ndarray
    loud: np.ndarray


def watch(said: Sequence[Said], forgotten: Collection[int], request_round: int) -> Watch:
    """Return what was said, in the order of the rounds.

    Args:
        said: what the attack would have said after each round.
        forgotten: the truth.
        request_round: how many rounds came before the request, in the observer's numbering.
    """
    ordered = sorted(said, key=lambda entry: entry.round)
    return Watch(
        np.array([entry.round - request_round for entry in ordered], dtype=int),
        np.array([set(entry.named) == set(forgotten) for entry in ordered], dtype=bool),
        np.array([len(entry.named) > 0 for entry in ordered], dtype=bool),
    )


@METRICS.register("detection-delay")
def detection_delay(seen: Watch) -> float:
    """Rounds from the request to the first one after which the named classes are right and stay so; unknown if never.

    An attack that is wrong at the end is censored there: its delay is NaN, so a mean is one over those that detect,
    to be read beside `detected`, the share of them.
    """
    after = seen.rounds > 0
    rounds, right = seen.rounds[after], seen.right[after]
    if not len(right) or not right[-1]:
        return NAN
    wrong = np.flatnonzero(~right)
    return float(rounds[wrong[-1] + 1 if len(wrong) else 0])


@METRICS.register("detected")
def detected(seen: Watch) -> float:
    """1 when exactly the forgotten classes are named after the last round watched, else 0; NaN if none came after."""
    after = seen.rounds > 0
    return float(seen.right[after][-1]) if after.any() else NAN


@METRICS.register("detected-within-1")
def detected_within_1(seen: Watch) -> float:
    """1 when the named classes are right from the first round after the request on, and stay so, else 0."""
    return NAN if np.isnan(detected(seen)) else float(detection_delay(seen) <= 1)


@METRICS.register("early-alarms")
def early_alarms(seen: Watch) -> float:
    """Share of the rounds before the request after which any class was named; on a control of all rounds watched."""
    before = seen.rounds <= 0
    return float(seen.loud[before].mean()) if before.any() else NAN


@METRICS.register("request-round-error")
def request_round_error(guess: float, truth: int) -> float:
    """Rounds between the request and where an attack that was not told its round puts it."""
    return float(abs(guess - truth))
