"""Plain words and terminal tables."""

import copy
import doctest
import importlib
import io
import pkgutil

import pytest
from rich.console import Console

import fedunlearn.judging
import fedunlearn.reporting
from fedunlearn.judging.summary import summarise
from fedunlearn.names import CONTROLS
from fedunlearn.reporting import picture_words, read_results, words
from fedunlearn.reporting.headline import tiles
from fedunlearn.reporting.html import render
from fedunlearn.reporting.picture_words import counting
from fedunlearn.reporting.results import cell_folders
from fedunlearn.reporting.table import print_results

MODULES = [
    f"{package.__name__}.{module.name}"
    for package in (fedunlearn.judging, fedunlearn.reporting)
    for module in pkgutil.iter_modules(package.__path__)
]


def shown(cells, summary=None, width=160):
    console = Console(file=io.StringIO(), width=width)
    print_results(cells, summary, console)
    return console.file.getvalue()


def cells_of(run):
    return [read_results(folder) for folder in cell_folders(run)]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_every_finding_is_a_sentence_that_names_what_to_compare_it_with(single):
    sentences = dict(words.findings(read_results(single)))
    assert "100% of the labels" in sentences["labels"]
    assert "guessing evenly gives 50%" in sentences["labels"]
    assert "3 of 4 training images" in sentences["images"]
    assert "needs no attack" in sentences["images"]
    assert "0.50 is guessing" in sentences["membership"]
    everything = " ".join(sentence for _, sentence in words.findings(read_results(single)))
    assert "ranks the forgotten class 3 first after federaser, finetune and retrain" in everything
    assert "chance is 10%" in everything
    assert "No false alarm on control and placebo" in everything
    assert "null-class-query gave no answer (failed: ValueError" in everything


def test_a_false_alarm_is_said(single):
    results = copy.deepcopy(read_results(single))
    for row in results["attacks"]:
        if row["branch"] == "control" and "false-alarm" in row["metrics"]:
            row["metrics"]["false-alarm"]["value"] = 1.0
    assert "False alarm on control, where no class was forgotten" in str(words.findings(results))


def test_attacks_that_gave_no_answer_are_neither_quiet_nor_wrong(single):
    results = copy.deepcopy(read_results(single))
    for row in results["attacks"]:
        if row["name"] == "bias-drop" and row["branch"] in ("control", "federaser"):
            for metric in row["metrics"].values():
                metric |= {"value": None, "n": 0, "chance": None}
            row |= {"status": "failed", "reason": "ValueError: oops", "details": {}}
    rows = [row for row in results["attacks"] if row["name"] == "bias-drop"]
    sentence = words.finding("forgotten-classes", rows, [])
    assert "ranks the forgotten class 3 first after finetune and retrain" in sentence
    assert "(chance is 10%). No answer after federaser. No false alarm on placebo. No answer on control." in sentence
    found = {tile.topic: tile for tile in tiles(results)}
    assert "false alarms on 0 of 1 controls" in found["forgotten class"].note


def test_failed_attacks_on_controls_stand_beside_the_alarms(seeds):
    cells = [copy.deepcopy(results) for results in cells_of(seeds)]
    for results in cells[:2]:
        row = next(r for r in results["attacks"] if (r["name"], r["branch"]) == ("bias-drop", "control"))
        row["metrics"]["false-alarm"]["value"] = None
    summary = summarise(cells)
    assert "0 of 3 (2 failed)" in shown(cells, summary)
    page = render([seeds] * len(cells), cells, summary)
    assert "0 of 3 (2 failed)" in page
    assert "0 of 5</td>" in page


def test_samples_without_a_class_leave_nothing_to_rank(single):
    results = copy.deepcopy(read_results(single))
    rows = [row for row in results["attacks"] if row["name"] == "bias-drop"]
    for row in rows:
        row["details"]["true"] = []
        row["metrics"]["top-1"]["value"] = None
    sentence = words.finding("forgotten-classes", rows, [])
    assert sentence.startswith("No whole class was forgotten; bias-drop names a class after federaser, finetune and")
    assert "forgotten class" not in {tile.topic for tile in tiles(results)}
    controls = [row for row in rows if row["branch"] in CONTROLS]
    assert words.finding("forgotten-classes", controls, []).startswith("bias-drop was run on the controls only.")


def test_what_an_oracle_was_given_is_said(single):
    row = next(row for row in read_results(single)["attacks"] if row["finds"] == "images")
    sentence = words.finding("images", [row | {"grants": ["labels"]}], [])
    assert sentence.endswith("Of the truth it was given: labels.")


def test_the_label_source_is_named_beside_image_scores(single, seeds):
    source = "labels: restored by bias-form"
    assert f"gradient-matching ({source}) rebuilt 3 of 4" in dict(words.findings(read_results(single)))["images"]
    table = shown(cells_of(single)).partition("The observer's score")[2]
    assert table.index("gradient-matching") < table.index(source) < table.index("trunk: psnr")
    cells = cells_of(seeds)
    assert "labels: restored by" in shown(cells, summarise(cells))
    assert render([single], cells_of(single), None).count(source) >= 3  # in the card, the finding, the scores
    known = copy.deepcopy(read_results(single))
    for row in known["attacks"]:
        row["details"] = row["details"] | ({"label-source": "known"} if row["finds"] == "images" else {})
    assert "labels: known (oracle)" in shown([known])
    assert "(labels: known (oracle))" in dict(words.findings(known))["images"]


