"""What generating models make of each class, in the report and on the board."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fedunlearn.judging import AttackRow, Verdict
from fedunlearn.reporting import publish, read_results, save_verdict, write_results
from fedunlearn.reporting.artefacts import FRAME, GAP
from fedunlearn.reporting.portraits import albums, framed_rows
from fedunlearn.reporting.tensorboard import Board
from tests.reporting import synthetic_models as made
from tests.reporting.test_publish import parsed, quiet

MODELS = ("before", "pruned", "revived")


@pytest.fixture
def verdict():
    draws = np.random.default_rng(0)
    arrays = {f"portraits-{name}": draws.random((10, 4, 1, 8, 8)).astype(np.float16) for name in MODELS}
    return Verdict({}, {"erased": [3], "generated": {"per-class": 50}}, arrays)


def picture_of(uri):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def test_a_row_per_class_and_the_erased_one_framed(tmp_path, verdict):
    details, pictures = save_verdict(tmp_path, "revival-0", verdict)
    assert pictures == ["artefacts/revival-0-portraits.png"]
    rows = [{"branch": branch, "details": details} for branch in (made.PRUNED, "control")]
    pruned, control = albums(tmp_path, rows)
    assert [caption for caption, _ in pruned.models] == ["before pruning", "pruned", "revived"]
    assert pruned.heading == "after concept-prune: a row per class, 4 of n = 50 images of each"
    shown, step = picture_of(pruned.models[0][1]), 112 + GAP
    assert shown.shape == (10 * step + GAP, 4 * step + GAP, 3)
    framed = np.flatnonzero((shown[:, 0] == FRAME).all(axis=1))
    assert list(framed) == list(range(3 * step, 4 * step + GAP))
    assert control.quiet
    assert not (picture_of(control.models[0][1])[:, 0] == FRAME).all(axis=1).any()


def test_models_that_only_classify_have_no_album(tmp_path):
    assert albums(tmp_path, [{"branch": made.PRUNED, "details": {"erased": [3]}}]) == ()
    assert framed_rows(np.zeros((2, 3, 1, 8, 8)), ()).shape == (2 * 116 + GAP, 3 * 116 + GAP, 3)


def test_the_report_and_the_board_show_them(tmp_path, attacked, verdict):
    results = read_results(attacked)
    details, _ = save_verdict(tmp_path, "revival-0", verdict)
    row = next(row for row in results["attacks"] if (row["label"], row["branch"]) == ("revival", made.PRUNED))
    row["details"] |= details
    write_results(tmp_path, results)
    page = publish(tmp_path, quiet()).read_text()
    parsed(page)
    assert re.findall(r'alt="images generated ([a-z ]+)"', page) == ["before pruning", "pruned", "revived"]
    assert "What was pruned: 7 attacks in words" in page
    with Board(tmp_path / "board") as board:
        board.attack(AttackRow("revival", "server", "final-weights", made.PRUNED, "revival", {}), verdict)
    events = EventAccumulator(str(tmp_path / "board"), size_guidance={"images": 0})
    events.Reload()
    assert events.Tags()["images"] == [f"attack/revival-server/portraits/{made.PRUNED}"]
