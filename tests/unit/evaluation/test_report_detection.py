"""The report on detection: whole, self-contained, and safe with any text."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoopraxis.errors import DataError, MissingExtraError
from zoopraxis.evaluation.detection_errors import KINDS, detection_errors
from zoopraxis.evaluation.detection_map import EPIC_THRESHOLDS, DetectionMap, detection_map
from zoopraxis.evaluation.detections import Detections, Truth
from zoopraxis.evaluation.proposal_recall import proposal_recall
from zoopraxis.evaluation.report_detection import detection_sections, write_detection_report
from zoopraxis.evaluation.report_detection_figures import KIND_COLORS, KIND_NAMES

EVIL = "<script>alert('$x$')</script>"
NUM_VIDEOS, NUM_SEGMENTS = 3, 40


def make_truth(heads: tuple[str, ...]) -> Truth:
    generator = np.random.default_rng(0)
    starts = generator.uniform(0, 50, NUM_SEGMENTS)
    segments = np.stack([starts, starts + generator.uniform(0.5, 9, NUM_SEGMENTS)], axis=1)
    labels = {head: generator.integers(0, 4, NUM_SEGMENTS) for head in heads}
    names = {head: [EVIL, f"second {head}", "third"] for head in heads}
    videos = np.array([f"v{number}{EVIL}" for number in range(NUM_VIDEOS)])
    return Truth(videos, np.full(NUM_VIDEOS, 60.0), np.arange(NUM_SEGMENTS) % NUM_VIDEOS, segments, labels, names)


def make_detections(truth: Truth) -> Detections:
    """Each segment twice, the second time shifted and with any class; and one of a class that the truth has not."""
    generator = np.random.default_rng(1)
    rows = np.append(np.tile(np.arange(NUM_SEGMENTS), 2), 0)
    is_second = np.arange(len(rows)) >= NUM_SEGMENTS
    segments = truth.segments[rows] + (is_second * generator.uniform(0, 6, len(rows)))[:, None]
    labels = {
        head: np.where(is_second, generator.integers(0, 4, len(rows)), values[rows]) for head, values in truth.labels.items()
    }
    for values in labels.values():
        values[-1] = 9
    return Detections(truth.video_ids, truth.video[rows], segments, generator.random(len(rows)), labels)


def judged(*tasks: str) -> tuple[Truth, Detections, DetectionMap, dict[str, Any]]:
    truth = make_truth(("verb", "noun") if "action" in tasks else tasks)
    detections = make_detections(truth)
    judgement = detection_map(truth, detections, tasks, EPIC_THRESHOLDS)
    return truth, detections, judgement, {task: detection_errors(truth, detections, judgement, task) for task in tasks}


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


def test_page_is_well_formed_self_contained_and_without_scripts(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    truth, detections, judgement, errors = judged("verb", "noun", "action")
    recall = proposal_recall(truth, detections)
    path = tmp_path / "new" / "r.html"
    write_detection_report(
        path, truth, detections, judgement, errors, title=EVIL, facts={EVIL: EVIL}, warnings=[EVIL], recall=recall, num_videos=2
    )
    text = path.read_text()
    page = _Page(text)
    assert page.open == []
    assert not page.tags & {"script", "link"}
    assert len(page.sources) == 7  # mAP, precision, errors, lengths, recall, two videos
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    write_detection_report(
        path, truth, detections, judgement, errors, title=EVIL, facts={EVIL: EVIL}, warnings=[EVIL], recall=recall, num_videos=2
    )
    assert path.read_text() == text


def test_numbers_of_the_judgement_are_told() -> None:
    pytest.importorskip("matplotlib")
    truth, detections, judgement, errors = judged("verb", "noun", "action")
    text = "\n".join(detection_sections(truth, detections, judgement, errors))
    for task, one in judgement.tasks.items():
        assert f"<b>{100 * one.average:.2f}</b>" in text
        assert f"All {len(one.classes)} {task}s that the truth has" in text
        for kind in KINDS:
            assert f"{errors[task].gains[kind]:+.2f}" in text
    row = re.search(r"<td>wrong label</td>.*?</tr>", text)
    assert row is not None
    assert [f">{errors[task].counts['label']}<" in row[0] for task in judgement.tasks] == [True] * 3
    assert "<td>second verb 3</td>" in text  # an action by its verb's name and its noun's number
    assert "Recall without classes" not in text


def test_names_given_stand_before_those_of_the_truth() -> None:
    pytest.importorskip("matplotlib")
    text = "\n".join(detection_sections(*judged("label"), class_names={"label": ["a", "b", "c", "fourth"]}))
    assert "<td>fourth</td>" in text
    assert "second label" not in text


def test_without_errors_their_part_is_left_out() -> None:
    pytest.importorskip("matplotlib")
    truth, detections, judgement, _ = judged("label")
    text = "\n".join(detection_sections(truth, detections, judgement, {}, num_videos=1))
    assert "What costs how much" not in text
    assert text.count("<h3>") == 1


def test_proposals_without_classes_have_their_recall(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    truth, detections, _, _ = judged("label")
    proposals = Detections(detections.video_ids, detections.video, detections.segments, detections.scores)
    recall = proposal_recall(truth, proposals)
    judgement = detection_map(truth, proposals, [], EPIC_THRESHOLDS)
    write_detection_report(tmp_path / "r.html", truth, proposals, judgement, {}, recall=recall)
    text = (tmp_path / "r.html").read_text()
    assert f"<b>{recall.auc:.1f}%</b>" in text
    assert f"{recall.at(50):.2f}" in text
    assert "Mean average precision" not in text


def test_one_threshold_and_no_detections_make_a_page(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    truth, detections, _, _ = judged("label")
    none = detections.take(np.arange(0))
    judgement = detection_map(truth, none, ["label"], [0.7])
    errors = {"label": detection_errors(truth, none, judgement, "label")}
    write_detection_report(tmp_path / "r.html", truth, none, judgement, errors)
    assert "<b>0.0%</b>" in (tmp_path / "r.html").read_text()


def test_every_kind_has_a_name_and_a_color() -> None:
    assert {"right", *KINDS} <= KIND_NAMES.keys()
    assert KIND_NAMES.keys() == KIND_COLORS.keys()


def test_a_folder_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"cannot write .*file/r\.html: .*; free some space or choose another folder"):
        write_detection_report(tmp_path / "file" / "r.html", *judged("label"))


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("matplotlib")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'zoopraxis\[report\]'"):
        detection_sections(*judged("label"))
