"""Probes: every attack on every probe, in the terminal, on the page and in leakage.csv."""

import copy
import csv
import io
import re

import pytest
from rich.console import Console

from fedunlearn.judging.summary import summarise
from fedunlearn.reporting import publish, read_results, words
from fedunlearn.reporting.formats import DASH
from fedunlearn.reporting.galleries import FEW_BATCHES, MANY, MOST, galleries
from fedunlearn.reporting.leakage import COLUMNS, leakage_rows, leakages
from fedunlearn.reporting.leakage_table import leakage_tables
from fedunlearn.reporting.results import cell_folders
from fedunlearn.reporting.table import print_results
from tests.reporting.synthetic_probes import LABEL_ATTACKS, probes
from tests.reporting.test_publish import parsed, quiet

PROBED = 7  # one more was left out


def printed(cells, summary=None, width=120):
    console = Console(file=io.StringIO(), width=width)
    for part in leakage_tables(leakages(cells, summary), width):
        console.print(part)
    return console.file.getvalue()


@pytest.fixture(scope="module")
def cells(probed_matrix):
    return [read_results(folder) for folder in cell_folders(probed_matrix)]


def test_runs_without_probes_have_no_such_table(single, tmp_path):
    assert leakages([read_results(single)], None) == []
    publish(single, quiet())
    assert not (single / "leakage.csv").exists()


