"""`zoopraxis prepare`: each command from its files to its files, and kill -9 in the middle of them."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoopraxis.cli import main
from zoopraxis.data.annotations import read_annotations
from zoopraxis.data.encoding import write_video
from zoopraxis.data.index import ClipIndex
from zoopraxis.data.stores import open_store
from zoopraxis.data.stores.gulp import GulpStore

FPS, NUM_FRAMES, NUM_CLIPS = 10, 40, 6
VIDEOS = ("P01_01", "P01_101")

Run = Callable[..., dict[str, Any]]


def make_kitchen(root: Path) -> None:
    """Two videos and their annotations, as EPIC-KITCHENS has them."""
    y, x = np.mgrid[0:32, 0:48]
    columns = "narration_id,participant_id,video_id,start_timestamp,stop_timestamp,start_frame,stop_frame,verb_class,noun_class"
    rows = []
    for number, video in enumerate(VIDEOS):
        frames = [
            np.stack([128 + 90 * np.sin((x - 2 * t) / (4 + c + number) + y / 9) for c in range(3)], axis=2).astype(np.uint8)
            for t in range(NUM_FRAMES)
        ]
        write_video(root / "videos" / "P01" / "videos" / f"{video}.MP4", frames, fps=FPS, gop=8)
        for clip in range(NUM_CLIPS):
            start = 6 * clip
            times = [f"00:00:{frame / FPS:05.2f}" for frame in (start, start + 8)]
            rows.append([f"{video}_{clip}", "P01", video, *times, start + 1, start + 8, clip % 3, clip % 2])
    with (root / "EPIC_100_train.csv").open("w", newline="") as file:
        csv.writer(file).writerows([columns.split(","), *rows])


@pytest.fixture
def kitchen(tmp_path: Path) -> Path:
    make_kitchen(tmp_path)
    return tmp_path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """A function that runs a command with --json and gives its line, or with `fails` its error's line."""

    def call(*arguments: object, fails: bool = False) -> dict[str, Any]:
        status = main(["prepare", *map(str, arguments), "--json"])
        out, err = capsys.readouterr()
        assert status == (2 if fails else 0), err
        if fails:
            assert err.count("\n") == 1, err
            return {"error": err.strip()}
        assert out.count("\n") == 1
        line: dict[str, Any] = json.loads(out)
        return line

    return call


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_an_index_of_an_official_split(tmp_path: Path, run: Run) -> None:
    lists = tmp_path / "testTrainMulti_7030_splits"
    lists.mkdir()
    for number in (1, 2):
        for name in ("chew", "wave"):
            (lists / f"{name}_test_split{number}.txt").write_text(f"a{number}.avi 1 \nb.avi 2 \nc.avi 0 \n")
    made = run("index", lists, tmp_path / "train.parquet", "--split", "train", "--official-split", 2)
    assert (made["num_clips"], made["heads"]) == (2, {"label": 2})
    assert read_annotations(tmp_path / "train.parquet").clip_ids.tolist() == ["chew/a2", "wave/a2"]
    failed = run("index", lists, tmp_path / "no.parquet", "--format", "ucf101", fails=True)
    assert "classInd.txt, which numbers UCF101's classes" in failed["error"]


def test_the_way_from_videos_to_gulp_folders(kitchen: Path, run: Run) -> None:
    index = kitchen / "train.parquet"
    made = run("index", kitchen / "EPIC_100_train.csv", index, "--root", kitchen / "videos")
    assert (made["num_clips"], made["heads"]) == (12, {"verb": 97, "noun": 300})

    made = run("gulp", index, kitchen / "videos", kitchen / "rgb_train", "--resize", 16, "--num-workers", 1)
    assert (made["done"], made["skipped"], made["broken"]) == (12, 0, [])
    again = read_annotations(kitchen / "rgb_train")
    assert again.table.to_pylist() == ClipIndex.load(index).table.to_pylist()
    frames_THWC = open_store("gulp", kitchen / "rgb_train").read(again[3], np.arange(8))
    assert frames_THWC.shape == (8, 16, 24, 3)

    assert run("gulp", index, kitchen / "videos", kitchen / "rgb_train", "--resize", 16)["skipped"] == 12


