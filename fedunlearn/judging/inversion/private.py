"""Which private samples claimed pictures are compared with, and which fresh ones stand beside them."""

from __future__ import annotations

import numpy as np

MOST = 100  # private samples of a class


def choose_private(members: np.ndarray, labels: np.ndarray, forgotten: np.ndarray, most: int = MOST) -> np.ndarray:
    """Return the ids that claimed pictures are compared with, sorted: of every class all, or `most` of them.

    Of a class with more, ids at even distances are taken: the same ones for every attack and branch. Of one that is
    forgotten in part, forgotten samples are half of them as far as there are so many, so that both kinds are seen.

    Args:
        members: ids of the federation's samples, with those that were forgotten, (n,).
        labels: their classes, (n,).
        forgotten: ids of the forgotten ones.
        most: of a class.
    """
    chosen = []
    for label in np.unique(labels):
        of_class = np.sort(members[labels == label])
        gone = np.isin(of_class, forgotten)
        others = int(np.count_nonzero(~gone))
        taken = spread(of_class[gone], max(most // 2, most - others))
        chosen += [taken, spread(of_class[~gone], most - len(taken))]
    return np.sort(np.concatenate(chosen))


def spread(ids: np.ndarray, most: int) -> np.ndarray:
    """Return at most so many of the ids, at even distances.

    Example:
        >>> spread(np.arange(10), 4).tolist(), spread(np.arange(3), 4).tolist()
        ([0, 2, 5, 7], [0, 1, 2])
    """
    return ids if len(ids) <= most else ids[np.arange(most) * len(ids) // most]


def stand_ins(fresh: np.ndarray, labels: np.ndarray, claimed: np.ndarray) -> np.ndarray:
    """Return fresh samples to be judged as if they were claimed: of each class as many as were, if there are so many.

    Args:
        fresh: ids of samples that the federation never had, the most unknown first, (n,).
        labels: their classes, (n,).
        claimed: the classes of the claimed pictures, (m,).
    """
    wanted = {int(label): np.count_nonzero(claimed == label) for label in np.unique(claimed)}
    return np.concatenate([fresh[labels == label][:count] for label, count in wanted.items()])
