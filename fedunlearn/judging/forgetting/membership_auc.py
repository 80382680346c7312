"""The AUC with which forgotten samples are told from unseen ones by the model's uncertainty alone.

The score is the modified entropy of Song and Mittal (`modified_entropy`). Unlike the share that a trained classifier
calls members (`membership_efficacy`), an AUC has no threshold that a few samples could move.
"""

import numpy as np
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from fedunlearn.judging.forgetting.modified_entropy import modified_entropy
from fedunlearn.judging.metric import NAN


def mia_auc(
    forgotten: np.ndarray, forgotten_labels: np.ndarray, unseen: np.ndarray, unseen_labels: np.ndarray
) -> float:
    """Return how often the model is surer of a forgotten sample than of an unseen one, in [0, 1]; .5 is ideal.

    Above it the model still knows the forgotten samples, below it they stand out by being known too little. Unseen
    samples weigh as much as their class has forgotten ones: were the classes mixed otherwise, how hard they are would
    tell the two apart. NaN where no class has both.

    Args:
        forgotten: probabilities (n, num_classes).
        forgotten_labels: true classes, int (n,).
        unseen: the same of samples that nobody trained on, (m, num_classes).
        unseen_labels: int (m,).
    """
    classes = forgotten.shape[1]
    ours, theirs = (np.bincount(labels, minlength=classes) for labels in (forgotten_labels, unseen_labels))
    kept = theirs[forgotten_labels] > 0
    weights = (ours / np.maximum(theirs, 1))[unseen_labels]
    if not kept.any():
        return NAN
    entropies = [
        modified_entropy(forgotten[kept], forgotten_labels[kept]), modified_entropy(unseen, unseen_labels)
    ]  # fmt: skip
    member = np.repeat([True, False], [kept.sum(), len(unseen)])
    ranks = rankdata(-np.concatenate(entropies))
    return float(roc_auc_score(member, ranks, sample_weight=np.concatenate([np.ones(kept.sum()), weights])))
