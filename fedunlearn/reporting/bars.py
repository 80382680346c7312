"""Charts of one value per class, and of score distributions."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from markupsafe import Markup

from fedunlearn.reporting.svg import WIDTH, drawing, element, tooltip


def class_bars(
    scores: Sequence[float], names: Sequence[str], true: Collection[int], limits: tuple[float, float], label: str
) -> Markup:
    """Return one bar per class; the bars of `true` classes are filled, the others are pale.

    Args:
        scores: one per class.
        names: what stands below each bar.
        true: the classes to mark.
        limits: the lowest and highest value of the axis, the same for charts that are compared.
        label: for screen readers.
    """
    width, height = WIDTH / 2, 150.0
    low, high = min(limits[0], 0.0), max(limits[1], 0.0)
    scale = (height - 34) / max(high - low, 1e-300)  # all scores zero: bars without height
    zero = 12 + high * scale
    slot = (width - 8) / len(scores)
    parts = []
    for k, score in enumerate(scores):
        x = 4 + k * slot
        top, tall = (zero - score * scale, score * scale) if score >= 0 else (zero, -score * scale)
        bar = {"x": x + 0.12 * slot, "y": float(top), "width": 0.76 * slot, "height": max(float(tall), 0.8), "rx": 2}
        words = tooltip(f"{names[k]}: {score:.4g}")
        parts.append(element("rect", words, **bar, class_="bar true" if k in true else "bar"))
        if len(scores) <= 20 or k in true:
            style = "axis middle strong" if k in true else "axis middle"
            parts.append(element("text", names[k], x=x + slot / 2, y=height - 4, class_=style))
    parts.append(element("line", x1=4.0, x2=width - 4, y1=zero, y2=zero, class_="zero"))
    return drawing(width, height, parts, label)


def paired_bars(true: Sequence[int], found: Sequence[int], names: Sequence[str], label: str) -> Markup:
    """Return two bars per class, the true number beside the one found; in a small batch what is wrong is marked."""
    width, height = WIDTH / 2, 120.0
    slot, floor = (width - 8) / len(true), height - 20
    peak = max(*true, *found, 1)
    scale, few = (height - 38) / peak, peak <= 9 and len(true) <= 10  # a few labels are counted one by one
    parts = [element("line", x1=4.0, x2=width - 4, y1=floor, y2=floor, class_="zero")]
    for k, (right, claimed) in enumerate(zip(true, found, strict=True)):
        x = 4 + k * slot
        words = tooltip(f"{names[k]}: {right} in the batch, {claimed} found")
        for place, count, style in ((0.14, right, "bar original"), (0.51, claimed, "bar found")):
            bar = {"x": x + place * slot, "y": floor - count * scale, "width": 0.35 * slot, "height": count * scale}
            parts.append(element("rect", words, **bar, class_=style))
            if count and few:
                above = {"x": x + (place + 0.175) * slot, "y": floor - count * scale - 4}
                parts.append(element("text", str(count), **above, class_="axis middle"))
        if len(true) <= 20:
            mark = " \u2717" if few and right != claimed else ""
            style = "axis middle strong" if mark else "axis middle"
            parts.append(element("text", names[k] + mark, x=x + slot / 2, y=height - 4, class_=style))
    return drawing(width, height, parts, label)


def share_bars(true: Sequence[float], claimed: Sequence[float], names: Sequence[str], label: str) -> Markup:
    """Return two bars per class, its true share of what was forgotten beside the one claimed."""
    width, height = WIDTH / 2, 120.0
    slot, floor = (width - 8) / len(true), height - 20
    peak = max(*true, *claimed, 1e-300)
    parts = [element("line", x1=4.0, x2=width - 4, y1=floor, y2=floor, class_="zero")]
    for k, pair in enumerate(zip(true, claimed, strict=True)):
        x = 4 + k * slot
        words = tooltip(f"{names[k]}: {pair[0]:.1%} of what was forgotten, {pair[1]:.1%} claimed")
        for place, share, style in zip((0.14, 0.51), pair, ("bar original", "bar found"), strict=True):
            tall = max(share, 0.0) / peak * (height - 30)
            bar = {"x": x + place * slot, "y": floor - tall, "width": 0.35 * slot, "height": tall}
            parts.append(element("rect", words, **bar, class_=style))
        if len(true) <= 20:
            parts.append(element("text", names[k], x=x + slot / 2, y=height - 4, class_="axis middle"))
    return drawing(width, height, parts, label)


def histograms(members: np.ndarray, others: np.ndarray, label: str) -> Markup:
    """Return the scores of members and of others as two overlaid outlines, equal areas."""
    width, height = WIDTH / 2, 110.0
    edges = np.histogram_bin_edges(np.concatenate([members, others]), bins=24)
    shares = [np.histogram(values, edges)[0] / len(values) for values in (members, others)]
    peak = max(share.max() for share in shares)
    floor, slot = height - 6, (width - 8) / 24
    parts = [element("line", x1=4.0, x2=width - 4, y1=floor, y2=floor, class_="zero")]
    for share, style, name in zip(shares, ("s0", "s1"), ("forgotten samples", "unseen samples"), strict=True):
        tops = [
            (4 + (k + side) * slot, floor - s / peak * (height - 14)) for k, s in enumerate(share) for side in (0, 1)
        ]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in [(4.0, floor), *tops, (width - 4, floor)])
        parts.append(element("polygon", tooltip(name), points=path, class_=f"area {style}"))
    return drawing(width, height, parts, label)
