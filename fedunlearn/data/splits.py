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
    that part. Where some classes are foreign to the federation, all of this is about the others alone, and `public` is
    a count or a share of the foreign samples.

    Raises:
        ScenarioError: when the parts ask for more samples than there are, or a share of the samples is none.
    """
    start = len(dataset) - dataset.num_own_test
    own = dataset.all_labels < dataset.num_classes
    members, own_test, foreign = np.flatnonzero(own[:start]), start + np.flatnonzero(own[start:]), np.flatnonzero(~own)

    def shuffled(ids: np.ndarray, round: int) -> np.ndarray:
        drawn = ids[rng(seed, "split", round).permutation(len(ids))]
        return interleaved(drawn, dataset.labels(drawn)) if settings.stratified else drawn

    total, elsewhere = len(members), {"test": own_test, "public": foreign}
    sizes = {
        part: _count(part, getattr(settings, part), total) for part in HELD_OUT if not len(elsewhere.get(part, ()))
    }
    taken = sum(sizes.values())
    if taken >= total:
        listed = " + ".join(f"{part} {size}" for part, size in sizes.items())
        raise ScenarioError(f"data: {listed} = {taken} of {total} samples leave none to train on")
    *held_out, rest = np.split(shuffled(members, 0), np.cumsum(list(sizes.values())))
    parts = dict(zip(sizes, held_out, strict=True))
    for round, (part, ids) in enumerate(elsewhere.items(), start=1):
        if len(ids):
            parts[part] = shuffled(ids, round)[: _count(part, getattr(settings, part), len(ids))]
    if settings.train is not None:
        wanted = _count("train", settings.train, total)
        if wanted > len(rest):
            why = f"{' + '.join(sizes)} leave {len(rest)} of {total} samples"
            raise ScenarioError(f"data.train = {settings.train}: more than there are; {why}")
        rest = rest[:wanted]
    return Splits(train=np.sort(rest), **{part: np.sort(ids) for part, ids in parts.items()})


def interleaved(ids: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return ids (n,) reordered so that every stretch of them has the classes in the proportions of the whole.

    Within a class they keep their order. Of classes of equal size a stretch of m samples per class has exactly m.

    Example:
        >>> interleaved(np.array([7, 5, 3, 1]), np.array([0, 0, 1, 1])).tolist()
        [7, 3, 5, 1]
    """
    place = np.empty(len(ids))
    for label in np.unique(labels):
        of_class = np.flatnonzero(labels == label)
        place[of_class] = (np.arange(len(of_class)) + 0.5) / len(of_class)
    return ids[np.lexsort((labels, place))]


def _count(part: str, amount: Amount, total: int) -> int:
    """Return how many of `total` samples an amount is; rounded down, so that shares never add up to too many."""
    count = amount if isinstance(amount, int) else int(amount * total + 1e-9)
    if count > total:
        raise ScenarioError(f"data.{part} = {amount}: more than the {total} samples there are")
    if amount and not count:
        raise ScenarioError(f"data.{part} = {amount}: that share of {total} samples is none; write a count")
    return count