def test_flow_from_frames_from_videos(kitchen: Path, run: Run) -> None:
    pytest.importorskip("cv2", reason="the extra 'flow' (OpenCV) is not installed")
    made = run("frames", kitchen / "videos", kitchen / "frames", "--num-workers", 1)
    assert made["done"] == 2
    made = run("flow", kitchen / "frames", kitchen / "flow", "--store", "frames", "--num-workers", 1)
    assert made["done"] == 2
    counts = [len(list((kitchen / "flow" / "P01" / video / "u").iterdir())) for video in VIDEOS]
    assert counts == [NUM_FRAMES // 2, NUM_FRAMES - 1]

    annotations = kitchen / "EPIC_100_train.csv"
    options = ("--modality", "flow", "--store", "frames", "--num-workers", 1)
    made = run("gulp", annotations, kitchen / "flow", kitchen / "flow_train", *options)
    assert (made["done"], made["broken"]) == (12, [])
    index = read_annotations(kitchen / "flow_train", modality="flow")
    store = GulpStore(kitchen / "flow_train", "flow")
    assert [store.num_frames(index[row]) for row in range(len(index))] == [3] * 6 + [7] * 6
    files_made = ("--report", kitchen / "check.json", "--quarantine", kitchen / "quarantine.txt")
    made = run("check", kitchen / "flow_train", kitchen / "flow_train", "--modality", "flow", *files_made)
    assert made["num_broken"] == 0


def test_check_lists_what_training_leaves_out(kitchen: Path, run: Run) -> None:
    video = kitchen / "videos" / "P01" / "videos" / "P01_101.MP4"
    video.write_bytes(video.read_bytes()[:1000])
    report, quarantine = kitchen / "check.json", kitchen / "quarantine.txt"
    paths = (kitchen / "EPIC_100_train.csv", kitchen / "videos")

    made = run("check", *paths, "--store", "video", "--report", report, "--quarantine", quarantine)

    assert (made["num_clips"], made["num_broken"]) == (12, 6)
    broken = json.loads(report.read_text())["broken"]
    assert {row["file"] for row in broken} == {str(video)}
    assert quarantine.read_text().split() == [row["clip_id"] for row in broken] == [f"P01_101_{n}" for n in range(6)]
    made = run("gulp", *paths, kitchen / "gulp", "--quarantine", quarantine)
    assert (made["done"], made["broken"]) == (6, [])
    made = run("gulp", *paths, kitchen / "other", "--num-workers", 2, "--clips-per-chunk", 2)
    assert (made["done"], [one["item"] for one in made["broken"]]) == (6, [f"P01_101_{n}" for n in range(6)])


def test_a_toy_kitchen_goes_the_same_way(tmp_path: Path, run: Run) -> None:
    options = ("--num-participants", 6, "--videos-per-participant", 2, "--actions-per-video", 2, "--num-workers", 1)
    made = run("toy", tmp_path / "toy", "--seed", 3, "--resolution", "32x48", *options)

    made = run("index", Path(made["annotations"]) / "EPIC_100_train.csv", tmp_path / "train.parquet", "--root", made["videos"])

    assert made["num_clips"] == len(ClipIndex.load(tmp_path / "train.parquet"))


def test_wrong_rows_are_listed_and_nothing_is_written(kitchen: Path, capsys: pytest.CaptureFixture[str]) -> None:
    annotations = kitchen / "EPIC_100_train.csv"
    annotations.write_text(annotations.read_text().replace("00:00:00.60,00:00:01.40,7,14", "00:00:01.40,00:00:00.60,14,7"))

    status = main(["prepare", "index", str(annotations), str(kitchen / "out.parquet")])

    out, err = capsys.readouterr()
    assert status == 2
    assert "P01_01_1" in out
    assert "P01_101_1" in out
    assert "problems in the clip index: row 1 (P01_01_1): the segment is reversed" in err
    assert not (kitchen / "out.parquet").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gulp", "{}/absent.csv", "{}/videos", "{}/out"), "absent.csv do not exist; check the path"),
        (("gulp", "{}/EPIC_100_train.csv", "{}/absent", "{}/out"), "the video store {}/absent is no folder"),
        (("gulp", "{}/EPIC_100_train.csv", "{}/videos", "{}/videos"), "is not empty and was not begun by this command"),
        (
            ("gulp", "{}/EPIC_100_train.csv", "{}/videos", "{}/out", "--modality", "flow"),
            "make flow with: zoopraxis prepare flow",
        ),
        (("frames", "{}/absent", "{}/out"), "there is no video file"),
        (("flow", "{}/videos", "{}/out", "--stride", "two"), "--stride two: must be a positive number or epic; try --stride 1"),
        (("flow", "{}/videos", "{}/out", "--bound", "0"), "bound (0.0) must be positive"),
        (("toy", "{}/out", "--resolution", "64"), "--resolution 64: must be HEIGHTxWIDTH; try --resolution 64x80"),
        (("check", "{}/EPIC_100_train.csv", "{}/videos", "--store", "gulp"), "is no gulp folder"),
    ],
)
def test_bad_input_is_met_with_one_line(kitchen: Path, run: Run, arguments: tuple[str, ...], message: str) -> None:
    line = run(*(argument.format(kitchen) for argument in arguments), fails=True)["error"]

    assert message.format(kitchen) in line


