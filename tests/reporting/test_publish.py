"""The end of a run: report, summary, table; and making them again."""

import base64
import copy
import io
import json
import re
import shutil
from html.parser import HTMLParser

import pytest
from PIL import Image
from rich.console import Console

from fedunlearn.errors import DataError
from fedunlearn.reporting import publish, read_results, rebuild, write_results
from fedunlearn.reporting.headline import facts, scores, tiles
from fedunlearn.reporting.page import branch_styles
from tests.reporting import synthetic

VOID = {"meta", "img", "br", "link"}


class Balance(HTMLParser):
    """Checks that tags close in the order in which they opened."""

    def __init__(self):
        super().__init__()
        self.open, self.sources, self.ids, self.links = [], [], set(), []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.sources += [found[key] for key in ("src", "href") if key in found]
        self.ids.add(found.get("id"))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def parsed(text):
    balance = Balance()
    balance.feed(text)
    assert balance.open == []
    return balance


def quiet():
    return Console(file=io.StringIO(), width=120)


@pytest.fixture(scope="module")
def report(matrix):
    return publish(matrix, quiet()).read_text()


def test_report_is_whole_and_needs_no_other_file(report):
    page = parsed(report)
    assert all(source.startswith(("data:image/png;base64,", "#")) for source in page.sources)
    assert {source[1:] for source in page.sources if source.startswith("#")} <= page.ids
    assert "<script" not in report
    assert "url(" not in report


def test_report_tells_the_story(report):
    for words in (
        "What happened",
        "What the observer was allowed to see",
        "What it found",
        "the same extra rounds with nothing forgotten",
        "recovered 100% of the labels",
        "ranks the forgotten class 3 first",
        "FedSGD",
        "FedAvg",
        "null-class-query gave no answer",
    ):
        assert words in report, words
    assert "&lt;They&gt; train together" in report  # the description, escaped
    assert "no noise &lt;left&gt;" in report


def test_report_shows_originals_and_reconstructions(report):
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', report)
    # Two cells; four pairs and that of the means among the findings, four pairs in the short story.
    assert len(pictures) == 2 * (8 + 2 + 8)
    assert Image.open(io.BytesIO(base64.b64decode(pictures[0]))).size == (112, 112)
    assert re.search(r"class 3, 3\d\.\d dB", report)


def test_every_metric_stands_in_the_report_with_its_interval(report, matrix):
    results = read_results(matrix / "cells" / "000-fedsgd-0")
    rows = scores(results)
    assert len(rows) == sum(len(row["metrics"]) for row in results["attacks"])
    assert all(row.interval in report for row in rows)
    assert {row.metric for row in rows if row.main} == {
        "irec",
        "exact",
        "psnr",
        "rebuilt-share",
        "top-1",
        "false-alarm",
        "auc",
    }


def test_a_matrix_gets_a_summary(report, matrix):
    summary = json.loads((matrix / "summary.json").read_text())
    assert summary["cells"] == 2
    assert (matrix / "summary.csv").read_text().startswith("group,attack")
    assert "Over all" not in report  # one cell per group: there are no rates


def test_large_matrix_shows_rates_only(seeds):
    text = publish(seeds, quiet()).read_text()
    parsed(text)
    assert "Over all 10 cells" in text
    assert "False alarms" in text
    assert "data:image" not in text
    assert "Request against control" in text


def test_rebuild_makes_the_same_report_from_the_results_alone(single, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(single, run)
    first = publish(run, quiet()).read_text()
    (run / "report.html").unlink()
    rebuild(run)
    assert (run / "report.html").read_text() == first
    assert not (run / "summary.json").exists()
    assert "retrain" in capsys.readouterr().out


def test_report_survives_lost_artefacts(single, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(single, run)
    shutil.rmtree(run / "artefacts")
    parsed(publish(run, quiet()).read_text())


def test_nothing_to_report(tmp_path):
    with pytest.raises(DataError, match="nothing to report"):
        rebuild(tmp_path)


def test_a_bare_run_has_a_report(single, tmp_path):
    results = read_results(single) | {"requests": [], "attacks": [], "rounds": [], "scenario": {}}
    del results["federation"]
    results["branches"] = [copy.deepcopy(results["branches"][0]) | {"details": {}}]
    write_results(tmp_path, results)
    parsed(publish(tmp_path, quiet()).read_text())


def test_many_classes_with_long_names_and_colour_pictures(tmp_path):
    results = synthetic.results(tmp_path, {})
    results["federation"]["classes"] = [f"ankle boot {k}" for k in range(10)]
    write_results(tmp_path, results)
    text = publish(tmp_path, quiet()).read_text()
    assert "forgotten class 3 (ankle boot 3)" in text


def test_tiles_say_how_much_and_against_what(single):
    found = {tile.topic: tile for tile in tiles(read_results(single))}
    assert found["labels"].value == "100%"
    assert found["pictures"].value == "3 of 4"
    assert found["forgotten class"].value == "3 of 4"
    assert "chance 10%, false alarms on 0 of 2" in found["forgotten class"].note
    assert "guessing 0.50" in found["membership"].note


def test_branches_have_styles_of_their_own(single):
    styles = branch_styles(read_results(single))
    assert len(set(styles.values())) == len(styles) == 7


def test_facts_leave_out_what_is_not_known(single):
    known = dict(facts(read_results(single)))
    assert known["dealt out"] == "dirichlet, alpha 0.5"
    assert known["model"] == "lenet, 21410 parameters"
    bare = dict(
        facts({"scenario": {}, "seed": 1, "engine": "ray", "workers": 2, "timing": read_results(single)["timing"]})
    )
    assert set(bare) == {"seed", "engine", "time"}
