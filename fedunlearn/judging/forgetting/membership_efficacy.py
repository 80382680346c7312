"""MIA-efficacy: how many of the forgotten samples a membership classifier takes for samples never seen.

Source: Jia, Liu, Ram, Yao, Liu, Liu, Sharma and Liu, "Model Sparsity Can Simplify Machine Unlearning", NeurIPS 2023
(arXiv 2304.04934, section 4): a support vector classifier on the probability of the true class, taught on retained
samples (members) against test samples (not), as many of either. High is not good by itself: the retrained model's
value is what to compare with. It is a noisy figure: with 1,000 of either kind, another draw of them moves the value of
one model by three points (standard deviation), with 4,000 by half a point. And where a model knows members no better
than others, the classifier's threshold has no place to be, and jumps.
"""

import numpy as np
from sklearn.svm import SVC

from fedunlearn.judging.metric import NAN


def mia_efficacy(retained: np.ndarray, test: np.ndarray, forgotten: np.ndarray, rng: np.random.Generator) -> float:
    """Return the share of forgotten samples that are called non-members, in [0, 1]; NaN where any kind is missing.

    Args:
        retained: probabilities of the true class of retained training samples, (n,). Time grows with the square.
        test: the same of samples that nobody trained on, (m,).
        forgotten: the same of forgotten samples, (k,).
        rng: chooses which samples the classifier learns from.
    """
    count = min(len(retained), len(test))
    if not count or not len(forgotten):
        return NAN
    known = np.concatenate([rng.choice(kind, count, replace=False) for kind in (retained, test)])
    classifier = SVC(C=3, kernel="rbf", gamma="auto").fit(known[:, None], np.repeat([1, 0], count))
    return float((classifier.predict(forgotten[:, None]) == 0).mean())
