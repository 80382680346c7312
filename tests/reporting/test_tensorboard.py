"""TensorBoard files, read back with TensorBoard's own reader."""

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata as hparams

from fedunlearn.federation import Update
from fedunlearn.judging import AttackRow, Metric, Verdict
from fedunlearn.reporting.heat import confusion_picture
from fedunlearn.reporting.sketch import CountSketch, change
from fedunlearn.reporting.tensorboard import Board
from tests.reporting import synthetic


def read(folder):
    events = EventAccumulator(str(folder), size_guidance={"images": 0, "tensors": 0, "scalars": 0})
    events.Reload()
    return events


def weights(seed, count=50):
    return {"w": np.random.default_rng(seed).normal(size=(count, 4)).astype(np.float32), "steps": np.array(3)}


@pytest.fixture
def events(tmp_path):
    results = synthetic.results(tmp_path / "cell", {"federation.algorithm": "fedsgd"})
    with Board(tmp_path / "board") as board:
        for row in results["rounds"]:
            scalars = {key: row[key] for key in ("accuracy", "loss", "forget_accuracy", "retain_accuracy", "seconds")}
            board.round(row["branch"], row["round"], failures=len(row["failures"]), **scalars)
        updates = [Update(client, "weights", weights(client), 10) for client in range(4)]
        board.updates("trunk", 1, updates, weights(9), {0: "forget"})
        board.updates("trunk", 2, [], weights(9), {})
        for branch in results["branches"]:
            board.branch(branch, ["zero", *map(str, range(1, 10))])
        images = np.random.default_rng(0).random((2, 3, 8, 8))
        shown = Verdict({}, {"updates": [{"round": 1, "client": 5}]}, {"originals-0": images, "rebuilt-0": images})
        board.attack(AttackRow("matching", "server", "updates", "trunk", "images", {"psnr": Metric(9, 2)}), shown)
        forgotten = {"request": "r", "label-source": "auto", "notes": {"equations": [9], "unknowns": [7]}}
        arrays = {"originals-0": images, "rebuilt-0": images, "means-0": images[:2]}
        shown = Verdict({}, {"forgotten": forgotten, **forgotten}, arrays)
        board.attack(AttackRow("difference", "server", "updates", "control", "forgotten-images", {}), shown)
        scores = Verdict({}, {}, {"scores": np.arange(6.0), "member": np.arange(6) > 2})
        failed = {"auc": Metric(np.nan, 6)}
        board.attack(AttackRow("population", "server", "updates", "retrain", "membership", failed), scores)
        board.scenario('title = "a"', {"python": "3.11"})
        board.models(results)  # of which there are none
        board.hparams(results)
    return read(tmp_path / "board")


def test_curves_of_every_branch(events):
    tags = events.Tags()["scalars"]
    curve = events.Scalars("server/accuracy/trunk")
    assert [point.step for point in curve] == list(range(1, synthetic.REQUEST_ROUND + 1))
    assert {"server/loss/finetune", "unlearn/forget_accuracy/retrain", "unlearn/retain_accuracy/trunk"} <= set(tags)
    assert events.Scalars("server/failures/trunk")[2].value == 1


def test_pictures_are_enlarged_originals_above_rebuilt(events):
    picture = events.Images("attack/matching-server/pictures/trunk/client-5")[0]
    assert (picture.width, picture.height) == (2 * 112 + 3 * 4, 2 * 112 + 3 * 4)
    assert "unlearn/confusion/retrain" in events.Tags()["images"]


def test_forgotten_pictures_have_their_means_and_what_there_was_to_go_by(events):
    picture = events.Images("attack/difference-server/pictures/control/forgotten")[0]
    assert (picture.width, picture.height) == (4 * 116 + 4, 2 * 116 + 4)
    text = events.Tensors("attack/difference-server/pictures/control/text_summary")[0].tensor_proto.string_val[0]
    assert text == b"labels: restored by auto; 9 equations for 7 unknowns"


def test_scores_curves_text_and_layout(events):
    assert events.Scalars("attack/matching-server/psnr/trunk")[0].value == 9
    assert "attack/population-server/auc/retrain" not in events.Tags()["scalars"]
    tensors = set(events.Tags()["tensors"])
    assert "attack/population-server/members/retrain" in tensors
    assert {"scenario/text_summary", "manifest/text_summary", "custom_scalars__config__"} <= tensors
    assert "server/update_norm/trunk" in events.Tags()["histograms"]
    legend = events.Tensors("unlearn/confusion/trunk/text_summary")[0].tensor_proto.string_val[0]
    assert b"0 zero" in legend


def test_hparams_are_in_the_run_itself(events, tmp_path):
    assert hparams.EXPERIMENT_TAG in events.summary_metadata
    assert events.Scalars("final/test_accuracy/retrain")
    assert not [path for path in (tmp_path / "board").iterdir() if path.is_dir() and path.name not in ("00000",)]


def test_embedding_has_a_caption_per_update(events, tmp_path):
    (captions,) = (tmp_path / "board").rglob("metadata.tsv")
    lines = captions.read_text().splitlines()
    assert lines[0].split("\t") == ["client", "round", "branch", "data"]
    assert lines[1].split("\t") == ["0", "1", "trunk", "forget"]
    assert len(lines) == 5


def test_starting_again_leaves_no_old_curves(tmp_path):
    for _ in range(2):
        with Board(tmp_path / "board") as board:
            board.round("trunk", 1, accuracy=0.5)
    assert len(read(tmp_path / "board").Scalars("server/accuracy/trunk")) == 1


def test_sketch_keeps_distances():
    vectors = np.random.default_rng(0).normal(size=(6, 20_000)).astype(np.float32)
    sketch = CountSketch()
    small = np.array([sketch(vector) for vector in vectors])
    for a in range(6):
        for b in range(a):
            exact = np.linalg.norm(vectors[a] - vectors[b])
            assert np.linalg.norm(small[a] - small[b]) == pytest.approx(exact, rel=0.2)
    np.testing.assert_allclose(CountSketch()(2 * vectors[0]), 2 * small[0], rtol=1e-5)


def test_change_is_the_gradient_or_the_difference():
    start, end = weights(0), weights(1)
    np.testing.assert_allclose(change(Update(0, "weights", end, 1), start), (end["w"] - start["w"]).ravel())
    np.testing.assert_allclose(change(Update(0, "gradient", end, 1), start), end["w"].ravel())


def test_confusion_shade_is_the_share_of_the_true_class():
    small = confusion_picture(np.array([[9, 1], [0, 10]]))
    assert small.shape == (2 * 28 + 22, 2 * 28 + 22, 3)
    assert small[22, 22].sum() < small[22, 22 + 28].sum() < small[22 + 28, 22].sum()
    assert confusion_picture(np.eye(100, dtype=int)).shape == (500, 500, 3)