def test_label_scores_stand_beside_the_uniform_guess_and_the_exact_rate(single, matrix):
    for width in (160, 80):
        lines = [" ".join(line.split()) for line in shown(cells_of(single), width=width).splitlines()]
        (irec,) = (line for line in lines if "trunk: irec" in line)
        (exact,) = (line for line in lines if "trunk: exact" in line)
        for line, value in ((irec, "50%"), (exact, "0%")):
            assert "100% 1 20.7 … 100%" in line
            assert f" {value} " in line


def test_what_the_table_leaves_out_of_the_pictures_is_below_it(single):
    text = " ".join(shown(cells_of(single), width=400).split())
    assert "lpips skipped (no weights file)" in text
    assert "fft2d 0." in text
    for words_ in ("grey", "mean of the true images", "mean public image"):
        assert words_ in text


def test_equations_and_unknowns_are_counted_for_a_reader():
    def row(**notes):
        return {"details": {"notes": notes}}

    one = row(equations=[15826], unknowns=[12288], **{"jacobian-rank": [12012]})
    assert counting(one) == "15,826 equations for 12,288 unknowns (rank 12,012)"
    assert counting(row(equations=15826, unknowns=3072)) == "15,826 equations for 3,072 unknowns"
    several = row(equations=[10, 10], unknowns=[5, 2000], **{"jacobian-rank": [None, 9]})
    assert counting(several) == "10 equations for 5 to 2,000 unknowns (rank 9)"
    assert counting(several, 1) == "10 equations for 2,000 unknowns (rank 9)"
    assert counting(several, 0) == "10 equations for 5 unknowns"
    assert counting(row(equations=[10])) == counting({}) == ""


def test_pictures_of_forgotten_samples_are_told_with_the_control(probed):
    results = read_results(probed)
    sentence = dict(words.findings(results))["forgotten-images"]
    assert "difference-inversion (labels: restored by bias-form) reach 25.7 dB after finetune" in sentence
    assert "where nothing was forgotten the same attack gets 8.2 dB on control and 8.4 dB on placebo" in sentence
    assert "15,826 equations for 384 unknowns" in sentence
    tile = {tile.topic: tile for tile in tiles(results)}["forgotten pictures"]
    assert tile.value == "6 of 183"
    assert "on the control 8.2 dB" in tile.note
    rows = [copy.deepcopy(row) for row in results["attacks"] if row["finds"] == "forgotten-images"]
    alone = picture_words.forgotten_images([row for row in rows if row["branch"] in CONTROLS])
    assert "were made on controls only" in alone
    for row in rows:
        row["metrics"]["psnr"]["value"] = None
        row |= {"status": "refused", "reason": "too little access", "details": {}}
    assert picture_words.forgotten_images(rows) == "difference-inversion gave no answer (refused: too little access)."
    assert "No answer after finetune." in picture_words.forgotten_images([rows[0], results["attacks"][-1]])


def test_requests_are_told_with_their_fate():
    refused = {
        "id": "r",
        "round": 3,
        "scope": "client",
        "target": [9],
        "state": "refused",
        "reason": "unknown client 9",
    }
    assert words.request_sentence(refused, []).endswith("The request is refused: unknown client 9.")
    done = {"id": "r", "round": 3, "scope": "class", "target": [2], "samples": 5, "state": "done", "reason": ""}
    assert "forget class 2 (owl) (5 training samples)" in words.request_sentence(done, ["cat", "dog", "owl"])


def test_table_of_a_single_run(single):
    text = shown(cells_of(single))
    results = read_results(single)
    for branch in results["branches"]:
        assert branch["sha256"][:12] in text
    assert "retrained without the forgotten data" in text
    assert "bias-drop" in text
    assert "no noise <left>" in text


@pytest.mark.parametrize("width", [80, 200])
def test_table_fits_the_terminal(matrix, width):
    text = shown(cells_of(matrix), width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "retrain-other-init: top-1" in text
    assert "FedAvg" in text


def test_large_matrix_is_told_by_its_rates(seeds):
    cells = cells_of(seeds)
    text = shown(cells, summarise(cells))
    assert "Over all cells" in text
    assert "False alarms" in text
    assert "0 of 5" in text
    assert "asked" not in text


def test_a_run_without_requests_and_attacks(single):
    plain = read_results(single) | {"requests": [], "attacks": []}
    plain["branches"] = plain["branches"][:1]
    assert "trunk" in shown([plain])


def test_markup_in_names_is_not_obeyed(single):
    results = copy.deepcopy(read_results(single))
    results["scenario"]["title"] = "a [bold]title[/nothing]"
    assert "[bold]title[/nothing]" in shown([results])
