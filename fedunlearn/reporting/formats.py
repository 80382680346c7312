"""Values for a reader: shares, decibels, intervals, class names."""

from collections.abc import Sequence

from fedunlearn.judging.metric import ROUNDS

DASH = "\u2013"
_SHARES = (
    "irec", "exact", "le-acc", "ln-acc", "rebuilt-share", "identification-rate", "top-1", "exact-set", "alarm",
    "detected", "detected-within-1", "early-alarms", "balanced-accuracy", "false-alarm", "per-class-accuracy",
    "tpr-at-1-fpr", "tpr-at-10-fpr", "best-balanced-accuracy", "class-false-positive-rate", "class-precision",
    "mask-precision", "mask-recall", "attack-accuracy-5", "precision", "recall", "vulnerability-top", "margin-top",
)  # fmt: skip
_SHARES_OF_A_PART = ("accuracy", "coverage", "vulnerable-share")  # also of what was forgotten, of the others, ...
_DISTANCES = ("lpips", "fft2d")
_SCORES_OF_SAMPLES = ("ddcs-surrogate", "ddcs-excess")
_FEATURE_DISTANCES = ("knn-distance", "frechet-judge-cnn")  # of any size


def percent(value: float | None) -> str:
    """Return a share for a reader, a dash when it is unknown.

    Example:
        >>> percent(0.9549), percent(1.0), percent(0.00001), percent(None) == DASH
        ('95.5%', '100%', '<0.01%', True)
    """
    if value is None:
        return DASH
    return "<0.01%" if 0 < value < 1e-4 else f"{100 * value:.3g}%"


def amount(metric: str, value: float | None) -> str:
    """Return the value of a metric in its unit: percent, dB, or a plain number.

    Example:
        >>> amount("top-1", 0.5), amount("psnr", 27.14), amount("auc", 0.613), amount("lpips", 0.0561)
        ('50%', '27.1 dB', '0.61', '0.056')
    """
    if value is None:
        return DASH
    if metric in _SHARES or metric.endswith(_SHARES_OF_A_PART):
        return percent(value)
    if metric.endswith(_FEATURE_DISTANCES):
        return f"{value:.3g}"
    if metric in _DISTANCES or metric.endswith(_SCORES_OF_SAMPLES):
        return f"{value:.3f}"
    if metric in ROUNDS:
        return f"{value:.3g} rounds"
    return f"{value:.1f} dB" if metric.startswith("psnr") else f"{value:.2f}"


def span(metric: str, ends: Sequence[float | None]) -> str:
    """Return an interval for a reader, the unit once.

    Example:
        >>> span("top-1", [0.207, 1.0]), span("psnr", [15.84, 32.0])
        ('20.7 … 100%', '15.8 … 32.0 dB')
    """
    if None in ends:
        return DASH
    low, high = (amount(metric, end) for end in ends)
    return f"{low.removesuffix(' dB').removesuffix('%').removesuffix(' rounds')} … {high}"


def names_of(classes: Sequence[int], names: Sequence[str]) -> str:
    """Return classes for a reader.

    Example:
        >>> names_of([3], "0123"), names_of([0, 2], ["cat", "dog", "owl"]), names_of([], [])
        ('class 3', 'classes 0 (cat), 2 (owl)', 'no class')
    """
    if not classes:
        return "no class"
    known = {c: names[c] for c in classes if c < len(names) and names[c] != str(c)}
    words = [f"{c} ({known[c]})" if c in known else str(c) for c in classes]
    return ("class " if len(words) == 1 else "classes ") + ", ".join(words)


def listed(words: Sequence[str]) -> str:
    """Return 'a', 'a and b', 'a, b and c'."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else list(words))
