"""The figures as a table that says what was compared and what is hoped for."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich import box
from rich.table import Table

Figures = Mapping[str, Any]


def table(figures: Figures) -> Table:
    """Return the table; a figure that misses its target is red."""
    drawn = Table(box=box.ROUNDED, title="How fast fedunlearn simulates a federation", title_justify="left")
    for heading, justify in (("", "left"), ("per round", "right"), ("result", "right"), ("range", "right")):
        drawn.add_column(heading, justify=justify)  # type: ignore[arg-type]
    drawn.add_column("target", justify="right")
    for section in (_lenet(figures), _mlp(figures), _stock(figures), _memory(figures)):
        for row in section:
            drawn.add_row(*row)
        drawn.add_section()
    return drawn


def _lenet(f: Figures) -> Iterator[tuple[str, ...]]:
    yield f"[bold]LeNet[/], {f['lenet_clients']} clients x 1 epoch, {f['lenet_data']}", "", "", "", ""
    yield f"  bare PyTorch loop, {f['workers']} processes", _seconds(f["lenet_limit_seconds"]), "the limit", "", ""
    yield "  fedunlearn on Ray", *_share(f, "lenet_ray", "limit", 0.85)
    yield "  fedunlearn in-process, 1 process", *_share(f, "lenet_in_process", "limit")


def _mlp(f: Figures) -> Iterator[tuple[str, ...]]:
    yield f"[bold]MLP 64-128-10[/], {f['mlp_clients']} clients x 1 step of 10 images", "", "", "", ""
    yield "  one functional vmap, 1 process", _seconds(f["mlp_vmap_limit_seconds"]), "the limit", "", ""
    yield "  fedunlearn on Ray", *_share(f, "mlp_ray", "vmap_limit", 0.45)
    yield "  fedunlearn in-process, 1 process", *_share(f, "mlp_in_process", "vmap_limit")


def _stock(f: Figures) -> Iterator[tuple[str, ...]]:
    yield "  stock Flower, one SuperNode per client", _seconds(f["mlp_stock_flower_seconds"]), "", "", ""
    for name, label, target in (("mlp_vs", "on Ray", 40), ("mlp_in_process_vs", "in-process", None)):
        value, low, high = (f[f"{name}_stock_flower{end}"] for end in ("", "_min", "_max"))
        shown = _coloured(f"{value:.0f} x faster", target is None or value >= target)
        yield f"  fedunlearn {label} is", "", shown, f"{low:.0f} - {high:.0f}", f">= {target}" if target else ""


def _memory(f: Figures) -> Iterator[tuple[str, ...]]:
    yield f"[bold]Memory[/], {f['rss_clients']} clients, {f['rss_sampled']} per round", "", "", "", ""
    for number in (5, 50):
        label = f"  driver and {f['workers']} workers after round {number}"
        yield label, "", f"{f[f'rss_round_{number}_mb']:.0f} MB", "", ""
    yield "  growth in between", "", _coloured(f"{f['rss_growth']:+.1%}", f["rss_growth"] < 0.08), "", "< 8%"
    yield "[bold]Command line[/]", "", "", "", ""
    yield "  run_sim.py --help", "", _coloured(f"{f['help_seconds']:.2f} s", f["help_seconds"] <= 0.5), "", "<= 0.5 s"


def _share(f: Figures, prefix: str, limit: str, target: float | None = None) -> tuple[str, str, str, str]:
    name = f"{prefix}_share_of_{limit}"
    shown = _coloured(f"{f[name]:.0%} of the limit", target is None or f[name] >= target)
    spread = f"{f[f'{name}_min']:.0%} - {f[f'{name}_max']:.0%}"
    return _seconds(f[f"{prefix}_seconds"]), shown, spread, f">= {target:.0%}" if target else ""


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.0f} ms"


def _coloured(text: str, reached: bool) -> str:
    return text if reached else f"[red]{text}[/]"
