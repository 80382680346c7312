"""Whose membership is in question."""

import numpy as np


def draw_candidates(
    members: np.ndarray,
    others: np.ndarray,
    member_labels: np.ndarray,
    other_labels: np.ndarray,
    most: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Return (sample ids, whether each is a member) in random order: of every class as many members as others.

    Classes occur in the members' proportions, as far as there are others. Were they not balanced, the label alone
    would tell members from others, as a client's data or a random sample is not mixed like a test set.

    Args:
        members: ids of samples that were trained on, (n,).
        others: ids of samples that were not, (m,).
        member_labels: classes of the members, (n,).
        other_labels: classes of the others, (m,).
        most: how many candidates there are at most, both kinds together.
        rng: for the choice and the order.
    """
    drawn = rng.permutation(len(members))
    available = np.bincount(other_labels, minlength=int(member_labels.max(initial=0)) + 1)
    labels = member_labels[drawn]
    paired = drawn[places(labels) < available[labels]][: most // 2]
    counts = np.bincount(member_labels[paired], minlength=len(available))
    drawn = rng.permutation(len(others))
    labels = other_labels[drawn]
    partners = drawn[places(labels) < counts[labels]]
    ids = np.concatenate([members[paired], others[partners]])
    member = np.repeat([True, False], len(paired))
    order = rng.permutation(len(ids))
    return ids[order], member[order]


def places(labels: np.ndarray) -> np.ndarray:
    """Return for each entry of labels (n,) how many equal ones stand before it.

    Example:
        >>> places(np.array([7, 2, 7, 7, 2])).tolist()
        [0, 0, 1, 2, 1]
    """
    found = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        found[labels == label] = np.arange(np.count_nonzero(labels == label))
    return found
