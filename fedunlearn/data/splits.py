"""Which samples train, and which are kept apart before anything else happens."""

from dataclasses import dataclass

import numpy as np

from fedunlearn.data.dataset import Dataset
from fedunlearn.data.settings import Amount, DataSettings
from fedunlearn.errors import ScenarioError
from fedunlearn.randomness import rng

HELD_OUT = ("test", "validation", "judge", "public")  # in this order: a larger public part moves no test sample


@dataclass(frozen=True, eq=False)
class Splits:
    """Disjoint, sorted sample ids (int64).

    Attributes:
        train: dealt out to the clients.
        validation: for tuning.
        test: for measuring the global models.
        public: what an attacker may own.
        judge: for the judge's own models.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    public: np.ndarray
    judge: np.ndarray


def split(dataset: Dataset, settings: DataSettings, seed: int) -> Splits:
    """Split at random, from the stream `split`.

    Shares are of all samples outside the source's own test part; where it has one, `test` is a count or a share of
    that part.

    Raises:
        ScenarioError: when the parts ask for more samples than there are, or a share of the samples is none.
    """
    own_test = dataset.num_own_test
    total = len(dataset) - own_test
    order = rng(seed, "split").permutation(total)
    sizes = {part: _count(part, getattr(settings, part), total) for part in HELD_OUT if part != "test" or not own_test}
    taken = sum(sizes.values())
    if taken >= total:
        listed = " + ".join(f"{part} {size}" for part, size in sizes.items())
        raise ScenarioError(f"data: {listed} = {taken} of {total} samples leave none to train on")
    *held_out, rest = np.split(order, np.cumsum(list(sizes.values())))
    parts = dict(zip(sizes, held_out, strict=True))
    if own_test:
        count = _count("test", settings.test, own_test)
        parts["test"] = total + rng(seed, "split", 1).permutation(own_test)[:count]
    if settings.train is not None:
        wanted = _count("train", settings.train, total)
        if wanted > len(rest):
            why = f"{' + '.join(sizes)} leave {len(rest)} of {total} samples"
            raise ScenarioError(f"data.train = {settings.train}: more than there are; {why}")
        rest = rest[:wanted]
    return Splits(train=np.sort(rest), **{part: np.sort(ids) for part, ids in parts.items()})


def _count(part: str, amount: Amount, total: int) -> int:
    """Return how many of `total` samples an amount is; rounded down, so that shares never add up to too many."""
    count = amount if isinstance(amount, int) else int(amount * total + 1e-9)
    if count > total:
        raise ScenarioError(f"data.{part} = {amount}: more than the {total} samples there are")
    if amount and not count:
        raise ScenarioError(f"data.{part} = {amount}: that share of {total} samples is none; write a count")
    return count
