"""A suite of methods: its figures against numpy, its table at every width, its picture, and where all this is shown."""

import copy
import csv
import io
import itertools
import math
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from rich.console import Console

from fedunlearn.judging.forgetting.cost import DURING_TRAINING
from fedunlearn.judging.summary import summarise
from fedunlearn.reporting import publish
from fedunlearn.reporting.formats import DASH
from fedunlearn.reporting.label_places import Box, Spot, places
from fedunlearn.reporting.stretched_axis import Axis
from fedunlearn.reporting.suite import records, suites
from fedunlearn.reporting.suite_columns import columns, reading, rows
from fedunlearn.reporting.suite_picture import AREA, LARGEST, SMALLEST, picture, picture_file
from fedunlearn.reporting.suite_table import suite_tables
from fedunlearn.reporting.table import print_results
from tests.reporting import synthetic_suite
from tests.reporting.synthetic_suite import METHODS, REFERENCES, SERVER_ONLY, results
from tests.reporting.test_publish import parsed

CANVAS = Box(0, 0, 900, 500)
POINTS = st.tuples(st.floats(150, 750), st.floats(100, 400), st.floats(2, 12), st.floats(20, 110))


@pytest.fixture(scope="module")
def cells():
    return synthetic_suite.matrix()


def shown(found, width):
    console = Console(file=io.StringIO(), width=width)
    for part in suite_tables(found, width):
        console.print(part)
    return console.file.getvalue()


def printed(found, summary=None, width=140):
    console = Console(file=io.StringIO(), width=width)
    print_results(found, summary, console)
    return console.file.getvalue()


def metric_of(found, name, metric):
    return [next(b["metrics"][metric] for b in r["branches"] if b["name"] == name) for r in found]


def test_a_suite_has_at_least_four_methods():
    assert suites([results({}, METHODS[:3])]) == []
    (suite,) = suites([results({}, METHODS[:4])])
    assert {row.name for row in suite.methods} == set(METHODS[:4])
    assert [row.name for row in suite.references] == ["trunk", "retrain", "retrain-other-init", "control"]


def test_figures_are_means_and_spreads_over_the_cells_of_a_group(cells):
    found = suites(cells)
    assert [suite.title for suite in found] == ["mnist-5k: forgetting a class", "mnist-5k: forgetting a client"]
    assert [suite.cells for suite in found] == [3, 3]
    for suite, own in zip(found, (cells[:3], cells[3:]), strict=True):
        assert len(suite.methods) == 27
        for row in suite.rows:
            values = metric_of(own, row.name, "retain_accuracy")
            figure = row.figures["retain_accuracy"]
            assert figure.mean == pytest.approx(np.mean(values))
            assert figure.spread == pytest.approx(np.std(values, ddof=1))
            assert figure.n == 3
        assert suite.floor == pytest.approx(0.012)
    assert "backdoor_success" not in found[0].measures
    assert "backdoor_success" in found[1].measures


def test_one_cell_has_no_spread():
    (suite,) = suites([results({})])
    assert {figure.spread for row in suite.rows for figure in row.figures.values()} == {None}
    assert "±" not in shown([suite], 200)


def test_the_closest_to_retraining_comes_first_and_is_marked_within_the_floor(cells):
    (suite,) = suites(cells[:3])
    gaps = [row.mean("average_gap") for row in suite.methods]
    assert gaps == sorted(gaps)
    assert [suite.within_floor(row) for row in suite.methods] == [gap <= suite.floor for gap in gaps]
    assert not any(suite.within_floor(row) for row in suite.references)
    best = sum(gap <= suite.floor for gap in gaps)
    assert f"{best} methods are as close (*) and know no more of what was forgotten." in reading(suite)
    assert shown([suite], 200).count("* ") == best


def edited(changes, seeds=2, **settings):
    """Return the suite of some seeds after `changes(number of the cell, its branches by name)`."""
    own = [copy.deepcopy(results({"seed": seed}, METHODS[:5], **settings)) for seed in range(seeds)]
    for number, found in enumerate(own):
        changes(number, {branch["name"]: branch for branch in found["branches"]})
    (suite,) = suites(own)
    return suite, {row.name: row for row in suite.rows}


@pytest.mark.parametrize(("known", "close"), [(0.30, True), (0.32, False), (None, False)])
def test_who_knows_more_than_retraining_is_not_as_close(known, close):
    def change(number, branches):
        branches["finetune"]["metrics"] |= {"average_gap": 0.0, "forget_accuracy": known}
        branches["retrain"]["metrics"]["forget_accuracy"] = 0.1
        branches["retrain-other-init"]["metrics"]["forget_accuracy"] = 0.3

    suite, methods = edited(change)
    assert suite.limits == {"forget_accuracy": pytest.approx(0.31)}
    assert suite.within_floor(methods["finetune"]) is close


