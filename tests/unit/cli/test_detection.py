"""`evaluate` and `submit` of detections, from files to what is shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoopraxis.cli import main
from zoopraxis.cli.detection import averages_by_length, parse_thresholds
from zoopraxis.errors import ConfigError
from zoopraxis.evaluation.detection_lengths import LengthMap

HEADER = "narration_id,participant_id,video_id,start_timestamp,stop_timestamp,start_frame,stop_frame,verb_class,noun_class\n"
ROWS = "P01_11_0,P01,P01_11,00:00:00.00,00:00:10.00,0,600,1,2\nP01_11_1,P01,P01_11,00:00:20.00,00:00:30.00,1200,1800,0,2\n"
VIDEO_INFO = "video_id,duration,fps,resolution\nP01_11,60.0,60,1920x1080\n"
RIGHT: dict[str, Any] = {"verb": 1, "noun": 2, "action": "1,2", "score": 0.9, "segment": [0.0, 10.0]}
WRONG: dict[str, Any] = {"verb": 0, "noun": 2, "action": "0,2", "score": 0.5, "segment": [40.0, 50.0]}


@pytest.fixture
def annotations(tmp_path: Path) -> Path:
    (tmp_path / "EPIC_100_video_info.csv").write_text(VIDEO_INFO)
    path = tmp_path / "EPIC_100_validation.csv"
    path.write_text(HEADER + ROWS)
    return path


def write_found(path: Path, *entries: dict[str, Any], video: str = "P01_11") -> Path:
    path.write_text(json.dumps({"results": {video: list(entries)}}))
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    told = capsys.readouterr()
    return code, told.out, told.err


def test_evaluate_tells_map_lengths_and_errors(annotations: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = write_found(tmp_path / "found.json", RIGHT, WRONG)
    code, out, err = run(capsys, "evaluate", found, annotations, "--challenge", "detection", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert told["metrics"]["action_map_avg"] == pytest.approx(50)
    assert told["metrics"]["noun_map_at_05"] == pytest.approx(50)
    assert told["errors"]["action"]["counts"]["background"] == 1
    assert told["errors"]["action"]["counts"]["missed"] == 1
    assert told["classes"]["action"] == {"0,2": 0.0, "1,2": 100.0}
    assert sum(row["num_segments"] for row in told["lengths"]) == 2
    code, out, _ = run(capsys, "evaluate", found, annotations, "--challenge", "detection", "--tiou", "0.5")
    assert code == 0
    assert "tIoU 0.5" in out
    assert "missed" in out


def test_proposals_are_judged_by_recall(annotations: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = write_found(tmp_path / "found.json", {"score": 0.9, "segment": [0.0, 10.0]})
    code, out, err = run(capsys, "evaluate", found, annotations, "--challenge", "detection", "--json")
    assert code == 0, err
    assert json.loads(out)["metrics"]["ar_at_100"] == pytest.approx(50)


def test_proposals_have_a_report(annotations: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    found = write_found(tmp_path / "found.json", {"score": 0.9, "segment": [0.0, 10.0]})
    page = tmp_path / "r.html"
    code, out, err = run(capsys, "evaluate", found, annotations, "--challenge", "detection", "--report", page)
    assert code == 0, err
    assert f"report: {page}" in out
    assert "Recall without classes" in page.read_text()
    assert "Mean average precision" not in page.read_text()


def test_broken_segments_are_refused_or_left_out(annotations: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    annotations.write_text(annotations.read_text() + "P01_11_2,P01,P01_11,00:00:40.00,00:00:35.00,0,600,1,2\n")
    arguments = ("evaluate", write_found(tmp_path / "found.json", RIGHT), annotations, "--challenge", "detection")
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert "1 of 3 segments of" in err
    assert "are reversed: they stop before they start (first: P01_11_2, 40 to 35 s" in err
    assert "--broken-segments drop" in err
    code, out, err = run(capsys, *arguments, "--broken-segments", "drop")
    assert code == 0, err
    assert "warning: 1 of 3 segments of" in out
    assert "1 detections of 2 segments" in out


def test_ranges_without_segments_have_a_dash() -> None:
    maps = {"verb": np.array([[0.25, 0.75], [np.nan, np.nan]])}
    lengths = LengthMap(np.array([1.0]), ("below 1 s", "from 1 s"), np.array([3, 0]), maps)
    assert averages_by_length(lengths) == [("below 1 s", 3, {"verb": 50.0}), ("from 1 s", 0, {"verb": None})]


@pytest.mark.parametrize(
    ("entry", "video", "message"),
    [
        (RIGHT, "P09_01", "1 of 1 videos of the detections are not in the annotations, first P09_01"),
        ({**RIGHT, "verb": 97, "action": "97,2"}, "P01_11", "1 detections have a verb class out of range, first 97 of P01_11"),
        ({**RIGHT, "score": float("nan")}, "P01_11", "have NaN or infinite scores, first of video P01_11"),
        ({**RIGHT, "segment": [3.0, 1.0]}, "P01_11", "do not stop after their start"),
        ({**RIGHT, "segment": [300.0, 400.0]}, "P01_11", "lie outside their video, first 300.00 to 400.00 s of P01_11"),
    ],
)
def test_bad_detections_are_one_line(
    annotations: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], entry: dict[str, Any], video: str, message: str
) -> None:
    found = write_found(tmp_path / "found.json", entry, video=video)
    code, _, err = run(capsys, "evaluate", found, annotations, "--challenge", "detection")
    assert code == 2
    assert message in err
    assert err.count("\n") == 1


def test_options_of_other_challenges_are_refused(annotations: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = write_found(tmp_path / "found.json", RIGHT)
    code, _, err = run(capsys, "evaluate", found, annotations, "--challenge", "detection", "--global-softmax")
    assert (code, "--global-softmax is of results of clips: evaluate those, or leave it out" in err) == (2, True)
    code, _, err = run(capsys, "evaluate", found, annotations, "--tiou", "0.5")
    assert (code, "--tiou is of detections; add --challenge detection, or leave it out" in err) == (2, True)
    code, _, err = run(capsys, "submit", found, tmp_path / "out.zip", "--challenge", "detection", "--actions", "product")
    assert (code, "--actions is of the recognition challenge" in err) == (2, True)


def test_submit_checks_the_split_s_videos(annotations: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = write_found(tmp_path / "found.json", RIGHT)
    out_file = tmp_path / "out.zip"
    arguments = ("submit", found, out_file, "--challenge", "detection", "--annotations", annotations, "--json")
    code, out, err = run(capsys, *arguments)
    assert code == 0, err
    told = json.loads(out)
    assert (told["num_detections"], told["sls_pt"], told["sls_tl"], told["sls_td"], told["ids_checked"]) == (1, 2, 3, 3, True)
    write_found(found, RIGHT, video="P09_01")
    code, _, err = run(capsys, *arguments, "--force")
    assert code == 2
    assert "1 videos of the split are not in the detections, first P01_11" in err


def test_overlaps_are_a_range_or_numbers() -> None:
    assert parse_thresholds("0.1:0.5:0.1") == pytest.approx((0.1, 0.2, 0.3, 0.4, 0.5))
    assert parse_thresholds("0.5,0.75") == (0.5, 0.75)
    for text, message in {
        "0.1:0.5": r"must be FIRST:LAST:STEP, ascending up to 1; try 0\.1:0\.5:0\.1",
        "a": r"must be FIRST:LAST:STEP or numbers with commas",
        "0,0.5": r"must be overlaps above 0, at most 1",
        "0.1:nan:0.1": r"must be FIRST:LAST:STEP, ascending up to 1",
        "1e-9:1:1e-9": r"asks for more than 1000 overlaps; take a larger STEP",
    }.items():
        with pytest.raises(ConfigError, match=message):
            parse_thresholds(text)
