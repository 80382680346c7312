"""The picture of a suite: every mark where its figures are, every name beside its mark."""

import copy
import itertools
import math
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fedunlearn.reporting.label_places import Box, Spot, places
from fedunlearn.reporting.stretched_axis import Axis
from fedunlearn.reporting.suite import suites
from fedunlearn.reporting.suite_picture import AREA, LARGEST, SMALLEST, picture, picture_file
from tests.reporting.synthetic_suite import SERVER_ONLY

CANVAS = Box(0, 0, 900, 500)
POINTS = st.tuples(st.floats(150, 750), st.floats(100, 400), st.floats(2, 12), st.floats(20, 110))


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