def test_a_backdoor_shows_what_a_client_left():
    def change(number, branches):
        branches["finetune"]["metrics"] |= {"average_gap": 0.0, "backdoor_success": 0.9, "forget_accuracy": 0.0}
        branches["federaser"]["metrics"] |= {"average_gap": 0.0, "backdoor_success": 0.0, "forget_accuracy": 0.9}

    own = [results({"requests.0.scope": "client"}, METHODS[:5], backdoor=True)]
    change(0, {branch["name"]: branch for branch in own[0]["branches"]})
    (suite,) = suites(own)
    close = {row.name: suite.within_floor(row) for row in suite.methods}
    assert list(suite.limits) == ["backdoor_success"]
    assert (close["finetune"], close["federaser"]) == (False, True)


def test_who_did_not_finish_everywhere_is_not_as_close(cells):
    own = copy.deepcopy(cells[:2])
    for branch in (branch for found in own for branch in found["branches"] if branch["name"] == "finetune"):
        branch["metrics"] |= {"average_gap": 0.0, "forget_accuracy": 0.0}
    assert {row.name: suites(own)[0].within_floor(row) for row in suites(own)[0].methods}["finetune"]
    own[1]["branches"] = [branch for branch in own[1]["branches"] if branch["name"] != "finetune"]
    assert not {row.name: suites(own)[0].within_floor(row) for row in suites(own)[0].methods}["finetune"]


def test_a_cell_with_many_branches_does_not_weigh_more_in_the_floor():
    own = [results({"seed": seed}, METHODS[: 5 + 9 * seed]) for seed in range(2)]
    for branch in own[1]["branches"]:
        branch["metrics"]["average_gap_floor"] = 0.036
    (suite,) = suites(own)
    assert suite.floor == pytest.approx((0.012 + 0.036) / 2)


def test_the_speed_up_is_one_of_means():
    def change(number, branches):
        branches["finetune"]["cost"] |= {"client_seconds": [1.0, 9.0][number], "speed_up": 1e6}
        branches["retrain"]["cost"]["client_seconds"] = [20.0, 60.0][number]
        branches["retrain-other-init"]["cost"]["client_seconds"] = [30.0, 90.0][number]
        branches["federaser"]["cost"]["client_seconds"] = [5.0, None][number]

    _, methods = edited(change)
    assert methods["finetune"].mean("speed_up") == pytest.approx((25 + 75) / 10)
    assert methods["federaser"].figures["speed_up"].mean == pytest.approx(25 / 5)
    assert methods["federaser"].figures["speed_up"].n == 1
    assert methods["retrain"].mean("speed_up") == pytest.approx((25 + 75) / (20 + 60))


def test_methods_with_a_training_of_their_own_are_marked():
    def change(number, branches):
        for name in ("finetune", "federaser"):
            branches[name]["cost"]["prepared"] = {"rounds": 30, "bytes": 1, "client_seconds": 1.0}
        branches["fedrecovery"]["cost"]["prepared"] = {"rounds": 0, "bytes": 0, "client_seconds": 0.0}
        branches["finetune"]["cost"] |= {"speed_up": None, "note": DURING_TRAINING}

    suite, methods = edited(change)
    names = [row.name for row in rows(suite)]
    assert {"finetune†", "federaser†", "fedrecovery"} <= set(names)
    line = "† trains in a way of its own, which is not counted; finetune must know the request beforehand."
    assert reading(suite).splitlines()[1] == line
    assert line in shown([suite], 200)
    assert methods["finetune"].mean("speed_up") is None
    assert methods["federaser"].mean("speed_up") > 0


def test_tests_are_of_classes_that_were_not_forgotten():
    def change(number, branches):
        branches["finetune"]["metrics"] |= {"test_accuracy": 0.5, "test_retain_accuracy": 0.6}
        branches["federaser"]["metrics"] |= {"test_accuracy": 0.5, "test_retain_accuracy": None}

    _, methods = edited(change)
    assert methods["finetune"].mean("test_retain_accuracy") == 0.6
    assert methods["federaser"].mean("test_retain_accuracy") == 0.5


