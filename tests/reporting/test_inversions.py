"""Claimed pictures of classes in the report, the terminal, the summary and on the board."""

import copy
import io
import json
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fedunlearn.judging import AttackRow, Verdict
from fedunlearn.judging.summary import summarise
from fedunlearn.names import TRUNK
from fedunlearn.reporting import read_results, words
from fedunlearn.reporting.artefacts import FRAME, GAP, load_arrays
from fedunlearn.reporting.figures import figures
from fedunlearn.reporting.formats import DASH, amount
from fedunlearn.reporting.headline import tiles
from fedunlearn.reporting.inversion_galleries import claim_galleries
from fedunlearn.reporting.inversion_table import inversion_tables
from fedunlearn.reporting.inversions import BEFORE, FRESH, PUBLIC, count, inversions, parted, text
from fedunlearn.reporting.model_tables import overview_page
from fedunlearn.reporting.pair_bars import pair_bars, pair_bars_file
from fedunlearn.reporting.results import cell_folders
from fedunlearn.reporting.tensorboard import Board
from tests.reporting import synthetic_models as made
from tests.reporting.test_publish import parsed


@pytest.fixture(scope="module")
def results(attacked):
    return read_results(attacked)


@pytest.fixture(scope="module")
def summary(results):
    return summarise([results])


@pytest.fixture(scope="module")
def found(summary):
    return {inversion.attack: inversion for inversion in inversions(summary)}


@pytest.fixture(scope="module")
def over_seeds(attacked_seeds):
    return [of_one_attack(read_results(folder)) for folder in cell_folders(attacked_seeds)]


@pytest.fixture(scope="module")
def summary_over_seeds(over_seeds):
    return summarise(over_seeds)


def of_one_attack(results):
    return results | {"attacks": [row for row in results["attacks"] if row["label"] == "gmi"]}


def row_of(results, attack, branch):
    return next(row for row in results["attacks"] if (row["label"], row["branch"]) == (attack, branch))


def line_of(inversion, name):
    return next(line for line in inversion.lines if line.name == name)


def test_what_methods_are_held_against_comes_first(found):
    assert list(found) == list(made.INVERSIONS)
    names = [line.name for line in found["gmi"].lines]
    assert names == [PUBLIC, FRESH, BEFORE, "control", "retrain", "finetune", made.PRUNED]
    assert [line.reference for line in found["gmi"].lines] == [True] * 5 + [False] * 2
    assert found["gmi"].evaluator.endswith("of n = 400 samples that it never saw.")


def test_figures_of_one_run_are_the_judge_s_own(found, results):
    for branch in ("control", "finetune"):
        metrics, line = row_of(results, "gmi", branch)["metrics"], line_of(found["gmi"], branch)
        for name, figure in line.figures.items():
            assert (figure.value, figure.n) == (metrics[name]["value"], metrics[name]["n"])
    public, fresh = line_of(found["gmi"], PUBLIC), line_of(found["gmi"], FRESH)
    assert public.figure("coverage").value == row_of(results, "gmi", TRUNK)["metrics"]["coverage"]["baseline"]
    assert (
        fresh.figure("attack-accuracy").value
        == (row_of(results, "gmi", TRUNK)["metrics"]["held-out-attack-accuracy"]["value"])
    )
    assert text(fresh, "knn-distance", 1) == DASH
    assert count(public, 1) == f"50 / {len(made.HELD)}"


def test_before_the_request_the_parts_are_those_of_the_class_that_will_be_forgotten(attacked, results, found):
    row = row_of(results, "gmi", TRUNK)
    assert row["metrics"]["forgotten-attack-accuracy"]["value"] is None
    arrays, line = load_arrays(attacked, row["details"]["array"]), line_of(found["gmi"], BEFORE)
    right = arrays["claimed-taken-for"] == arrays["claimed-labels"]
    for part, places in (("forgotten", arrays["claimed-labels"] == 3), ("others", arrays["claimed-labels"] != 3)):
        figure = line.figure(f"{part}-attack-accuracy")
        assert figure.value == pytest.approx(right[places].mean())
        assert figure.n == places.sum()
        assert figure.ci[0] < figure.value < figure.ci[1]
    for metric, array in (("coverage", "private-covered"), ("ddcs-surrogate", "private-scores")):
        own = arrays["private-labels"] == 3
        assert line.figure(f"forgotten-{metric}").value == pytest.approx(np.mean(arrays[array][own]), rel=1e-6)
        assert line.figure(f"forgotten-{metric}").n == own.sum()


def test_without_a_forgotten_class_there_are_no_parts(results):
    plain = copy.deepcopy(results)
    for row in plain["attacks"]:
        if row["finds"] == "class-images" and row["details"]:
            row["details"]["forgotten-classes"] = []
            for name in row["metrics"]:
                if name.startswith("forgotten-"):
                    row["metrics"][name]["value"] = None
    assert all(parted(inversion) is None for inversion in inversions(summarise([plain])))


