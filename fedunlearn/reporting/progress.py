"""How far a run is, on the terminal: a live line per process, or plain lines where there is no terminal."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol

from rich.console import Console
from rich.live import Live
from rich.text import Text

PLAIN_EVERY = 5.0  # seconds between plain lines


def sparingly(tell: Callable[[str], None], seconds: float = 1.0) -> Callable[[str], None]:
    """Return `tell` such that it hears at most one text in so many seconds; the others are dropped."""
    last = -math.inf

    def told(text: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= seconds:
            last = now
            tell(text)

    return told


class Listener(Protocol):
    """Whoever is told how far the cells of one process are."""

    def cell(self, name: str, number: int, count: int) -> None:
        """Hear that a cell begins, the `number`-th of `count`."""

    def begin(self, what: str, rounds: int) -> None:
        """Hear what comes next, and how many rounds it takes (0: not known)."""

    def row(self, row: dict[str, Any]) -> None:
        """Hear that a round has finished."""


class Line:
    """Cell, branch, round, accuracy and failures of one process.

    Args:
        show: called after every change with this line and whether it is worth a plain line at once.
    """

    def __init__(self, show: Callable[[Line, bool], None]) -> None:
        self._show = show
        self._cell, self._what, self._total, self._done = "", "starting the engine", 0, 0
        self._row: dict[str, Any] = {}
        self._failures = 0
        self.said = time.monotonic()  # when it was last printed as a plain line

    def cell(self, name: str, number: int, count: int) -> None:
        """Say that a cell begins, the `number`-th of `count`."""
        self._cell = f"{name} ({number}/{count})" if count > 1 else name
        self._failures = 0

    def begin(self, what: str, rounds: int) -> None:
        """Say what comes next, and how many rounds it takes (0: not known).

        What stands after a colon says how far it is; that alone is worth a plain line only now and then.
        """
        news = what.partition(":")[0] != self._what.partition(":")[0]
        self._what, self._total, self._done, self._row = what, rounds, 0, {}
        self._show(self, news)

    def row(self, row: dict[str, Any]) -> None:
        """Say that a round has finished."""
        self._done += 1
        self._failures += len(row["failures"])
        self._row = row | {"accuracy": row["accuracy"] if row["accuracy"] is not None else self._row.get("accuracy")}
        self._show(self, False)

    def __str__(self) -> str:
        parts = [self._cell, self._what]
        if self._done:
            parts.append(f"round {self._done}" + (f"/{self._total}" if self._total else ""))
        if self._row.get("accuracy") is not None:
            parts.append(f"accuracy {self._row['accuracy']:.1%}")
        if self._row.get("forget_accuracy") is not None:
            parts.append(f"on forgotten classes {self._row['forget_accuracy']:.1%}")
        if self._failures:
            parts.append(f"{self._failures} failed updates")
        return "  ·  ".join(part for part in parts if part)


class Progress:
    """Shows the lines of one or several processes, with the elapsed time.

    Args:
        console: where to write; standard error by default.
        lines: how many processes there are.

    Attributes:
        lines: one `Line` each.
    """

    def __init__(self, console: Console | None = None, lines: int = 1) -> None:
        self._console = console or Console(stderr=True)
        self._live: Live | None = None
        self._started = time.monotonic()
        self.lines = [Line(self._show) for _ in range(lines)]

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._live = Live(self._text(self.lines), console=self._console, refresh_per_second=8, transient=True)
            self._live.__enter__()
        else:
            self._console.print(self._text(self.lines[:1]))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.__exit__(kind, error, trace)

    def _show(self, line: Line, important: bool) -> None:
        if self._live:
            self._live.update(self._text(self.lines))
        elif important or time.monotonic() - line.said > PLAIN_EVERY:
            line.said = time.monotonic()
            self._console.print(self._text([line]))

    def _text(self, lines: list[Line]) -> Text:
        passed = f"{time.monotonic() - self._started:4.0f} s"
        return Text("\n".join(f"{passed}  ·  {line}" for line in lines), style="dim" if not self._live else "")
