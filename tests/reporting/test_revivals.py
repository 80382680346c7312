"""Revived models in the report, the terminal and the summary: stages, oracles and controls beside each other."""

import copy
import io
import json
import re
import xml.etree.ElementTree as ET

import jsonschema
import numpy as np
import pytest
from rich.console import Console

from fedunlearn.judging.intervals import wilson
from fedunlearn.judging.revival_rows import ANSWERS, is_control
from fedunlearn.judging.summary import summarise
from fedunlearn.names import TRUNK
from fedunlearn.reporting import read_results, words
from fedunlearn.reporting.formats import DASH
from fedunlearn.reporting.headline import tiles
from fedunlearn.reporting.pair_bars import pair_bars, pair_bars_file
from fedunlearn.reporting.results import cell_folders, schema
from fedunlearn.reporting.revival_charts import growth_chart, revival_bars
from fedunlearn.reporting.revival_table import revival_tables
from fedunlearn.reporting.revivals import ERASED, RETAINED, count, revivals, silence, text
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
    return revivals(summary)


@pytest.fixture(scope="module")
def over_seeds(attacked_seeds):
    return [of_pruned(read_results(folder)) for folder in cell_folders(attacked_seeds)]


@pytest.fixture(scope="module")
def summary_over_seeds(over_seeds):
    return summarise(over_seeds)


def of_pruned(results):
    """Keep the revivals alone."""
    own = [row for row in results["attacks"] if (row["finds"], row["branch"]) == ("revival", made.PRUNED)]
    return results | {"attacks": own}


def row_named(results, label, branch=made.PRUNED):
    return next(row for row in results["attacks"] if (row["label"], row["branch"]) == (label, branch))


def line_named(revival, name):
    return next(line for line in revival.lines if line.name == name)


def test_what_verdicts_say_follows_the_schema(results):
    jsonschema.validate(results, schema())
    for wrong in ({"stages": {"before": {}}}, {"per-class-n": {"claimed": {"3": -1}}}, {"revived-class": "three"}):
        broken = copy.deepcopy(results)
        broken["attacks"][0]["details"] |= wrong
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, schema())


def test_stages_come_first_and_controls_last(found):
    pruned, control = found
    assert (pruned.branch, pruned.quiet, pruned.trials) == (made.PRUNED, False, 1)
    kinds = {line.name: line.kind for line in pruned.lines}
    assert [name for name, kind in kinds.items() if kind == "stage"] == ["before pruning", "pruned"]
    assert [name for name, kind in kinds.items() if kind == "control"] == ["random signs", "class bias", "donor rows"]
    assert list(kinds.values()) == sorted(kinds.values(), key=["stage", "attack", "oracle", "control"].index)
    assert line_named(pruned, "oracle signs").grants == ("weights",)
    assert control.quiet
    assert {line.kind for line in control.lines if line.figure(ERASED).value is not None} == {"stage", "control"}


def test_figures_of_one_run_are_the_judge_s_own(found, results):
    for line in found[0].lines:
        if line.kind == "stage":
            continue
        metrics = row_named(results, line.name)["metrics"]
        for name in ANSWERS:
            figure = line.figure(name)
            assert (figure.value, figure.n, list(figure.ci)) == tuple(
                metrics[name][key] for key in ("value", "n", "ci")
            )


def test_stages_have_the_intervals_that_a_revived_model_would_have(found, results):
    row = row_named(results, "revival")
    for stage, name in (("before", "before pruning"), ("pruned", "pruned")):
        line = line_named(found[0], name)
        for metric in (ERASED, RETAINED):
            value, n = row["details"]["stages"][stage][metric], row["metrics"][metric]["n"]
            assert line.figure(metric).value == value
            assert line.figure(metric).ci == pytest.approx(wilson(round(value * n), n))
        area = line.figure("logit-auc")
        assert area.ci[0] < area.value <= area.ci[1]


def test_random_signs_are_a_control_and_true_ones_are_not(results):
    assert is_control(row_named(results, "random signs"))
    assert not is_control(row_named(results, "oracle signs"))
    assert not is_control(next(row for row in results["attacks"] if row["finds"] == "class-images"))