def test_a_run_without_any_whole_video_fails(kitchen: Path, run: Run) -> None:
    for path in (kitchen / "videos").rglob("*.MP4"):
        path.write_bytes(b"garbage")

    line = run("frames", kitchen / "videos", kitchen / "frames", "--num-workers", 1, fails=True)["error"]

    assert "none of 2 videos can be read; the first: " in line


KILLER = """
import os, signal, sys
from zoopraxis.cli import main
from zoopraxis.data.prepare import {module}

original, calls = {module}.{name}, []

def die_at_last(*args, **options):
    calls.append(args)
    if len(calls) == {at}:
        os.kill(int(os.environ["VICTIM"]), signal.SIGKILL)
        signal.pause()
    return original(*args, **options)

{module}.{name} = die_at_last
if __name__ == "__main__":
    os.environ["VICTIM"] = str(os.getpid())
    sys.exit(main(sys.argv[1:]))
"""
"""The command line, of which a process kills the first one with SIGKILL when it comes to its n-th clip or image."""


def run_and_kill(script: Path, module: str, name: str, at: int, *arguments: object) -> None:
    """Run until the kill. Comes back when the workers, which hold standard output too, have gone."""
    script.write_text(KILLER.format(module=module, name=name, at=at))
    done = subprocess.run([sys.executable, str(script), "prepare", *map(str, arguments)], capture_output=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize("num_workers", [1, 2])
def test_gulp_after_kill_9_equals_the_unbroken_run(kitchen: Path, run: Run, num_workers: int) -> None:
    def command(out: str) -> tuple[object, ...]:
        paths = (kitchen / "EPIC_100_train.csv", kitchen / "videos", kitchen / out)
        return "gulp", *paths, "--clips-per-chunk", 3, "--num-workers", num_workers

    run(*command("whole"))
    at = 8 if num_workers == 1 else 4  # each process comes to the first clip of its next chunk, or further
    run_and_kill(kitchen / "killer.py", "gulp", "gulp_metadata", at, *command("out"))
    left = files(kitchen / "out")
    assert left != files(kitchen / "whole")
    assert any(name.startswith("meta_") for name in left)

    made = run(*command("out"))

    assert made["skipped"] >= 3
    assert made["done"] + made["skipped"] == 12
    assert files(kitchen / "out") == files(kitchen / "whole")


@pytest.mark.parametrize("kind", ["frames", "flow"])
def test_frames_and_flow_after_kill_9_equal_the_unbroken_run(kitchen: Path, run: Run, kind: str) -> None:
    pytest.importorskip("cv2", reason="the extra 'flow' (OpenCV) is not installed")
    run(kind, kitchen / "videos", kitchen / "whole", "--num-workers", 1)
    arguments = (kind, kitchen / "videos", kitchen / "out", "--num-workers", 1)
    run_and_kill(kitchen / "killer.py", kind, "write_jpeg", 50, *arguments)
    assert (kitchen / "out" / "P01" / "P01_01").is_dir()
    assert not (kitchen / "out" / "P01" / "P01_101").exists()

    made = run(*arguments)

    assert (made["done"], made["skipped"]) == (1, 1)
    assert files(kitchen / "out") == files(kitchen / "whole")
