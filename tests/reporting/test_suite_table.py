"""The table of a suite at every width, and where it is shown."""

import csv
import io

import numpy as np
import pytest
from rich.console import Console

from fedunlearn.judging.summary import summarise
from fedunlearn.reporting import publish
from fedunlearn.reporting.formats import DASH
from fedunlearn.reporting.suite import suites
from fedunlearn.reporting.suite_columns import columns, rows
from tests.reporting import synthetic_suite
from tests.reporting.suite_views import metric_of, printed, shown
from tests.reporting.synthetic_suite import METHODS, REFERENCES, SERVER_ONLY, results
from tests.reporting.test_publish import parsed


def test_costs_of_nothing_are_none_and_unknown_ones_a_dash(cells):
    (suite,) = suites(cells[:3])
    headings = [column.heading for column in columns(suite)]
    by_name = {row.name: dict(zip(headings, [cell.text for cell in row.cells], strict=True)) for row in rows(suite)}
    for name in SERVER_ONLY:
        assert [by_name[name][key] for key in ("rounds", "sent", "work", "faster")] == ["none", "none", "none", DASH]
        assert by_name[name]["stored"] == "51.0 MB"
    assert by_name["retrain"] | {"work": "40.0 s", "faster": "1.0x", "rounds": "20"} == by_name["retrain"]
    assert {by_name["trunk"][key] for key in ("rounds", "sent", "work", "stored", "faster")} == {DASH}


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_the_table_fits_the_terminal_and_names_every_method(cells, width):
    text = shown(suites(cells), width)
    assert max(map(len, text.splitlines())) <= width
    for name in (*METHODS, *REFERENCES[:3], "trunk"):
        assert text.count(f"\n{name}") >= 2  # once in either suite
    assert ("±" in text.partition("In percent")[0]) == (width >= 120)
    assert ("stored" in text) == (width >= 120)
    assert "retained" in text


def test_the_table_replaces_those_that_would_repeat_it(cells):
    text = printed(cells, summarise(cells))
    assert text.count("The methods, mnist-5k") == 2
    assert "The models" not in text
    assert "98.3% / 97.1% before, 0% / 96.3% after retrain." in text
    few = [results({"seed": seed}, METHODS[:3]) for seed in range(2)]
    text = printed(few, summarise(few))
    assert "The methods" not in text
    assert "The models: accuracy" in text
    assert "The models, mean over cells" in text


def test_a_backdoor_has_a_column_in_a_small_run(tmp_path):
    honest, poisoned = results({}, METHODS[:2]), results({}, METHODS[:2], backdoor=True)
    poisoned["scenario"]["poison"] = {"client": 1, "trigger": "square", "target": 7, "share": 0.8}
    told = "80% of client 1&#39;s samples carry a square and class 7"
    for name, found, planted in (("honest", honest, False), ("poisoned", poisoned, True)):
        page = publish(synthetic_suite.write(tmp_path / name, [found]), Console(file=io.StringIO())).read_text()
        parsed(page)
        assert ('<th class="n">backdoor</th>' in page) is planted
        assert (told in page) is planted
        assert ("backdoor" in printed([found])) is planted


def test_everything_is_published(cells, tmp_path):
    run = synthetic_suite.write(tmp_path, cells)
    page = publish(run, Console(file=io.StringIO(), width=120)).read_text()
    parsed(page)
    assert page.count("both axes are stretched") == 2
    assert page.count("<td>salun</td>") + page.count("<b>salun</b> *") == 2
    assert "All 0 rates" not in page
    assert sorted(path.name for path in run.glob("*.svg*")) == [
        "suite-mnist-5k-forgetting-a-class.svg",
        "suite-mnist-5k-forgetting-a-client.svg",
    ]
    with (run / "summary.csv").open() as file:
        table = list(csv.DictReader(file))
    (row,) = (r for r in table if (r["group"], r["branch"], r["metric"]) == ("client", "salun", "backdoor_success"))
    values = metric_of(cells[3:], "salun", "backdoor_success")
    assert float(row["value"]) == pytest.approx(np.mean(values))
    assert float(row["spread"]) == pytest.approx(np.std(values, ddof=1))
    assert row["n"] == "3"


def test_a_single_run_has_one_picture_and_a_small_one_none(tmp_path):
    quiet = Console(file=io.StringIO(), width=120)
    publish(synthetic_suite.write(tmp_path / "suite", [results({})]), quiet)
    publish(synthetic_suite.write(tmp_path / "small", [results({}, METHODS[:3])]), quiet)
    assert [path.name for path in (tmp_path / "suite").glob("*.svg*")] == ["suite.svg"]
    assert not list((tmp_path / "small").glob("*.svg*"))
