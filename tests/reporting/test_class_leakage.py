"""Attacks on the forgotten class over many cells: blocks, heat map, curves, terminal, prototypes, TensorBoard."""

import copy
import io
import json
import re
import xml.etree.ElementTree as ET

import jsonschema
import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fedunlearn.judging import AttackRow, Verdict
from fedunlearn.judging.summary import summarise
from fedunlearn.reporting import publish, read_results, words
from fedunlearn.reporting.artefacts import FRAME, GAP, marked_strip
from fedunlearn.reporting.bars import share_bars
from fedunlearn.reporting.class_blocks import SHARES, blocks, in_blocks
from fedunlearn.reporting.class_charts import MOST, STYLES, delay_charts, partial_charts
from fedunlearn.reporting.class_figures import prototypes
from fedunlearn.reporting.class_heat import caption, heat, heat_file
from fedunlearn.reporting.class_pictures import block_picture, score_picture
from fedunlearn.reporting.class_table import class_tables
from fedunlearn.reporting.figures import figures
from fedunlearn.reporting.results import cell_folders, schema
from fedunlearn.reporting.tensorboard import Board
from tests.reporting import synthetic_classes as made
from tests.reporting.test_publish import parsed, quiet


def cells_of(run):
    return [read_results(folder) for folder in cell_folders(run)]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return made.matrix_run(tmp_path_factory.mktemp("classes"), seeds=2)


@pytest.fixture(scope="module")
def cells(run):
    return cells_of(run)


@pytest.fixture(scope="module")
def summary(cells):
    return summarise(cells)


@pytest.fixture(scope="module")
def partly(tmp_path_factory):
    return summarise(made.partly(tmp_path_factory.mktemp("partly")))


def test_the_details_of_every_attack_follow_the_schema(cells):
    for results in cells[:1]:
        jsonschema.validate(results, schema())
        for wrong in ({"true": ["3"]}, {"detection": {"rounds": [1]}}, {"shares": {"claimed": []}}):
            broken = copy.deepcopy(results)
            broken["attacks"][0]["details"] |= wrong
            with pytest.raises(jsonschema.ValidationError):
                jsonschema.validate(broken, schema())
        unnamed = copy.deepcopy(results)
        unnamed["attacks"][0]["label"] = ""
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(unnamed, schema())


def test_a_block_holds_every_attack_and_branch_with_the_false_alarms_apart(summary):
    mnist, usps = blocks(summary)
    assert (mnist.group, usps.group, mnist.metric, mnist.trials) == ("mnist", "usps", "top-1", 2)
    assert mnist.chance == pytest.approx(0.1)
    assert mnist.branches == (*made.METHODS, "retrain", "retrain-other-init")
    assert mnist.controls == ("control", "placebo", "absent")
    assert [line.attack for line in mnist.lines] == [*made.STRENGTH, "bias-drop"]
    for line in mnist.lines:
        for branch, figure in zip(mnist.branches, line.after, strict=True):
            row = next(
                row
                for row in summary["rows"]
                if (row["group"], row["attack"], row["branch"], row["metric"])
                == ("mnist", line.attack, branch, "top-1")
            )
            assert (figure.value, figure.n, figure.failed) == (row["value"], row["n"], row["failed"])
    silent = mnist.lines[2].after[made.METHODS.index("federaser")]
    assert (silent.value, silent.n, silent.failed) == (None, 0, 2)


def test_several_classes_are_shown_by_the_exact_set(tmp_path):
    (block,) = blocks(summarise(made.several(tmp_path)))
    assert (block.group, block.metric) == ("", "exact-set")
    assert block.chance == pytest.approx(1 / 120)


def test_without_whole_classes_the_class_shares_are_shown(cells):
    plain = copy.deepcopy(cells[:2])
    for results in plain:
        for row in results["attacks"]:
            row["details"]["true"] = []
            for name in {"top-1", "exact-set"} & set(row["metrics"]):
                row["metrics"][name]["value"] = None
    (block,) = blocks(summarise(plain))
    assert block.metric == SHARES
    assert {line.attack for line in block.lines} == set(made.DELAYS)
    assert "distance of the claimed class shares" in caption(block).lower()
    ET.fromstring(heat_file(block))
    assert block_picture(block).ndim == 3


def test_one_branch_and_few_attacks_need_no_block(single, summary):
    assert not in_blocks(summarise([read_results(single)]))
    assert in_blocks(summary)
    assert blocks(None) == []


def tiles(drawing):
    root = ET.fromstring(str(drawing))
    return {rect[0].text.partition(":")[0]: rect for rect in root.iter("rect") if len(rect)}


