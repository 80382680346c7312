"""How far a client stepped, where nobody told."""

from fedunlearn.attacks.label_restoration.fitting import nonnegative_fit
from fedunlearn.attacks.label_restoration.observation import Observation
from fedunlearn.observer.access import AccessRefused


def estimated_scale(seen: Observation) -> float:
    """Return about what the head's mean gradient was multiplied by to give `seen.gradient`: steps times rate.

    The movement of the head's weights is explained by the classes' mean gradients on public images, with factors
    >= 0: each is the scale times the share of a class, and shares sum to 1. Too small where a client's own samples
    have smaller gradients than public ones.

    Raises:
        AccessRefused: when no positive mix of class gradients is near the movement.
    """
    columns = seen.mean(lambda outputs: outputs.class_gradients)
    scale = float(nonnegative_fit(columns.reshape(len(columns), -1).T, seen.weight.ravel()).sum())
    if not scale:
        raise AccessRefused("the head moved unlike any mix of class gradients; its scale cannot be estimated")
    return scale
