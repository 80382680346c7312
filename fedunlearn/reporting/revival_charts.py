"""Charts of revived models: erased against retained, and what more rounds of regrowth give."""

from __future__ import annotations

from fedunlearn.reporting import formats
from fedunlearn.reporting.pair_bars import Bars, PairChart, counted
from fedunlearn.reporting.revivals import ERASED, RETAINED, SECTIONS, Line, Revival, name_of
from fedunlearn.reporting.share_lines import LEFT, RIGHT, WIDTH, Chart, Point, share_lines

GROWING = {"sign-accuracy": "signs right", ERASED: "erased"}
STYLES = ("s1", "s2", "s3", "s7", "s8", "s4", "s0", "s5", "s6")
FEWEST = 2  # numbers of rounds that make a curve


def revival_bars(revival: Revival) -> PairChart:
    """Return erased and retained accuracy of every model that has any; the best control is marked."""
    lines: list[Bars] = []
    for kind, heading in SECTIONS.items():
        for place, line in enumerate(revival.of_kind(kind)):
            pair = (line.figure(ERASED), line.figure(RETAINED))
            lines.append(Bars(name_of(line), (pair,), "" if place else heading))
    best = revival.best_control
    value = best.figure(ERASED).value if best else None
    mark = None if best is None or value is None else (value, f"erased accuracy of the best control, {best.name}")
    keys = ("erased class called right", "other classes called right")
    return PairChart("What was pruned", revival.title, ((ERASED, ""),), keys, tuple(lines), mark, bars_caption(revival))


def bars_caption(revival: Revival) -> str:
    """Say n, and what the dashes are."""
    known = [line for line in revival.lines if line.figure(ERASED).value is not None]
    erased, others = (counted([line.figure(metric) for line in known]) for metric in (ERASED, RETAINED))
    said = f"n = {erased} images of the erased class, {others} of the others." if revival.trials == 1 else ""
    said = said or f"Means over runs, n = {erased}; intervals draw seeds again."
    said += " Thin lines: 95 % intervals."
    best = revival.best_control
    if best is None:
        return f"{said} No control was run: without one a revival proves nothing."
    share = formats.percent(best.figure(ERASED).value)
    return f"{said} Dashes: {best.name}, best of those that recover no pruned weight, calls {share} right."


def growth_chart(revival: Revival) -> Chart | None:
    """Return signs and erased accuracy over the number of rounds watched; None where that number does not vary."""
    curves = {series: points for series, points in revival.growth.items() if len(points) >= FEWEST}
    if not curves:
        return None
    rounds = sorted({number for points in curves.values() for number, _ in points})
    slot = (WIDTH - LEFT - RIGHT) / len(rounds)
    places = {number: LEFT + slot * (place + 0.5) for place, number in enumerate(rounds)}
    names, lines = [], []
    for metric, word in GROWING.items():
        for series, points in curves.items():
            known = [(number, line) for number, line in points if line.figure(metric).value is not None]
            if known:
                names.append(f"{word}, {series}")
                lines.append([_point(line, metric, number, places[number]) for number, line in known])
    lines, names = lines[: len(STYLES)], names[: len(STYLES)]
    if not lines:
        return None
    drawn = list(zip(STYLES, lines, strict=False))
    across = [(x, str(number)) for number, x in places.items()]
    label = f"Regrowth {revival.title}"
    chart = share_lines(drawn, across, "rounds watched after the pruning", 0.5, label, aside=True)
    weights = counted([line.figure("sign-accuracy") for points in curves.values() for _, line in points])
    images = counted([line.figure(ERASED) for points in curves.values() for _, line in points])
    n = f"{weights} weights, {images} images of the class" if revival.trials == 1 else f"{images} runs"
    caption = f"Lines: 95 % intervals; n = {n}. Dashes: chance of a sign."
    return Chart("What more rounds give", chart, tuple(zip(names, STYLES, strict=False)), caption)


def _point(line: Line, metric: str, rounds: int, x: float) -> Point:
    figure = line.figure(metric)
    words = f"{line.name}, {rounds} rounds: {formats.amount(metric, figure.value)}"
    interval = "" if None in figure.ci else f" ({formats.span(metric, figure.ci)})"
    return Point(x, figure.value or 0.0, figure.ci, f"{words}{interval}, n = {figure.n:,}")