def test_the_heat_map_is_as_dark_as_the_rates(summary):
    block = blocks(summary)[0]
    found = tiles(heat(block))
    assert len(found) == len(block.lines) * (len(block.branches) + len(block.controls))
    for line in block.lines:
        for branch, figure in zip(block.branches, line.after, strict=True):
            tile = found[f"{line.attack} after {branch}"]
            if figure.value is None:
                assert tile.get("class") == "hollow"
            else:
                shade = float(tile.get("style").partition(":")[2])
                assert shade == pytest.approx(0.05 + 0.95 * figure.value, abs=0.001)
        for control, figure in zip(block.controls, line.alarms, strict=True):
            framed = found[f"{line.attack} on {control}"].get("class") == "tile alarm framed"
            assert framed == figure.clear


def test_no_tile_covers_another_and_all_lie_inside(summary):
    block = blocks(summary)[0]
    _, _, width, height = map(float, ET.fromstring(str(heat(block))).get("viewBox").split())
    boxes = [[float(tile.get(key)) for key in ("x", "y", "width", "height")] for tile in tiles(heat(block)).values()]
    for n, (x, y, w, h) in enumerate(boxes):
        assert x >= 0
        assert x + w <= width
        assert y + h <= height
        assert all(x + w <= a or a + c <= x or y + h <= b or b + d <= y for a, b, c, d in boxes[:n])


def test_the_caption_says_n_chance_and_what_is_marked(summary):
    said = caption(blocks(summary)[0])
    assert "n = 2, chance 10%" in said
    assert "Dash: no answer" in said
    assert "although none was to be forgotten" in said
    drawn = " ".join(text.text or "" for text in ET.fromstring(heat_file(blocks(summary)[0])).iter() if text.text)
    assert said.split(";")[0] in drawn


def test_delay_curves_rise_to_the_share_detected(summary):
    charts = delay_charts(summary)
    assert len(charts) == MOST
    assert {chart.title.split(",")[0] for chart in charts} == {"mnist", "usps"}
    assert len({style for chart in charts for _, style in chart.legend}) == 2
    assert "n = 2; naming at random gets 10%" in charts[0].caption
    root = ET.fromstring(str(charts[0].drawing))
    ends = [float(line.get("points").split()[-1].split(",")[1]) for line in root.iter("polyline")]
    final = [row["detected"][-1] for row in summary["delays"] if (row["group"], row["branch"]) == ("mnist", "finetune")]
    assert (ends[0] < ends[1]) == (final[0] > final[1])
    assert delay_charts(None) == []


def test_attacks_that_detect_alike_share_a_line(summary):
    rows = [row for row in summary["delays"] if (row["group"], row["branch"]) == ("mnist", "finetune")]
    alike = [rows[0], rows[0] | {"attack": "twin", "early_alarms": None}]
    (chart,) = delay_charts({"delays": alike})
    assert [name for name, _ in chart.legend] == ["row-sign (0%), twin (\u2013)"]


def test_more_attacks_than_styles_leave_the_weakest_out(summary):
    row = summary["delays"][0]
    many = [row | {"attack": f"a{n}", "detected": [n / 20], "ci": [[0, 1]]} for n in range(12)]
    (chart,) = delay_charts({"delays": many})
    assert [name.split()[0] for name, _ in chart.legend] == [f"a{n}" for n in range(3, 12)]
    assert len({style for _, style in chart.legend}) == len(STYLES)
    assert "3 weaker lines" in chart.caption


def test_partial_forgetting_has_a_chart_per_branch_and_every_interval(partly):
    charts = partial_charts(partly)
    assert [chart.title for chart in charts] == ["after finetune", "after retrain"]
    assert [name for name, _ in charts[0].legend] == ["param-dot tree", "row-sign", "inv-white"]
    root = ET.fromstring(str(charts[0].drawing))
    places = {text.text: float(text.get("x")) for text in root.iter("text") if text.get("y") == "206"}
    assert list(places) == ["1%", "10%", "50%", "100%"]
    assert sorted(places.values()) == list(places.values())
    whiskers = [line.get("x1") for line in root.iter("line") if line.get("class") == "whisker"]
    assert len(set(whiskers)) == len(whiskers) == 4 * 3  # none hides another
    assert "n = 2, chance 10%" in charts[0].caption
    assert partial_charts({"partial": [row | {"value": None} for row in partly["partial"]]}) == []


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_the_terminal_fits_and_loses_nothing(summary, width):
    console = Console(file=io.StringIO(), width=width)
    for part in class_tables(summary, width):
        console.print(part)
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    figures_shown = re.findall(r"(?<![\w(])\(?(?:\d+)\)?[*! ](?= |$)|\u2013(?= |$)", text, re.MULTILINE)
    assert len(figures_shown) >= 2 * 6 * 10
    assert text.count("The forgotten class ranked first") == 2
    assert "2 trials, chance 10%" in text


def test_a_crowded_matrix_prints_blocks_in_place_of_rows(run, summary):
    console = Console(file=io.StringIO(), width=120)
    publish(run, console)
    text = console.file.getvalue()
    assert "alarms" in text
    assert "Over all cells" not in text
    assert (run / "classes-mnist.svg").exists()
    assert json.loads((run / "summary.json").read_text())["delays"]


