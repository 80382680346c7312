"""The columns of a suite's table, the same in the terminal and in the report."""

from __future__ import annotations

from dataclasses import dataclass

from fedunlearn.reporting.formats import DASH, listed
from fedunlearn.reporting.suite import SHARES, Method, Suite

DAGGER = "\u2020"  # behind a method with a training of its own


@dataclass(frozen=True)
class Column:
    """A measure, what stands above it, what it means, and how soon a narrow table does without it (first: 1)."""

    measure: str
    heading: str
    meaning: str
    dispensable: int


COLUMNS = (
    Column("forget_accuracy", "forgotten", "accuracy on the forgotten training samples", 9),
    Column(
        "backdoor_success", "backdoor", "test pictures of other classes that the trigger turns into the backdoor's", 8
    ),
    Column("retain_accuracy", "retained", "accuracy on the retained training samples", 9),
    Column("test_retain_accuracy", "test", "accuracy on test samples of classes that were not forgotten", 5),
    Column(
        "mia_efficacy",
        "MIA",
        "forgotten samples that a membership classifier takes for never seen; compare with retrain: "
        "higher is not better",
        2,
    ),
    Column(
        "mia_auc",
        "AUC",
        "how often the model is surer of a forgotten sample than of an unseen one of its class; 0.50: like unseen",
        3,
    ),
    Column("average_gap", "gap", "mean distance of accuracies and MIA to the retrained models, in points", 7),
    Column("rounds", "rounds", "rounds with clients", 4),
    Column("bytes", "sent", "bytes to and from the clients", 3),
    Column("client_seconds", "work", "seconds that the clients computed", 6),
    Column("server_seconds", "server", "seconds that the server itself worked, rounds of clients not counted", 1),
    Column("server_bytes", "stored", "what the server must have kept of training; none: none beside the model", 1),
    Column("speed_up", "faster", "how many times less client work than retraining", 4),
    Column("stopped", "stopped", "answers in which the method's own stop rule ended the ascent", 1),
)


@dataclass(frozen=True)
class Cell:
    """A figure as text, and its spread over the cells, empty where there is none."""

    text: str
    spread: str = ""


@dataclass(frozen=True)
class Row:
    """A line of the table; `best` where a method is as close to retraining as retraining is to itself."""

    name: str
    cells: tuple[Cell, ...]
    reference: bool
    best: bool


def columns(suite: Suite) -> tuple[Column, ...]:
    """Return the columns of which anything is known."""
    return tuple(column for column in COLUMNS if column.measure in suite.measures)


def rows(suite: Suite) -> list[Row]:
    """Return the lines of the table: references, then methods, the closest to retraining first."""
    return [
        Row(
            _name(method, suite.cells),
            tuple(cell(method, column.measure) for column in columns(suite)),
            method.reference,
            suite.within_floor(method),
        )
        for method in suite.rows
    ]


def cell(method: Method, measure: str) -> Cell:
    """Return a measure of a method for a reader; a cost of nothing is `none`."""
    figure = method.figures.get(measure)
    if figure is None:
        return Cell(DASH)
    if measure == "mia_auc":
        return Cell(f"{figure.mean:.2f}", "" if figure.spread is None else f"{figure.spread:.2f}")
    if measure in SHARES:
        spread = "" if figure.spread is None else f"{100 * figure.spread:.1f}"
        return Cell(f"{100 * figure.mean:.1f}", spread)
    return Cell("none" if not figure.mean else _cost(measure, figure.mean))


def _cost(measure: str, value: float) -> str:
    if measure.endswith("bytes"):
        return size(value)
    if measure == "rounds":
        return f"{value:g}"
    if measure.endswith("seconds"):
        return f"{_short(value)} s"
    return f"{_short(value)}x"


def _short(value: float) -> str:
    """Return three digits or so; what would read as nothing is `<0.01`."""
    if value < 0.005:
        return "<0.01"
    return f"{value:.{0 if value >= 100 else 1 if value >= 1 else 2}f}"


def size(count: float) -> str:
    """Return bytes in a unit that fits.

    Example:
        >>> size(900), size(41_300), size(12_345_678), size(3.1e9)
        ('1 kB', '41 kB', '12.3 MB', '3.1 GB')
    """
    for limit, unit, digits in ((1e6, "kB", 0), (1e9, "MB", 1)):
        if count < limit:
            return f"{max(count / limit * 1000, 1):.{digits}f} {unit}"
    return f"{count / 1e9:.1f} GB"


def _name(method: Method, cells: int) -> str:
    name = f"{method.name}{DAGGER if method.own_trunk else ''}"
    return name if method.cells == cells else f"{name} ({method.cells} of {cells})"


def reading(suite: Suite) -> str:
    """Say what the figures and the signs mean, for below the table; one line for each."""
    return "\n".join(filter(None, (_order(suite), _own_trunks(suite))))


def _own_trunks(suite: Suite) -> str:
    if not any(method.own_trunk for method in suite.methods):
        return ""
    told = [method.name for method in suite.methods if method.foresees]
    foreseen = f"; {listed(told)} must know the request beforehand" if told else ""
    return f"{DAGGER} trains in a way of its own, which is not counted{foreseen}."


def _order(suite: Suite) -> str:
    start = "In percent"
    if suite.cells > 1:
        start += f", \u00b1 the standard deviation over the runs it finished, {suite.cells} at most"
    if "average_gap" not in suite.measures:
        return f"{start}; sorted by the accuracy on what was forgotten."
    if suite.floor is None:
        return f"{start}; sorted by the gap to retraining, in points."
    best = sum(suite.within_floor(method) for method in suite.methods)
    verbs = ("are", "know") if best > 1 else ("is", "knows")
    return (
        f"{start}; sorted by the gap to retraining, in points. Retraining differs from itself by "
        f"{100 * suite.floor:.1f}: {best or 'no'} method{'s' if best > 1 else ''} {verbs[0]} as close (*)"
        f"{f' and {verbs[1]} no more of what was forgotten' if suite.limits else ''}."
    )