def test_stop_rules_and_the_servers_work_have_columns_where_they_are_told():
    def change(number, branches):
        branches["finetune"]["details"]["stopped"] = {"answers": 3 - number, "of": 4}
        branches["finetune"]["metrics"]["mia_auc"] = 0.75
        branches["finetune"]["cost"] |= {"server_seconds": 0.001, "client_seconds": 0.004}

    suite, _ = edited(change)
    plain, _ = edited(lambda number, branches: None)
    found = [column.heading for column in columns(suite)]
    assert {"stopped", "server", "AUC"} == set(found) - {column.heading for column in columns(plain)}
    (line,) = (dict(zip(found, row.cells, strict=True)) for row in rows(suite) if row.name == "finetune")
    assert (line["stopped"].text, line["AUC"].text) == ("62.5", "0.75")
    assert (line["server"].text, line["work"].text) == ("<0.01 s", "<0.01 s")


def test_without_gaps_the_least_known_comes_first():
    bare = results({}, METHODS[:5], costs=False)
    for found in bare["branches"]:
        found["metrics"] = {k: v for k, v in found["metrics"].items() if k.endswith("_accuracy")}
    (suite,) = suites([bare])
    forgotten = [row.mean("forget_accuracy") for row in suite.methods]
    assert forgotten == sorted(forgotten)
    assert suite.measures == ("forget_accuracy", "retain_accuracy", "test_retain_accuracy")
    assert [column.heading for column in columns(suite)] == ["forgotten", "retained", "test"]
    assert "sorted by the accuracy on what was forgotten" in reading(suite)
    ET.fromstring(picture_file(suite))


def test_a_method_that_could_not_be_finished_is_told(cells):
    own = copy.deepcopy(cells[:3])
    for results_ in own:
        results_["branches"] = [b for b in results_["branches"] if b["name"] != "pga"]
        results_["failures"] = [{"branch": "pga", "reason": "not finite"}]
    own[0]["branches"] = [b for b in own[0]["branches"] if b["name"] != "scrub"]
    own[0]["failures"].append({"branch": "scrub", "reason": "quorum"})
    (suite,) = suites(own)
    names = [row.name for row in rows(suite)]
    assert names[-1] == "pga (0 of 3)"
    assert "scrub (2 of 3)" in names
    assert {cell.text for cell in rows(suite)[-1].cells} == {DASH}
    failed = {row["branch"]: row["failed"] for row in records([suite])}
    assert failed["scrub"] == 1
    assert failed["ssd"] == 0
    assert picture(suite)


def test_copies_of_retraining_count_once_per_cell():
    one = results({}, METHODS[:4])
    again = copy.deepcopy(next(b for b in one["branches"] if b["name"] == "retrain-other-init"))
    again |= {"id": "retrain-other-init-2", "replica": 2}
    again["metrics"]["test_accuracy"] += 0.01
    one["branches"].append(again)
    one["failures"] = [{"branch": "retrain-other-init-3", "reason": "x"}]
    (suite,) = suites([one])
    values = [b["metrics"]["test_accuracy"] for b in one["branches"] if b["name"] == "retrain-other-init"]
    figure = suite.reference("retrain-other-init").figures["test_retain_accuracy"]
    assert (figure.mean, figure.n, figure.spread) == (pytest.approx(np.mean(values)), 1, None)
    assert len(suite.methods) == 4


def test_equal_titles_are_told_apart_by_their_group():
    found = suites([results({"federation.algorithm": name}, METHODS[:4]) for name in ("fedsgd", "fedavg")])
    assert [suite.title.partition(" (")[2] for suite in found] == ["FedSGD)", "FedAvg)"]


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


def marks(suite):
    """Return (centre, radius or None) of every method's mark and the centres of the references, by name."""
    found = {}
    for mark in ET.fromstring(str(picture(suite))).iter():
        if mark.tag in ("circle", "polygon") and len(mark):
            name = mark[0].text.partition(":")[0]
            if mark.tag == "circle":
                found[name] = (float(mark.get("cx")), float(mark.get("cy")), float(mark.get("r")), mark.get("class"))
            else:
                corners = [tuple(map(float, corner.split(","))) for corner in mark.get("points").split()]
                found[name] = (*np.mean(corners, axis=0), 0.0, mark.get("class"))
    return found


def test_every_row_has_its_mark_where_its_figures_are(cells):
    for suite in suites(cells):
        measure = "backdoor_success" if "backdoor_success" in suite.measures else "forget_accuracy"
        found = marks(suite)
        assert set(found) == {row.name for row in suite.rows}
        for one in suite.rows:
            x, y, *_ = found[one.name]
            assert AREA.left <= x <= AREA.right
            assert AREA.top <= y <= AREA.bottom
            for other in suite.rows:
                if one.mean(measure) < other.mean(measure):
                    assert x <= found[other.name][0] + 0.06  # corners are rounded to tenths
                if one.mean("retain_accuracy") < other.mean("retain_accuracy"):
                    assert y >= found[other.name][1] - 0.06