def test_the_report_has_the_pictures_and_is_whole(run):
    text = publish(run, quiet()).read_text()
    page = parsed(text)
    assert "classes" in page.ids
    for said in ("Which class was forgotten?", "How soon", "false alarms", "false alarm", "prototype of class 3"):
        assert said in text, said


def test_prototypes_mark_the_forgotten_class_and_no_other(run, cells):
    folder = cell_folders(run)[0]
    rows = [row for row in cells[0]["attacks"] if row["name"] == "inv-white" and row["status"] == "done"]
    found = prototypes(folder, rows, [])
    assert [shelf.heading for shelf in found][:2] == ["after finetune", "after random-label"]
    assert [tile.caption for tile in found[0].tiles if tile.forgotten] == ["class 3"]
    assert len(found[0].tiles) == 10
    controls = [shelf for shelf in found if shelf.quiet]
    assert len(controls) == 3
    assert not any(tile.forgotten for shelf in controls for tile in shelf.tiles)
    assert all((folder / path).is_file() for row in rows for path in row["pictures"])
    figure = next(figure for figure in figures(folder, cells[0]) if figure.attack == "inv-white")
    assert len(figure.prototypes) == len(found)
    named = prototypes(folder, rows, ["cat", *map(str, range(1, 10))])
    assert named[0].tiles[0].caption == "cat"


def test_words_tell_delays_early_alarms_and_class_shares(cells):
    rows = [row for row in cells[1]["attacks"] if row["name"] == "bias-drop"]
    said = words.finding("forgotten-classes", rows, [])
    assert "names just the forgotten classes, for good: 2 after finetune, random-label" in said
    assert "Before the request it named none." in said
    assert "Its class shares of what was forgotten are off by 0.00 (those of all data by 0.90)." in said
    censored = copy.deepcopy(rows)
    for row in censored:
        if "detection-delay" in row["metrics"] and row["branch"] == "finetune":
            row["metrics"]["detection-delay"]["value"] = None
            row["metrics"]["early-alarms"]["value"] = 0.25
    said = words.finding("forgotten-classes", censored, [])
    assert "It never settles on them after finetune." in said
    assert "Before the request it named a class after 25% of the rounds, at most." in said


def test_shares_stand_beside_each_other():
    root = ET.fromstring(str(share_bars([0.5, 0.5, 0.0], [0.25, 0.25, 0.5], ["a", "b", "c"], "shares")))
    heights = [float(rect.get("height")) for rect in root.iter("rect")]
    assert heights == pytest.approx([90, 45, 90, 45, 0, 90])


def test_bars_and_tables_for_the_board(summary):
    picture = score_picture(np.array([0.0, 2.0, -1.0]), {1})
    orange = (picture == FRAME).all(axis=2)
    assert orange.sum(axis=0).max() == pytest.approx(80, abs=2)  # two of three thirds of the height
    assert not orange[:, : picture.shape[1] // 3].any()
    assert score_picture(np.zeros(100), ()).shape[1] == 608
    block = blocks(summary)[0]
    shown = block_picture(block)
    assert shown.shape[1] > 46 * 10
    assert shown.dtype == np.uint8


def test_a_strip_frames_what_is_marked():
    strip = marked_strip(np.zeros((3, 1, 8, 8), np.float32), {1, 99})
    orange = (strip == FRAME).all(axis=2)
    step = 112 + GAP
    assert orange[0, step : 2 * step].all()
    assert not orange[:, :step].any()
    assert Image.fromarray(strip).size == (3 * step + GAP, 112 + 2 * GAP)


def test_the_board_shows_scores_prototypes_and_the_table(tmp_path, cells):
    pictures = np.random.default_rng(0).random((10, 1, 8, 8))
    details = {"scores": [0.1] * 9 + [1.0], "true": [9], "control": False}
    with Board(tmp_path / "board") as board:
        row = AttackRow("inv-white", "server", "updates", "finetune", "forgotten-classes", {}, label="inv white, fast")
        board.attack(row, Verdict({}, details, {"prototypes": pictures}))
        failed = details | {"scores": [None] * 10}
        board.attack(AttackRow("broken", "server", "updates", "finetune", "forgotten-classes", {}), Verdict({}, failed))
        board.classes(cells[0])
        board.hparams(cells[0])
    events = EventAccumulator(str(tmp_path / "board"), size_guidance={"images": 0})
    events.Reload()
    place = "attack/inv-white-fast-server"
    assert set(events.Tags()["images"]) == {
        f"{place}/scores/finetune", f"{place}/prototypes/finetune", "attack/forgotten-class"
    }  # fmt: skip
    assert "found/param-dot-tree-server/top-1/finetune" in events.Tags()["scalars"]
