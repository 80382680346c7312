"""Which training sample a rebuilt image gives away: its nearest neighbours among all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fedunlearn.judging.metric import METRICS, NAN

BLOCK = 2**24  # pixels of the pool that are in memory at once: 128 MiB of float64
TIE = 1e-9  # differences of squared distances below this share of the images' own size are rounding


@METRICS.register("identification-rate")
def identification_rate(credits: np.ndarray) -> float:
    """Share of rebuilt images whose nearest neighbour (squared error) among all training images is the right one.

    When several training images are equally near, the right one among them, each has its share of the credit.
    """
    return float(np.mean(credits))


@dataclass(frozen=True)
class Guess:
    """Images that somebody answers, and whom each answer was matched with.

    Attributes:
        images: (k, C, H, W); not finite where there is no answer.
        samples: the samples that were matched, (pairs,).
        columns: which of the images each of them was matched with, (pairs,).
    """

    images: np.ndarray
    samples: np.ndarray
    columns: np.ndarray


def credits(guesses: Sequence[Guess], pool: np.ndarray, images: Callable[[np.ndarray], np.ndarray]) -> list[np.ndarray]:
    """Return for each guess what its pairs add to the identification rate, (pairs,); NaN without an answer.

    Args:
        guesses: all that there are, so that the pool is read once.
        pool: the sample ids to look among, with those of the guesses.
        images: returns the images (k, C, H, W) of sample ids.
    """
    queries = np.concatenate([guess.images for guess in guesses])
    finite = np.isfinite(queries).all(axis=(1, 2, 3))
    looked_up = iter(nearest_samples(queries[finite], pool, images))
    nearest = iter([next(looked_up) if known else None for known in finite])
    found = []
    for guess in guesses:
        own = [next(nearest) for _ in guess.images]
        pairs = zip((own[column] for column in guess.columns), guess.samples, strict=True)
        found.append(np.array([NAN if ids is None else credit(ids, sample) for ids, sample in pairs]))
    return found


def credit(nearest: np.ndarray, true: int) -> float:
    """Return the share of an image's nearest samples that is the true one.

    Example:
        >>> credit(np.array([2, 7]), 7), credit(np.array([4]), 7)
        (0.5, 0.0)
    """
    return float(np.mean(nearest == true))


def nearest_samples(
    queries: np.ndarray, pool: np.ndarray, images: Callable[[np.ndarray], np.ndarray]
) -> list[np.ndarray]:
    """Return for each query the ids of the pool's images with the least squared error; several only in a tie.

    Args:
        queries: (n, C, H, W), finite.
        pool: sample ids (m,).
        images: returns the images (k, C, H, W) of sample ids; asked in blocks, so that any data set fits.
    """
    flat = queries.reshape(len(queries), -1).astype(np.float64)
    own = (flat**2).sum(1)
    least, found = np.full(len(flat), np.inf), [np.empty(0, np.int64) for _ in flat]
    rows = max(1, BLOCK // max(1, flat.shape[1]))
    for start in range(0, len(pool), rows):
        ids = pool[start : start + rows]
        block = images(ids).reshape(len(ids), -1).astype(np.float64)
        sizes = (block**2).sum(1)
        squared = own[:, None] + sizes - 2 * flat @ block.T
        slack = TIE * (1 + own + sizes.max())
        for query, distances in enumerate(squared):
            nearer = min(least[query], float(distances.min()))
            kept = found[query] if least[query] <= nearer + slack[query] else found[query][:0]
            found[query] = np.concatenate([kept, ids[distances <= nearer + slack[query]]])
            least[query] = nearer
    return found
