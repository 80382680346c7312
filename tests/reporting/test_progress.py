"""How far a run is: plain lines for files and pipes, and the brake for those who tell too often."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from fedunlearn.reporting.progress import Progress, sparingly


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only when a test says so."""
    now = [100.0]
    monkeypatch.setattr("fedunlearn.reporting.progress.time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def test_sparing_talk_is_at_most_one_text_a_second(clock):
    heard = []
    tell = sparingly(heard.append)
    for moment in (0.0, 0.4, 0.9, 1.0, 1.1, 1.9, 2.0, 7.0, 7.0):
        clock[0] = 100 + moment
        tell(str(moment))
    assert heard == ["0.0", "1.0", "2.0", "7.0"]


def test_plain_lines_say_what_begins_at_once_and_how_far_it_is_now_and_then(clock):
    console = Console(file=io.StringIO(), width=120)
    with Progress(console) as progress:
        progress.lines[0].begin("gradient-matching on trunk", 0)
        for second in range(12):
            clock[0] += 1
            progress.lines[0].begin(f"gradient-matching on trunk: restart 1, step {100 * second}", 0)
        progress.lines[0].begin("population on control", 0)
    lines = console.file.getvalue().splitlines()
    steps = [line for line in lines if "step" in line]
    assert len(steps) == 2
    assert "gradient-matching on trunk: restart 1, step 500" in steps[0]
    assert "population on control" in lines[-1]