def test_the_csv_holds_every_metric_with_the_settings_of_its_probe(probed):
    publish(probed, quiet())
    with (probed / "leakage.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(COLUMNS)
    results = read_results(probed)
    on_probes = [row for row in results["attacks"] if row["branch"].startswith("probe-")]
    assert len(rows) == sum(len(row["metrics"]) for row in on_probes) + 1
    row = next(r for r in rows if (r["probe"], r["attack"], r["metric"]) == ("k32-after-4", "ilrg", "irec"))
    source = next(r for r in on_probes if (r["branch"], r["name"]) == ("probe-k32-after-4", "ilrg"))
    metric = source["metrics"]["irec"]
    assert [float(row[key]) for key in ("value", "ci_low", "ci_high")] == [metric["value"], *metric["ci"]]
    assert (row["after"], row["samples"], row["source"], row["clients"], row["n"]) == ("4", "32", "members", "0 1", "2")
    (left_out,) = (r for r in rows if r["probe"] == "k512")
    assert left_out["skipped"] == "client 2: holds 180 samples, 512 are wanted"
    pictures = next(r for r in rows if (r["attack"], r["metric"]) == ("dlg", "psnr"))
    assert pictures["counting"] == "15,826 equations for 256 unknowns (rank 240 to 256)"
    assert (pictures["label_source"], pictures["labels_right"]) == ("known", "1.0")
    failed = next(r for r in rows if (r["probe"], r["attack"]) == ("equal-2", "rlu"))
    assert (failed["value"], failed["failed"], failed["reason"]) == ("", "1", "no public images")


def test_the_best_attack_of_a_line_is_marked_and_the_uniform_guess_is_no_rival(probed):
    rows = leakage_rows([read_results(probed)], None)
    for probe in {row["probe"] for row in rows} - {"k512"}:
        own = [r for r in rows if (r["probe"], r.get("metric")) == (probe, "irec") and r["value"] is not None]
        best = max(row["value"] for row in own if row["attack"] != "uniform-guess")
        marked = {row["attack"] for row in own if row["best"]}
        assert marked == {row["attack"] for row in own if row["value"] == best and row["attack"] != "uniform-guess"}
    equal = copy.deepcopy(read_results(probed))
    for row in equal["attacks"]:
        if row["branch"] == "probe-k4-after-0":
            row["metrics"]["irec"]["value"] = 0.5
    rows = leakage_rows([equal], None)
    assert not any(row["best"] for row in rows if (row["probe"], row.get("metric")) == ("k4-after-0", "irec"))


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_the_tables_fit_and_lose_nothing(probed, width):
    text = printed([read_results(probed)], width=width)
    assert max(map(len, text.splitlines())) <= width
    labels, _, pictures = text.partition("Pictures behind the probes")
    for part, lines, attacks in ((labels, PROBED, len(LABEL_ATTACKS)), (pictures, 3, 2)):
        figures = re.findall(rf"(?:\d[* ]\[\d+\]|{DASH})(?= |$)", part, re.MULTILINE)
        tables = 1 + part.count("more attacks")
        assert len(figures) == lines * (attacks + tables)  # each table repeats what needs no attack
    assert "client 2: holds 180 samples, 512 are wanted" in text


def test_at_120_characters_one_table_has_all_label_attacks(probed):
    text = printed([read_results(probed)])
    assert "more attacks" not in text
    line = next(line for line in text.splitlines() if line.startswith("equal-0"))
    assert " ".join(line.split()).startswith(
        "equal-0 2 75 [0] 100*[100] 75 [50] 87.5 [50] 62.5 [50] 87.5 [50] 62.5 [0]"
    )
    assert "15,826 : 256 (240 to 256)" in text


def test_groups_of_a_matrix_follow_each_other(cells):
    summary = summarise(cells)
    text = printed(cells, summary)
    relu, tanh = text.index("\nrelu"), text.index("\ntanh")
    assert text.count("\nrelu") == text.count("\ntanh") == 2  # labels and pictures
    assert relu < text.index("equal-4") < tanh
    (labels, _) = leakages(cells, summary)
    assert {line.n for line in labels.lines} == {4}  # two clients, two seeds
    row = next(
        r for r in summary["rows"] if (r["attack"], r["metric"], r["branch"]) == ("ilrg", "irec", "probe-equal-0")
    )
    column = [name for name, _ in labels.attacks].index("ilrg")
    line = next(line for line in labels.lines if (line.group, line.probe) == (row["group"], "equal-0"))
    assert line.cells[column][0]["value"] == row["value"]
    assert [line.cells[column][0][key] for key in ("ci_low", "ci_high")] == row["ci"]


def test_two_observers_have_columns_of_their_own(probed):
    results = copy.deepcopy(read_results(probed))
    more = [row | {"observer": "client"} for row in results["attacks"] if row["name"] == "ilrg"]
    (labels, _) = leakages([results | {"attacks": results["attacks"] + more}], None)
    assert {"ilrg, server", "ilrg, client"} <= {name for name, _ in labels.attacks}


def test_probes_do_not_fill_the_other_tables(cells, probed):
    console = Console(file=io.StringIO(), width=120)
    print_results([read_results(probed)], None, console)
    score, _, rest = console.file.getvalue().partition("Labels behind the probes")
    assert rest
    assert "probe-" not in score.partition("The observer's score")[2]
    assert "idlg: IRec 25% on probe-equal-4 to 71.9% on probe-k32-after-4." in score
    console = Console(file=io.StringIO(), width=120)
    print_results(cells, summarise(cells), console)
    assert "probe-" not in console.file.getvalue().partition("Over all cells")[2]


def test_an_attack_that_never_answers_on_probes_says_so(probed):
    rows = copy.deepcopy([row for row in read_results(probed)["attacks"] if row["name"] == "rlu"])
    assert words.finding("labels", rows, []).endswith("No answer on 1 of 7 probes.")
    silent = [row for row in rows if row["status"] == "failed"]
    assert words.finding("labels", silent, []) == "rlu gave no answer (failed: no public images)."


def test_the_page_has_tables_and_pictures_of_probes(probed):
    text = publish(probed, quiet()).read_text()
    page = parsed(text)
    assert "probes" in page.ids
    assert "labels: known (oracle)" in text
    heading = "probe-equal-4: round 1, client 1; 4 of 4 labels right"
    assert f"{heading}; 15,826 equations for 256 unknowns (rank 240)" in text
    assert "finetune: forgotten by request-1" in text
    assert "mean image, " in text
    assert "skipped: no weights file" in text
    assert "from 18 dB on" in text  # the scenario's threshold
    assert "client 2: holds 180 samples" in text


def test_many_galleries_show_less_each(probed):
    results = read_results(probed)
    rows = [row for row in results["attacks"] if row["name"] == "dlg"]
    few = galleries(probed, rows, [])
    assert len(few) == 3 * 2
    assert few[-1].heading.startswith("probe-equal-4: round 1, client 1")
    assert [pair.mean for pair in few[0].pairs] == [False] * 4 + [True]
    assert "ssim" in few[0].pairs[0].measures
    many = galleries(probed, rows * (MANY + 9), [])
    assert len(many) == MOST
    assert len(galleries(probed, rows[:1] * (MANY + 1), [])) == (MANY + 1) * FEW_BATCHES
    controls = [row for row in results["attacks"] if row["finds"] == "forgotten-images" and row["branch"] == "control"]
    assert galleries(probed, controls, [])[0].quiet


def test_probes_are_all_in_the_results():
    assert len({probe["branch"] for probe in probes()}) == PROBED + 1