def test_the_best_control_is_marked_and_its_absence_is_said(found):
    pruned = found[0]
    best, loud = pruned.best_control, line_named(pruned, "donor rows")
    assert best.name == "class bias"
    assert loud.figure(ERASED).value > best.figure(ERASED).value  # but most of its calls are wrong
    assert loud.figure("class-precision").value < 0.25
    chart = revival_bars(pruned)
    assert chart.mark == (best.figure(ERASED).value, "erased accuracy of the best control, class bias")
    alone = type(pruned)(**{**pruned.__dict__, "lines": pruned.lines[:3]})
    assert "without one a revival proves nothing" in revival_bars(alone).caption
    assert revival_bars(alone).mark is None


def test_bars_are_as_long_as_the_shares_and_lie_inside(found):
    chart = revival_bars(found[0])
    root = ET.fromstring(str(pair_bars(chart)))
    _, _, width, height = map(float, root.get("viewBox").split())
    bars = {rect[0].text: rect for rect in root.iter("rect") if len(rect)}
    assert len(bars) == 2 * len(chart.lines)
    lengths = {words.partition(":")[0]: float(rect.get("width")) for words, rect in bars.items()}
    for line in chart.lines:
        for key, figure in zip(chart.keys, line.pairs[0], strict=True):
            assert lengths[f"{line.name}, {key}"] == pytest.approx(max(430 * figure.value, 0.8), abs=0.01)
    assert all("n = " in words for words in bars)
    for rect in root.iter("rect"):
        x, y, w, h = (float(rect.get(key)) for key in ("x", "y", "width", "height"))
        assert x >= 0
        assert x + w <= width
        assert y + h <= height
    ET.fromstring(pair_bars_file(chart))


def test_curves_over_rounds_need_several_numbers_of_rounds(found):
    pruned, control = found
    (series,) = pruned.growth
    assert series == "updates, fused"
    assert [rounds for rounds, _ in pruned.growth[series]] == list(made.ROUNDS)
    chart = growth_chart(pruned)
    assert [name for name, _ in chart.legend] == ["signs right, updates, fused", "erased, updates, fused"]
    root = ET.fromstring(str(chart.drawing))
    points = [circle[0].text for circle in root.iter("circle")]
    assert len(points) == 2 * len(made.ROUNDS)
    assert all("n = " in words for words in points)
    assert growth_chart(control) is None
    once = {series: pruned.growth[series][:1]}
    assert growth_chart(type(pruned)(**{**pruned.__dict__, "growth": once})) is None


def test_observers_share_a_table_and_are_named_where_several_run_the_same(results):
    several = of_pruned(copy.deepcopy(results))
    row_named(several, "class bias")["observer"] = "insider"
    again = copy.deepcopy(row_named(several, "revival"))
    several["attacks"].append(again | {"observer": "insider"})
    pruned = revivals(summarise([several]))[0]
    names = [line.name for line in pruned.lines]
    assert {"revival, server", "revival, insider", "regrowth 4"} <= set(names)
    assert names.count("before pruning") == 1


def test_groups_that_differ_in_the_class_alone_are_one(over_seeds, summary_over_seeds):
    cells = [
        results | {"cell": results["cell"] | {"requests": [{"scope": "class", "target": {"classes": [label]}}]}}
        for label in (3, 5)
        for results in over_seeds
    ]
    pruned = revivals(summarise(cells))[0]
    assert (pruned.title, pruned.trials) == (f"after {made.PRUNED}", 6)
    assert line_named(pruned, "oracle signs").figure(ERASED).n == 6
    alone = revivals(summary_over_seeds)[0]
    ends = [line_named(revival, "oracle signs").figure(ERASED) for revival in (pruned, alone)]
    assert ends[0].value == pytest.approx(ends[1].value)
    assert ends[0].ci == pytest.approx(ends[1].ci, rel=0.01)  # seeds are drawn again, not cells: six are no six trials


def test_refusals_are_told_once(found):
    (said,) = silence(found[1])
    assert said.startswith("No answer: revival, random signs")
    assert said.endswith("(no weight is exactly 0: <nothing> was pruned).")
    assert silence(found[0]) == []


def test_branches_without_an_erased_class_have_no_table(results):
    plain = copy.deepcopy(results)
    for row in plain["attacks"]:
        row["branch"] = TRUNK if row["branch"] == made.REFUSED else row["branch"]
        if row["branch"] == TRUNK:
            for answers in row["details"].get("stages", {}).values():
                answers |= dict.fromkeys(answers)
    assert [revival.branch for revival in revivals(summarise([plain]))] == [made.PRUNED]
    assert revivals(summarise([results | {"attacks": []}])) == []


