"""Charts: well-formed drawings whose lengths are the numbers."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedunlearn.reporting import bars, charts, curves, svg

SCORES = st.lists(st.floats(-10, 10), min_size=2, max_size=120)


def parse(drawing):
    return ET.fromstring(str(drawing))


def rectangles(drawing):
    return [(float(r.get("y")), float(r.get("height"))) for r in parse(drawing).iter("rect")]


@given(SCORES)
def test_bars_stand_on_zero_and_are_as_long_as_their_scores(scores):
    names = [str(k) for k in range(len(scores))]
    drawing = bars.class_bars(scores, names, [0], (min(scores), max(scores)), "scores")
    boxes = rectangles(drawing)
    zero = float(next(line for line in parse(drawing).iter("line")).get("y1"))
    span = max(max(scores), 0) - min(min(scores), 0)
    for score, (top, tall) in zip(scores, boxes, strict=True):
        assert tall == pytest.approx(max(abs(score) / max(span, 1e-300) * 116, 0.8), abs=0.011)
        assert (top if score < 0 else top + tall) == pytest.approx(zero, abs=0.9)


def test_paired_bars_show_true_and_found_and_mark_what_differs():
    drawing = bars.paired_bars([2, 0, 1], [2, 1, 0], ["a", "b", "c"], "labels")
    heights = [tall for _, tall in rectangles(drawing)]
    assert heights[0] == heights[1] == 2 * heights[3]
    texts = [text.text for text in parse(drawing).iter("text")]
    assert "a" in texts
    assert "b \u2717" in texts
    assert "c \u2717" in texts


def test_lines_run_from_corner_to_corner():
    line = curves.Line("trunk", "s0", [(1, 0.0), (3, 1.0)])
    points = next(parse(curves.line_chart([line], [(2, "request")], "round", "x")).iter()).findall(".//{*}polyline")
    (first, last) = points[0].get("points").split()
    assert first == f"{curves.LEFT:.1f},{230 - curves.BOTTOM:.1f}"
    assert last == f"{svg.WIDTH - curves.RIGHT:.1f},{curves.TOP:.1f}"


def test_one_round_can_be_drawn():
    assert parse(curves.line_chart([curves.Line("trunk", "s0", [(1, 0.5)])], [], "round", "x")) is not None
    assert parse(curves.timeline([curves.Lane("trunk", [1], [], "s0")], [], "x")) is not None


def test_heat_map_shades_grow_with_the_values():
    drawing = charts.heat_map([[0, 5], [10, float("nan")]], ["r0", "r1"], ["a", "b"], "x")
    shades = [float(tile.get("style").partition(":")[2]) for tile in parse(drawing).iter("rect")]
    assert shades == pytest.approx([0.04, 0.52, 1.0, 0.04])
    assert len(rectangles(charts.heat_map(np.ones((50, 100)), ["r"] * 50, ["c"] * 100, "x"))) == 5000


def test_timeline_rings_the_observed_rounds():
    lanes = [curves.Lane("trunk", [1, 2, 3], {2}, "s0"), curves.Lane("retrain", list(range(1, 90)), {5}, "s1")]
    circles = list(parse(curves.timeline(lanes, [(3, "forget <class> 3")], "x")).iter("circle"))
    assert [circle.get("class") for circle in circles] == ["seen", "seen"]  # long runs show the observed rounds alone


def test_forest_places_estimates_between_the_ends():
    estimates = [
        charts.Estimate("a", 0.0, [0.0, 0.2], 0.1, "0%"),
        charts.Estimate("b", 1.0, [None, None], None, "100%"),
    ]
    drawing = parse(charts.forest(estimates, "x"))
    low, high = (float(circle.get("cx")) for circle in drawing.iter("circle"))
    assert low < high
    assert len([line for line in drawing.iter("line") if line.get("class") == "interval"]) == 1
    assert "1" in [text.text for text in parse(charts.forest(estimates, "x", percent=False)).iter("text")]


def test_histograms_draw_two_outlines():
    draws = np.random.default_rng(0)
    drawing = parse(bars.histograms(draws.normal(0, 1, 50), draws.normal(1, 1, 80), "x"))
    assert len(list(drawing.iter("polygon"))) == 2
    assert parse(bars.histograms(np.zeros(3), np.zeros(4), "x")) is not None


def test_text_is_escaped():
    drawing = str(bars.class_bars([1.0, 2.0], ["<b>", "&"], [], (0, 2), 'a "label"'))
    assert "<b>" not in drawing
    assert "&lt;b&gt;" in drawing
    parse(drawing)
