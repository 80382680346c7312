"""A suite of methods: its figures against numpy."""

import copy
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from fedunlearn.judging.forgetting.cost import DURING_TRAINING
from fedunlearn.reporting.formats import DASH
from fedunlearn.reporting.suite import records, suites
from fedunlearn.reporting.suite_columns import columns, reading, rows
from fedunlearn.reporting.suite_picture import picture, picture_file
from tests.reporting.suite_views import metric_of, shown
from tests.reporting.synthetic_suite import METHODS, results


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