def test_bars_are_drawn_to_their_panel_s_scale(found):
    chart = parted(found["gmi"])
    assert [line.name for line in chart.lines] == [BEFORE, "control", "finetune", made.PRUNED]
    assert [line.heading for line in chart.lines] == ["Held against", "", "After forgetting", ""]
    root = ET.fromstring(str(pair_bars(chart)))
    _, _, width, _ = map(float, root.get("viewBox").split())
    bars = [rect for rect in root.iter("rect") if len(rect)]
    assert len(bars) == 4 * 3 * 2
    assert all("n = " in rect[0].text for rect in bars)
    assert all(float(rect.get("x")) + float(rect.get("width")) <= width for rect in bars)
    scores = [float(rect.get("width")) for rect in bars if "ddcs-surrogate" in rect[0].text]
    assert max(scores) > 60  # small scores are not drawn on an axis to 1
    ET.fromstring(pair_bars_file(chart))
    assert "n = 5 pictures of what was forgotten, 45 of all else" in chart.caption
    assert "not the published DDCS" in chart.caption


def test_over_seeds_figures_are_means_of_those_that_answered(over_seeds, summary_over_seeds):
    (inversion,) = inversions(summary_over_seeds)
    values = [row_of(cell, "gmi", "finetune")["metrics"]["coverage"]["value"] for cell in over_seeds]
    figure = line_of(inversion, "finetune").figure("coverage")
    assert (figure.value, figure.n) == (pytest.approx(np.mean(values)), 3)
    assert count(line_of(inversion, "retrain"), 3) == "0 of 3"
    assert text(line_of(inversion, "retrain"), "coverage", 3) == DASH
    fewer = copy.deepcopy(over_seeds)
    row_of(fewer[0], "gmi", "finetune")["metrics"]["coverage"]["value"] = None
    assert text(line_of(inversions(summarise(fewer))[0], "finetune"), "coverage", 3).endswith("(n = 2)")


def test_galleries_mark_the_forgotten_class_only_where_it_was_forgotten(attacked, results):
    rows = [row for row in results["attacks"] if row["label"] == "white-box-inversion"]
    galleries = claim_galleries(attacked, rows, [])
    assert [gallery.quiet for gallery in galleries] == [True, False, False, False, True]
    for gallery in galleries:
        marked = {claim.caption for claim in gallery.claims if claim.forgotten}
        assert marked == (set() if gallery.quiet else {"class 3"})
        assert len(gallery.claims) == 10
        assert "of 50 pictures show their class" in gallery.heading
    few = claim_galleries(attacked, rows[:2], ["zero"])
    assert len(few[0].claims) == 20
    assert few[0].claims[0].caption == "zero"
    figure = next(figure for figure in figures(attacked, results) if figure.attack == "white-box-inversion")
    assert len(figure.claims) == 5


