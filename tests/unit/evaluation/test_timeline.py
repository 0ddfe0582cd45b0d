"""The picture of one video's segments: rows, levels, and letters only where they fit."""

from __future__ import annotations

import re
import sys
from xml.etree import ElementTree

import numpy as np
import pytest

from zoopraxis.errors import MissingExtraError
from zoopraxis.evaluation.timeline import Lane, check_drawable, class_colors, clock, draw_timeline, row_seconds

EVIL = "<script>$x$</script>"


def make_lane(segments: list[tuple[float, float]], texts: list[str] | None = None) -> Lane:
    texts = texts or ["cut"] * len(segments)
    return Lane("found", np.array(segments, dtype=np.float64).reshape(-1, 2), texts, ["#3b82f6"] * len(segments))


def letters(picture: bytes) -> list[str]:
    """The texts of an SVG, from top to bottom as they were drawn."""
    root = ElementTree.fromstring(picture)
    return ["".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")]


def bars(picture: bytes, color: str = "#3b82f6") -> int:
    return len(re.findall(rf"<path [^>]*fill: {color}", picture.decode()))


@pytest.mark.parametrize(("seconds", "text"), [(0.0, "0:00"), (59.9, "0:59"), (61.0, "1:01"), (3723.5, "1:02:03")])
def test_clock_has_hours_only_where_there_are_some(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_a_short_video_is_one_row_and_a_long_one_a_few() -> None:
    few = make_lane([(float(begin), begin + 2.0) for begin in range(0, 30, 5)])
    assert row_seconds(30.0, [few]) == 30.0
    assert row_seconds(200.0, [few]) == 60.0
    assert row_seconds(3600.0, [few]) == 600.0
    assert row_seconds(12.5, []) == 12.5
    assert row_seconds(200_000.0, [few]) == 28_800.0


def test_classes_have_colors_of_their_own_in_order_of_appearance() -> None:
    colors = class_colors(["b", "a", "b", "c"])
    assert list(colors) == ["b", "a", "c"]
    assert len(set(colors.values())) == 3


def test_each_row_has_its_clock_and_each_segment_its_bar() -> None:
    pytest.importorskip("matplotlib")
    lane = make_lane([(0, 2), (1, 3), (59, 61), (100, 102)])
    picture = draw_timeline([lane], duration=130.0, kind="svg")
    assert [text.split()[0] for text in letters(picture) if "found" in text] == ["0:00", "1:00", "2:00"]
    assert bars(picture) == 5  # the third one is cut in two


def test_segments_outside_the_part_are_left_out() -> None:
    pytest.importorskip("matplotlib")
    picture = draw_timeline([make_lane([(0, 9), (10, 20), (19, 30), (40, 41)])], start=12.0, duration=10.0, kind="svg")
    assert bars(picture) == 2
    assert "0:12  found" in letters(picture)


def test_names_stand_in_bars_that_hold_them() -> None:
    pytest.importorskip("matplotlib")
    lane = make_lane([(0, 8), (8, 10), (10, 10.1)], [EVIL, "take the knife", "cut"])
    picture = draw_timeline([lane], duration=10.0, title=EVIL, legend={"right": "#1a8754"}, kind="svg")
    texts = letters(picture)
    assert texts.count(EVIL) == 2
    assert "take the knife" in texts
    assert "cut" not in texts
    assert "right" in texts
    assert b"<script" not in picture


def test_the_same_segments_give_the_same_bytes() -> None:
    pytest.importorskip("matplotlib")
    lane = Lane("", np.array([[0.0, 1.0], [0.5, 2.0]]), ["a", "b"], ["#3b82f6", "#c8453b"], np.array([1.0, 0.1]))
    for kind, head in (("png", b"\x89PNG"), ("svg", b"<?xml")):
        picture = draw_timeline([lane], duration=3.0, kind=kind)
        assert picture.startswith(head)
        assert picture == draw_timeline([lane], duration=3.0, kind=kind)


def test_a_video_without_segments_is_drawn_empty() -> None:
    pytest.importorskip("matplotlib")
    assert bars(draw_timeline([make_lane([])], duration=3.0, kind="svg")) == 0


def test_no_lane_and_no_length_are_refused() -> None:
    with pytest.raises(ValueError, match=r"a timeline needs at least one lane and a length above 0, not 0 and 3\.0 seconds"):
        draw_timeline([], duration=3.0)
    with pytest.raises(ValueError, match=r"not 1 and 0\.0 seconds"):
        draw_timeline([make_lane([(0, 1)])], duration=0.0)


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("matplotlib")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'zoopraxis\[report\]'"):
        check_drawable()
    with pytest.raises(MissingExtraError, match=r"pip install 'zoopraxis\[report\]'"):
        draw_timeline([make_lane([(0, 1)])], duration=1.0)