def test_over_seeds_figures_are_means_and_n_counts_answers(over_seeds, summary_over_seeds):
    pruned = revivals(summary_over_seeds)[0]
    assert pruned.trials == 3
    oracle = line_named(pruned, "oracle signs")
    values = [row_named(cell, "oracle signs")["metrics"][ERASED]["value"] for cell in over_seeds]
    assert oracle.figure(ERASED).value == pytest.approx(np.mean(values))
    low, high = oracle.figure(ERASED).ci
    assert min(values) <= low < high <= max(values)
    lost = line_named(pruned, "revival")
    assert (lost.figure(ERASED).n, lost.figure(ERASED).failed) == (2, 1)
    assert count(lost, 3) == "2 of 3"
    assert "Means over runs, n = 2 to 3;" in revival_bars(pruned).caption


def test_a_figure_of_fewer_answers_says_so(over_seeds):
    fewer = copy.deepcopy(over_seeds)
    row_named(fewer[0], "class bias")["metrics"]["class-precision"]["value"] = None
    line = line_named(revivals(summarise(fewer))[0], "class bias")
    assert text(line, "class-precision", 3).endswith("(n = 2)")
    assert "n = " not in text(line, ERASED, 3)
    assert text(line, "sign-accuracy", 3) == DASH


@pytest.mark.usefixtures("attacked_pages")
def test_the_summary_holds_every_model(attacked_seeds):
    summary = json.loads((attacked_seeds / "summary.json").read_text())
    rows = [row for row in summary["revivals"] if row["branch"] == made.PRUNED]
    assert [row["model"] for row in rows][:2] == ["before pruning", "pruned"]
    assert {row["model"] for row in rows} >= set(made.REVIVALS)
    assert all(set(entry) >= {"value", "ci", "n", "failed"} for row in rows for entry in row["figures"].values())
    assert (attacked_seeds / "revival.svg").exists()


@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_terminal_fits_and_every_model_has_its_n(summary, summary_over_seeds, width):
    for told, n in ((summary, r"\d+ \+ \d+"), (summary_over_seeds, r"[23]( of 3)?")):
        console = Console(file=io.StringIO(), width=width)
        for part in revival_tables(told, width):
            console.print(part)
        printed = console.file.getvalue()
        assert max(map(len, printed.splitlines())) <= width
        assert "nan" not in printed.lower()
        for name in ("before pruning", "pruned", "class bias", "oracle signs \u2020"):
            assert re.search(rf"^  {name} +{n} ", printed, re.MULTILINE), name


def test_the_report_shows_tables_and_no_figure_without_n(attacked_pages):
    for page in attacked_pages:
        balance = parsed(page)
        assert all(source.startswith(("data:image/png;base64,", "#")) for source in balance.sources)
        assert {source[1:] for source in balance.sources if source.startswith("#")} <= balance.ids
        section = page.partition('<section id="revival">')[2].partition("</section>")[0]
        lines = re.findall(r"<tr><td>(.+?)</td><td class=\"n\">(.*?)</td>", section)
        assert len(lines) == 10 + 4
        assert all(re.fullmatch(r"\d+( \+ \d+)?( of \d+)?", n) for _, n in lines)
        assert "What proves nothing by itself" in section
        assert "&lt;nothing&gt; was pruned" in section
        assert not re.search(r"\bnan\b", section, re.IGNORECASE)


def test_words_say_what_it_was_before_and_how_many_there_were(results):
    said = words.finding("revival", [row_named(results, "revival"), row_named(results, "revival", "control")], [])
    metrics = row_named(results, "revival")["metrics"]
    assert f"n = {metrics[ERASED]['n']}; before pruning" in said
    assert "of the claimed signs are right (n = 26" in said
    assert "after control" not in said
    only = words.finding("revival", [row_named(results, "revival", "control")], [])
    assert only == "revival gave no answer (refused: no weight is exactly 0: <nothing> was pruned)."
    uncalled = copy.deepcopy(row_named(results, "class bias"))
    uncalled["metrics"]["class-precision"]["value"] = None
    assert "and nothing is called so" in words.finding("revival", [uncalled], [])


def test_the_first_figure_has_the_best_control_beside_it(results):
    tile = next(tile for tile in tiles(results) if tile.topic == "revival")
    assert "pruned 0%, best control 19%" in tile.note
    assert "n = 42" in tile.note
