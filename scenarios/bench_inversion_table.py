"""The figures of the inversion benchmark as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench_inversion_cases import Row
from rich import box
from rich.table import Table

Figures = Mapping[str, Any]
HEADINGS = ("PSNR", "gain", "trials x iterations / s", "faster by", "range", "by CPU time", "objectives differ")
NOISE = 0.1  # dB that mean nothing: the sides weigh the border's total variation differently
TARGETS = f"not below the peer's PSNR by more than {NOISE} dB or two standard errors; as many times its throughput"


def table(figures: Figures, rows: Sequence[Row]) -> Table:
    """Return the table; a figure that misses its target is red."""
    title = f"inverting-gradients, {figures['restarts']} restarts, {figures['data']}, {_peer(figures)}"
    drawn = Table(box=box.ROUNDED, title=title, title_justify="left", caption=TARGETS, caption_justify="left")
    for heading in ("", *HEADINGS, "target"):
        drawn.add_column(heading, justify="right" if heading else "left")
    for row in rows:
        for cells in _row(figures, row):
            drawn.add_row(*cells)
        drawn.add_section()
    return drawn


def _peer(f: Figures) -> str:
    return f"beside {f['peer']}" if f["peer"] else f"the peer was not measured: {f['peer_missing']}"


def _row(f: Figures, row: Row) -> Iterator[tuple[str, ...]]:
    yield f"[bold]{row.model}[/], {_images(row.batch)}, {f[f'{row.name}_steps']} its", *("",) * 8
    yield "  fedunlearn", _decibel(f[f"{row.name}_ours_psnr"]), "", _speed(f[f"{row.name}_ours_throughput"]), *("",) * 5
    for side, label in (("peer", "  breaching"), ("plain", "  plain loop")):
        if f[f"{row.name}_{side}_psnr"] is None:
            yield label, "not measured", *("",) * 7
        else:
            yield label, *_beside(f, row, side)


def _beside(f: Figures, row: Row, side: str) -> Iterator[str]:
    gain, error = (f[f"{row.name}_{name}_over_{side}"] for name in ("psnr", "psnr_error"))
    speed, low, high, busy = (f[f"{row.name}_speed_over_{side}{end}"] for end in ("", "_min", "_max", "_cpu"))
    judged = side == "peer"
    yield _decibel(f[f"{row.name}_{side}_psnr"])
    yield _coloured(f"{gain:+.2f} ± {error:.2f} dB", not judged or gain + max(NOISE, 2 * error) >= 0)
    yield _speed(f[f"{row.name}_{side}_throughput"])
    yield _coloured(f"{speed:.2f} x", not judged or speed >= row.target)
    yield f"{low:.2f} - {high:.2f}"
    yield f"{busy:.2f} x"
    yield f"{f[f'{row.name}_objective_gap_to_{side}']:.0e}"
    yield f">= {row.target:g} x" if judged else ""


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"


def _decibel(value: float) -> str:
    return f"{value:.2f} dB"


def _speed(value: float) -> str:
    return f"{value:.0f}" if value >= 20 else f"{value:.1f}"


def _coloured(text: str, reached: bool) -> str:
    return text if reached else f"[red]{text}[/]"
