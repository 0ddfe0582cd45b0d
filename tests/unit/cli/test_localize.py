"""What `zoopraxis localize` hands on, what it prints and draws, and what it refuses; the engine is replaced by a recorder."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from zoopraxis.cli import main
from zoopraxis.data.encoding import write_video
from zoopraxis.errors import CheckpointError
from zoopraxis.evaluation.detections import Detections
from zoopraxis.training.options import TestOptions

SEGMENTS = [(1.0, 3.0), (1.0, 3.0), (0.5, 0.75), (2.0, 4.0)]
SCORES = [0.9, 0.5, 0.25, 0.125]


def make_detections(*, is_labelled: bool = True) -> Detections:
    labels = {"verb": np.array([1, 0, 0, 2]), "noun": np.array([0, 0, 1, 1])} if is_labelled else {}
    names = {"class_names": {"verb": ["wash", "cut"], "noun": ["pan", "tap"]}} if is_labelled else {}
    return Detections(np.array(["a"]), np.zeros(4, np.int64), np.array(SEGMENTS), np.array(SCORES), labels, names)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "kitchen.mp4"
    write_video(path, np.zeros((48, 32, 32, 3), np.uint8), fps=12)
    return path


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The calls of `localize_video`, and what it is to find."""
    recorded = SimpleNamespace(calls=[], found=make_detections(), error=None)

    def localize_video(checkpoint: str, video: Path, **rest: Any) -> Detections:
        recorded.calls.append({"checkpoint": checkpoint, "video": video, **rest})
        if recorded.error is not None:
            raise recorded.error
        found: Detections = recorded.found
        return found

    module = SimpleNamespace(localize_video=localize_video)
    monkeypatch.setitem(sys.modules, "zoopraxis.training.localization.inference", module)
    return recorded


def test_segments_are_told_with_their_best_class(
    video: Path, engine: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ["--set", "proposals.per_second=2", "--set", "classes.power=0"]
    assert main(["localize", "bmn.ckpt", str(video), "--backbone", "tsm.ckpt", *settings]) == 0
    (call,) = engine.calls
    assert (call["checkpoint"], call["video"], call["backbone"]) == ("bmn.ckpt", video, "tsm.ckpt")
    assert call["options"] == TestOptions(settings=["proposals.per_second=2", "classes.power=0"])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["kitchen.mp4,", "4.0", "s:", "3", "of", "4", "detections"] in lines
    assert ["start", "stop", "score", "verb", "noun"] in lines
    assert [line for line in lines if line and line[0][0].isdigit()] == [
        ["1.00", "3.00", "0.9000", "cut", "pan"],
        ["0.50", "0.75", "0.2500", "wash", "tap"],
        ["2.00", "4.00", "0.1250", "2", "tap"],
    ]


def test_segments_are_json_for_programs(video: Path, engine: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["localize", "bmn.ckpt", str(video), "--json", "--top", "1", "--classes", "2"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "video": str(video),
        "duration": 4.0,
        "num_detections": 4,
        "segments": [
            {
                "start": 1.0,
                "stop": 3.0,
                "score": score,
                "classes": {"verb": {"class": number, "name": name}, "noun": {"class": 0, "name": "pan"}},
            }
            for score, number, name in ((0.9, 1, "cut"), (0.5, 0, "wash"))
        ],
        "timeline": None,
    }


def test_low_scores_are_left_out(video: Path, engine: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["localize", "bmn.ckpt", str(video), "--json", "--min-score", "0.25"]) == 0
    assert [row["score"] for row in json.loads(capsys.readouterr().out)["segments"]] == [0.9, 0.25]


@pytest.mark.parametrize("is_labelled", [True, False])
def test_the_timeline_is_drawn(
    is_labelled: bool, video: Path, tmp_path: Path, engine: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    engine.found = make_detections(is_labelled=is_labelled)
    out = tmp_path / "new" / "timeline.svg"
    assert main(["localize", "bmn.ckpt", str(video), "--out", str(out)]) == 0
    assert f"timeline: {out}" in capsys.readouterr().out
    text = out.read_text()
    assert ">kitchen.mp4</text>" in text
    assert (">cut pan</text>" in text) == is_labelled


def test_a_video_without_segments_is_no_error(
    video: Path, tmp_path: Path, engine: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    engine.found = engine.found.take(np.arange(0))
    assert main(["localize", "bmn.ckpt", str(video), "--out", str(tmp_path / "timeline.png")]) == 0
    assert "0 of 0 detections" in capsys.readouterr().out
    assert (tmp_path / "timeline.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["{folder}/none.mp4"], "there is no video {folder}/none.mp4; name a video file"),
        (["{folder}"], "there is no video {folder}; name a video file"),
        (["{folder}/broken.mp4"], "{folder}/broken.mp4"),
        (["{video}", "--out", "a.jpg"], "a.jpg: the suffix of a timeline must be .png or .svg; try a.png"),
        (["{video}", "--out", "{folder}/there.png"], "{folder}/there.png exists already; choose another name, or add --force"),
        (["{video}", "--top", "0"], "Invalid value for '--top'"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_loaded(
    arguments: list[str], line: str, video: Path, engine: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    (video.parent / "broken.mp4").write_bytes(b"not a video" * 100)
    (video.parent / "there.png").touch()
    places = {"folder": video.parent, "video": video}
    assert main(["localize", "bmn.ckpt", *(text.format(**places) for text in arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"zoopraxis: error: {line.format(**places)}")
    assert err.count("\n") == 1
    assert engine.calls == []


def test_what_the_engine_refuses_is_one_line(
    video: Path, tmp_path: Path, engine: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.error = CheckpointError("bmn.ckpt names no backbone;\n give one with --backbone")
    assert main(["localize", "bmn.ckpt", str(video)]) == 2
    assert capsys.readouterr().err == "zoopraxis: error: bmn.ckpt names no backbone; give one with --backbone\n"


def test_without_matplotlib_a_picture_is_refused_first(
    video: Path,
    tmp_path: Path,
    engine: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in [name for name in sys.modules if name.startswith("matplotlib")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["localize", "bmn.ckpt", str(video), "--out", str(tmp_path / "timeline.png")]) == 2
    assert "pip install 'zoopraxis[report]'" in capsys.readouterr().err
    assert engine.calls == []
