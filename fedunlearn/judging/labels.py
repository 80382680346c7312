"""How well claimed label counts agree with the true ones (the measures of Ma et al., ICLR 2023, code BUAA-CST/iLRG)."""

import numpy as np

from fedunlearn.judging.metric import METRICS


@METRICS.register("irec")
def irec(true: np.ndarray, found: np.ndarray) -> float:
    """Share of a batch's labels that were recovered: sum of min(found, true) over the batch size.

    Args:
        true: (num_classes,) counts, with a positive sum.
        found: (num_classes,) claimed counts.
    """
    return float(np.minimum(true, found).sum() / true.sum())


@METRICS.register("le-acc")
def le_acc(true: np.ndarray, found: np.ndarray) -> float:
    """Share of classes whose presence in the batch is right."""
    return float(np.mean((true > 0) == (found > 0)))


@METRICS.register("ln-acc")
def ln_acc(true: np.ndarray, found: np.ndarray) -> float:
    """Share of classes whose number in the batch is right."""
    return float(np.mean(true == found))


@METRICS.register("exact")
def exact(true: np.ndarray, found: np.ndarray) -> float:
    """1 when every class count is right, else 0."""
    return float(np.array_equal(true, found))
