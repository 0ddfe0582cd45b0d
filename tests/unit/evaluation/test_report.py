"""The report: whole, self-contained, and safe with any text."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoopraxis.errors import DataError, MissingExtraError
from zoopraxis.evaluation.metrics import classification_metrics
from zoopraxis.evaluation.report import write_report
from zoopraxis.evaluation.report_clips import confident_wrong_clips, judge, worst_clips
from zoopraxis.evaluation.results import Results

LABELS = {"verb": np.array([0, 1, 2, 0, 1, 2]), "noun": np.array([0, 0, 0, 1, 1, 1])}
EVIL = "<script>alert('x')</script>"


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def make_results() -> Results:
    verb = np.array([[9, 0, 0], [0, 9, 0], [8, 0, 0], [1, 0, 0], [0, 0, 1], [0, 0, 2]], dtype=np.float32)
    noun = np.array([[2, 0], [2, 0], [2, 0], [0, 2], [0, 2], [0, 2]], dtype=np.float32)
    return Results(np.array(["a", "b", f"c{EVIL}", "d", "e", "f"]), {"verb": verb, "noun": noun})


def report(folder: Path, **options: Any) -> str:
    pytest.importorskip("matplotlib")
    results = make_results()
    write_report(folder / "r.html", results, LABELS, classification_metrics(results, LABELS), **options)
    return (folder / "r.html").read_text()


def test_page_is_well_formed_self_contained_and_without_scripts(tmp_path: Path) -> None:
    text = report(tmp_path, title=EVIL, facts={EVIL: EVIL}, class_names={"verb": [EVIL, "b", "c"], "noun": ["x", "y"]})
    page = _Page(text)
    assert page.open == []
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert page.sources
    assert all(source.startswith("data:image/") for source in page.sources)
    assert "&lt;script&gt;" in text
    assert not re.search(r"https?://|url\(", text)


def test_page_tells_metrics_confusions_and_wrong_clips(tmp_path: Path) -> None:
    text = report(tmp_path, class_names={"verb": ["open", "close", "stir"], "noun": ["tap", "pan"]})
    for expected in (
        "verb accuracy at 1",
        "66.67",
        "verb class mean accuracy",
        "Most frequent confusions",
        "Reliability",
        "stir",
    ):
        assert expected in text
    assert text.count("data:image/png") == 5  # two heads: a matrix and a scatter plot each; one reliability diagram
    assert 'instead of <span class="good">stir</span>' in text


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    assert report(tmp_path) == report(tmp_path)


def test_frames_are_shown_where_they_can_be_read(tmp_path: Path) -> None:
    asked = []

    def read_strip(clip_id: str) -> np.ndarray | None:
        asked.append(clip_id)
        if clip_id == "e":
            raise DataError("video <e> is truncated")
        return np.zeros((12, 300, 40, 3), dtype=np.uint8)

    text = report(tmp_path, read_strip=read_strip)
    assert asked == [f"c{EVIL}", "e"]
    assert text.count("data:image/jpeg") == 8
    assert "video &lt;e&gt; is truncated" in text


def test_clips_without_frames_say_so(tmp_path: Path) -> None:
    assert "no frames" in report(tmp_path, read_strip=lambda clip_id: None)


def test_training_counts_are_used_and_checked(tmp_path: Path) -> None:
    counts = {"verb": np.array([50, 20, 3]), "noun": np.array([10, 0])}
    assert "training clips" in report(tmp_path, training_counts=counts)
    with pytest.raises(DataError, match=r"head 'verb' has 3 classes but training counts of shape \(2,\)"):
        report(tmp_path, training_counts={"verb": np.array([1, 2])})


def test_too_few_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="head 'verb' has 3 classes but only 1 class names"):
        report(tmp_path, class_names={"verb": ["open"]})


def test_wrong_clips_are_the_surest_and_the_most_wrong() -> None:
    judgement = judge(make_results(), LABELS, ["verb", "noun"])
    assert judgement.is_right.tolist() == [True, True, False, True, False, True]
    confident = confident_wrong_clips(judgement, 1)
    assert confident.tolist() == [2]
    assert worst_clips(judgement, 5, without=confident).tolist() == [4]


def test_a_faultless_model_has_no_wrong_clips(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    results = Results(np.array(["a", "b"]), {"label": np.eye(2, dtype=np.float32)})
    labels = {"label": np.array([0, 1])}
    write_report(tmp_path / "r.html", results, labels, classification_metrics(results, labels))
    assert "None: every clip is right." in (tmp_path / "r.html").read_text()


def test_without_matplotlib_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("matplotlib")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    results = make_results()
    with pytest.raises(MissingExtraError, match=r"pip install 'zoopraxis\[report\]'"):
        write_report(tmp_path / "r.html", results, LABELS, classification_metrics(results, LABELS))


def test_no_global_state_of_matplotlib_is_touched(tmp_path: Path) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    before = dict(matplotlib.rcParams)
    report(tmp_path)
    assert dict(matplotlib.rcParams) == before