def test_dashed_lines_meet_at_the_retrained_model(cells):
    (suite,) = suites(cells[:3])
    drawn = ET.fromstring(str(picture(suite)))
    upright, level = (line for line in drawn.iter("line") if line.get("class") == "aim")
    x, y, *_ = marks(suite)["retrain"]
    assert float(upright.get("x1")) == pytest.approx(x, abs=0.06)
    assert float(level.get("y1")) == pytest.approx(y, abs=0.06)


def test_the_size_of_a_dot_is_its_client_work(cells):
    (suite,) = suites(cells[:3])
    found = marks(suite)
    for row in suite.methods:
        *_, radius, style = found[row.name]
        if row.name in SERVER_ONLY:
            assert style.startswith("ring")
            continue
        share = min(row.mean("client_seconds") / 40, 1)
        assert radius == pytest.approx(SMALLEST + (LARGEST - SMALLEST) * math.sqrt(share), abs=0.01)
        assert style == ("bubble s2" if suite.within_floor(row) else "bubble s1")


def test_every_name_stands_alone(cells):
    for suite in suites(cells):
        drawn = ET.fromstring(str(picture(suite)))
        names = [text for text in drawn.iter("text") if text.get("class").startswith("name")]
        assert sorted(text.text for text in names) == sorted(row.name for row in suite.rows)
        boxes = []
        for text in names:
            x, y, wide = float(text.get("x")), float(text.get("y")), 7.0 * len(text.text)
            boxes.append(Box(x - wide / 2, y - 10, x + wide / 2, y + 2))
        assert not any(one.meets(other) for one, other in itertools.combinations(boxes, 2))


def test_the_file_needs_no_other_and_escapes(cells):
    own = copy.deepcopy(cells[:1])
    own[0]["scenario"]["data"]["name"] = "<b> & co"
    text = picture_file(suites(own)[0])
    root = ET.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert (root.get("width"), root.get("height")) == ("920", "598")
    assert "&lt;b&gt; &amp; co: forgetting a class" in text
    assert "--paper: #fbfaf7" in text
    for word in ("href", "url(", "@import", "<script", "body {"):
        assert word not in text


@given(st.floats(0, 1), st.floats(0.005, 0.1), st.lists(st.floats(0, 1), min_size=2, max_size=9, unique=True))
def test_an_axis_keeps_the_order_and_its_ticks_apart(centre, unit, values):
    low, high = min(values), max(values)
    assume(high - low > 0.01)
    axis = Axis(centre, unit, low, high, 70.0, 850.0)
    pixels = [axis.at(value) for value in sorted(values)]
    assert pixels == sorted(pixels)
    assert (axis.at(low), axis.at(high)) == (pytest.approx(70), pytest.approx(850))
    ticks = axis.ticks(40)
    assert all(low - 1e-6 <= tick <= high + 1e-6 for tick in ticks)
    at = sorted(axis.at(tick) for tick in ticks)
    assert all(second - first >= 40 - 1e-6 for first, second in itertools.pairwise(at))


@given(st.lists(POINTS, min_size=1, max_size=10))
def test_names_never_overlap_where_there_is_room(points):
    spots = [Spot(x, y, radius, width, 13.0) for x, y, radius, width in points]
    found = places(spots, CANVAS)
    for number, place in enumerate(found):
        assert place.box.inside(CANVAS)
        assert not any(place.box.meets(other.box) for other in found[:number])
        near = [spot for spot in spots if spot is not spots[number]]
        assert not any(place.box.meets(spot.box) for spot in near)


def test_names_of_a_crowd_at_one_point_are_all_placed():
    spots = [Spot(450.0, 250.0, 5.0, 90.0, 13.0)] * 40
    found = places(spots, CANVAS)
    assert all(place.box.inside(CANVAS) for place in found)
    assert not any(one.box.meets(other.box) for one, other in itertools.combinations(found, 2))


def test_lines_are_clipped_against_boxes():
    box = Box(10, 10, 20, 20)
    assert box.crossed(0, 15, 30, 15)
    assert box.crossed(15, 15, 16, 16)
    assert not box.crossed(0, 0, 30, 5)
    assert not box.crossed(0, 15, 9, 15)
    assert not box.crossed(5, 0, 5, 30)
