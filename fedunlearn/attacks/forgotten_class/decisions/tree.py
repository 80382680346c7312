"""A decision tree that saw shadows forget."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata
from sklearn.tree import DecisionTreeClassifier

from fedunlearn.attacks.forgotten_class.decisions.base import (
    DECISIONS,
    ROUNDING,
    ClassEvidence,
    Decided,
    Decision,
    Measured,
    selected,
)
from fedunlearn.attacks.forgotten_class.decisions.youden import forgotten_mask

DEPTH = 3


@DECISIONS.register("tree")
class Tree(Decision):
    """A decision tree of depth 3 over the features and their ranks within the model. Fitted on shadows.

    Classes are weighted so that forgotten and retained ones count alike. The model in question is never among the
    shadows. Deviation from fitting on shadows with requests alone: shadow controls are in the fit, all their classes
    retained, or a tree over ranks would always name somebody.

    Source: Zheng, Chen, Huang, Guo, Xiao, Label Leakage Attacks in Machine Unlearning (arXiv 2604.07386), who decide
    by a tree; depth, weights and ranks are ours.
    """

    fits = True
    shadows = "both"

    def __call__(self, evidence: ClassEvidence, shadows: Sequence[Measured], rng: np.random.Generator) -> Decided:
        """Return the classes that the tree takes for forgotten."""
        rows = np.concatenate([with_ranks(seen) for seen, _ in shadows])
        truth = np.concatenate([forgotten_mask(shadow) for shadow in shadows])
        tree = DecisionTreeClassifier(
            max_depth=DEPTH, class_weight="balanced", random_state=int(rng.integers(2**31))
        ).fit(rows, truth)
        likely = tree.predict_proba(with_ranks(evidence))[:, list(tree.classes_).index(True)]
        return Decided(selected(likely > 0.5 + ROUNDING), {"tree-leaves": int(tree.get_n_leaves())})


def with_ranks(evidence: ClassEvidence) -> np.ndarray:
    """Return the features and the mean ranks of scores and features over the classes, from 0 to 1, as columns."""
    columns = np.column_stack([evidence.scores, evidence.features])
    ranks = (rankdata(columns, axis=0) - 1) / max(len(columns) - 1, 1)
    return np.column_stack([columns, ranks])