def test_a_gallery_says_what_a_picture_is_taken_for(attacked, results):
    row = row_of(results, "white-box-inversion", "finetune")
    arrays = load_arrays(attacked, row["details"]["array"])
    (gallery,) = claim_galleries(attacked, [row], [])
    for claim, place in zip(gallery.claims, [5 * label + n for label in range(10) for n in (0, 1)], strict=True):
        taken = arrays["claimed-taken-for"][place]
        assert claim.wrong == ("" if taken == place // 5 else f"class {taken}")
        assert claim.about.endswith(f"to sample {arrays['nearest-ids'][place]}")
    assert claim_galleries(attacked, [{**row, "details": {}}], []) == ()


def test_pictures_are_kept_with_the_forgotten_class_framed(attacked, results):
    sizes = set()
    for branch in (TRUNK, "finetune"):
        (path,) = row_of(results, "gmi", branch)["pictures"]
        picture = np.asarray(Image.open(attacked / path).convert("RGB"))
        sizes.add(picture.shape[:2])
        framed = np.flatnonzero((picture[0] == FRAME).all(axis=1))
        step = 112 + GAP
        assert list(framed) == ([] if branch == TRUNK else list(range(3 * step, 4 * step + GAP)))
    assert sizes == {(2 * 116 + 4, 10 * 116 + 4)}


@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_terminal_fits_and_every_model_has_its_n(summary, summary_over_seeds, width):
    for told, n, attacks in ((summary, r"50( / 120)?", 2), (summary_over_seeds, "3", 1)):
        console = Console(file=io.StringIO(), width=width)
        for part in inversion_tables(told, width):
            console.print(part)
        printed = console.file.getvalue()
        assert max(map(len, printed.splitlines())) <= width
        assert "nan" not in printed.lower()
        assert "not the published DDCS" in " ".join(printed.split())
        for name in (PUBLIC, FRESH, BEFORE, "control", made.PRUNED):
            assert len(re.findall(rf"^{name} +{n} ", printed, re.MULTILINE)) == attacks, name


def test_the_report_shows_tables_galleries_and_no_figure_without_n(attacked_pages, attacked_seeds):
    for page in attacked_pages:
        parsed(page)
        section = page.partition('<section id="inversion">')[2].partition("</section>")[0]
        lines = re.findall(r"<tr[^>]*><td>(.+?)</td><td class=\"n\">(.*?)</td>", section)
        assert len(lines) == 2 * 7 + 2  # and the overview
        assert all(re.fullmatch(r"\d+( / \d+)?( of \d+)?", n) for _, n in lines)
        assert "not the published DDCS" in section
        assert not re.search(r"\bnan\b", section, re.IGNORECASE)
    assert attacked_pages[0].count('alt="nearest private sample"') == 5 * 10 + 4 * 20
    assert "<b>forgotten</b>" in attacked_pages[0]
    summary = json.loads((attacked_seeds / "summary.json").read_text())
    assert {row["branch"] for row in summary["class_images"]} == set(made.CLEARNESS)
    assert (attacked_seeds / "inversion-gmi.svg").exists()


def test_the_overview_has_a_line_per_attack_and_a_column_per_model(summary):
    (table,) = overview_page(inversions(summary))
    assert [row["attack"] for row in table["rows"]] == list(made.INVERSIONS)
    names = [model["name"] for model in table["models"]]
    assert names == [PUBLIC, FRESH, BEFORE, "control", "retrain", "finetune", made.PRUNED]
    silent = table["rows"][1]["cells"][names.index("retrain")]
    assert (silent["text"], silent["below"]) == (DASH, DASH)
    assert all("n = " in cell["words"] for row in table["rows"] for cell in row["cells"])
    assert overview_page(inversions(summary)[:1]) == []


def test_words_say_n_once_where_it_is_the_same(results):
    rows = [row for row in results["attacks"] if row["label"] == "gmi"]
    said = words.finding("class-images", rows, [])
    assert "(n = 50 each) of its pictures show their class" in said
    assert f"(n = {len(made.HELD)} each) of the private samples" in said
    assert "which is not the published DDCS" in said
    assert "retrain" not in said.partition("They cover")[0].partition("of what was forgotten")[2]
    other = copy.deepcopy(rows[:2])
    other[0]["metrics"]["attack-accuracy"]["n"] = 49
    assert "before forgetting, n = 49; " in words.finding("class-images", other, [])
    assert "gave no answer" in words.finding("class-images", [row_of(results, "gmi", "retrain")], [])


def test_the_first_figure_has_retraining_beside_it(results):
    tile = next(tile for tile in tiles(results) if tile.topic == "pictures of classes")
    assert "of 50 pictures show their class before forgetting, retrained" in tile.note


def test_amounts_have_their_units():
    for name in ("coverage", "forgotten-coverage", "class-precision", "vulnerability-top"):
        assert amount(name, 0.25) == "25%"
    for name in ("ddcs-surrogate", "others-ddcs-surrogate", "ddcs-excess"):
        assert amount(name, 0.25) == "0.250"
    assert amount("density", 0.25) == "0.25"
    assert amount("forgotten-knn-distance", 1234.5) == "1.23e+03"
    assert amount("coverage", None) == DASH


def test_the_board_shows_pictures_steps_and_bars(tmp_path, attacked, results):
    claimed = row_of(results, "gmi", "finetune")
    revived = next(row for row in results["attacks"] if row["label"] == "regrowth 4")
    with Board(tmp_path / "board") as board:
        arrays = load_arrays(attacked, claimed["details"]["array"])
        row = AttackRow("gmi", "server", "final-weights", "finetune", "class-images", {})
        board.attack(row, Verdict({}, claimed["details"], arrays))
        row = AttackRow("regrowth", "server", "updates", made.PRUNED, "revival", {}, label="regrowth 4")
        board.attack(row, Verdict({}, revived["details"]))
        board.models(results)
        board.hparams(results)
    events = EventAccumulator(str(tmp_path / "board"), size_guidance={"images": 0, "scalars": 0})
    events.Reload()
    assert set(events.Tags()["images"]) == {
        "attack/gmi-server/claimed/finetune", "attack/revival/after-concept-prune", "attack/revival/after-control",
        "attack/class-images/white-box-inversion", "attack/class-images/gmi",
    }  # fmt: skip
    steps = events.Scalars(f"attack/regrowth-4-server/steps/erased-accuracy/{made.PRUNED}")
    assert [step.step for step in steps] == [0, 1, 2]
    assert steps[1].value == pytest.approx(revived["details"]["stages"]["pruned"]["erased-accuracy"])
    settled = events.Scalars(f"attack/regrowth-4-server/settled/{made.MATRIX}/{made.PRUNED}")
    assert [step.step for step in settled] == [1, 2, 3, 4]
    assert "found/revival-server/erased-accuracy/concept-prune" in events.Tags()["scalars"]
