"""`zoopraxis prepare features`: from videos and published files to feature stores."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoopraxis.cli import main
from zoopraxis.data.encoding import write_video
from zoopraxis.data.features import open_features
from zoopraxis.data.index import ClipIndex
from zoopraxis.models import Preprocessing, create_model, save_model
from zoopraxis.pickles import save_pickle

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """A function that runs a command with --json and gives its line, or with `fails` its error's line."""

    def call(*arguments: object, fails: bool = False) -> dict[str, Any]:
        status = main(["prepare", "features", *map(str, arguments), "--json"])
        out, err = capsys.readouterr()
        assert status == (2 if fails else 0), err
        if fails:
            assert err.count("\n") == 1, err
            return {"error": err.strip()}
        line: dict[str, Any] = json.loads(out)
        return line

    return call


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of videos by class: two of each, one of them broken."""
    root = tmp_path_factory.mktemp("videos")
    for number, name in enumerate(("run/a", "run/b", "walk/a", "walk/b")):
        path = root / f"{name}.mp4"
        path.parent.mkdir(exist_ok=True)
        frames = np.random.default_rng(number).integers(0, 256, (8, 48, 40, 3), dtype=np.uint8)
        write_video(path, frames, fps=8)
    broken = root / "walk" / "b.mp4"
    broken.write_bytes(broken.read_bytes()[:100])
    return root


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    preprocessing = Preprocessing(size=32, resize=32, num_segments=2)
    model = create_model("tsn", heads={"label": 2}, backbone="test_resnet", num_segments=2, preprocessing=preprocessing)
    return save_model(model, tmp_path_factory.mktemp("model") / "tsn.safetensors")


def test_from_videos_to_a_store_of_two_modalities(videos: Path, checkpoint: Path, tmp_path: Path, run: Run) -> None:
    options = ("--store", "video", "--num-segments", 5, "--accelerator", "cpu")
    made = run("extract", checkpoint, videos, videos, tmp_path / "frames", *options)
    assert (made["done"], made["skipped"]) == (3, 0)
    assert [(one["item"], one["row"]) for one in made["broken"]] == [("walk/b", 3)]
    store = open_features(tmp_path / "frames")
    assert (store.num_features.tolist(), list(store.modalities)) == ([5, 5, 5], ["rgb"])
    again = run("extract", checkpoint, videos, videos, tmp_path / "frames", *options)
    assert (again["done"], again["skipped"], len(again["broken"])) == (0, 3, 1)

    quarantine = tmp_path / "quarantine.txt"
    quarantine.write_text("walk/b\n")
    more = ("--per", "clip", "--modality", "views", "--dtype", "float16", "--quarantine", quarantine)
    made = run("extract", checkpoint, videos, videos, tmp_path / "views", *options, *more)
    assert (made["done"], made["broken"]) == (3, [])
    assert run("join", tmp_path / "both", tmp_path / "frames", tmp_path / "views")["done"] == 3
    joined, width = open_features(tmp_path / "both"), store.modalities["rgb"]
    assert dict(joined.modalities) == {"rgb": width, "views": width}
    assert joined.read(np.arange(3), np.zeros((3, 2), np.int64)).shape == (3, 2, 2 * width)


def test_windows_along_videos(videos: Path, checkpoint: Path, tmp_path: Path, run: Run) -> None:
    options = ("--per", "window", "--window", 0.5, "--stride", 0.25, "--accelerator", "cpu")
    made = run("extract", checkpoint, videos, videos, tmp_path / "all", *options, "--views", 3, "--scores")
    assert (made["done"], [one["item"] for one in made["broken"]]) == (3, ["walk/b"])
    store = open_features(tmp_path / "all")
    assert store.clip_ids.tolist() == ["run/a", "run/b", "walk/a"]
    assert store.modalities["score:label"] == 3 * 2
    assert (store.num_features == 4).all()
    np.testing.assert_allclose(store.seconds(0), [0.125, 0.375, 0.625, 0.875])
    again = run("extract", checkpoint, videos, videos, tmp_path / "all", *options, "--views", 3, "--scores")
    assert (again["done"], again["skipped"]) == (0, 3)
    assert json.loads((tmp_path / "all" / "features.json").read_text())["meta"]["source"] == str(checkpoint.resolve())

    made = run("extract", checkpoint, videos / "run" / "b.mp4", videos, tmp_path / "one", *options)
    assert (made["done"], made["broken"]) == (1, [])
    one = open_features(tmp_path / "one")
    assert one.clip_ids.tolist() == ["b"]
    width = one.modalities["rgb"]
    expected = store.read(store.rows_of(["run/b"]), np.arange(4)[None], ["rgb"])[0, :, width : 2 * width]
    np.testing.assert_allclose(one.read(np.array([0]), np.arange(4)[None])[0], expected, rtol=1e-4, atol=1e-5)  # middle crop

    index = tmp_path / "index.parquet"
    segments = {"start_seconds": [0.0, 0.5, 0.0], "stop_seconds": [0.5, 1.0, 1.0]}
    ids = {"clip_id": ["x", "y", "z"], "source": ["run/a.mp4", "run/a.mp4", "walk/a.mp4"]}
    ClipIndex.from_columns(**ids, **segments, labels={}, class_names={}).save(index)
    assert run("extract", checkpoint, index, videos, tmp_path / "index", *options)["done"] == 2
    assert open_features(tmp_path / "index").clip_ids.tolist() == ["run/a", "walk/a"]


def test_from_a_published_pickle(tmp_path: Path, run: Run) -> None:
    features = {"RGB": np.ones((2, 25, 4), np.float32), "Flow": np.zeros((2, 25, 3), np.float32)}
    save_pickle(tmp_path / "train.pkl", {"features": features, "narration_ids": ["P01_01_0", "P01_01_1"]})
    assert run("convert", tmp_path / "train.pkl", tmp_path / "out")["done"] == 2
    assert dict(open_features(tmp_path / "out").modalities) == {"RGB": 4, "Flow": 3}
    assert run("convert", tmp_path / "train.pkl", tmp_path / "out")["skipped"] == 2


def test_wrong_input_is_told_in_one_line(videos: Path, checkpoint: Path, tmp_path: Path, run: Run) -> None:
    options = ("--store", "video", "--num-segments", 5, "--accelerator", "cpu")
    failed = run("extract", "timm:resnet5000", videos, videos, tmp_path / "out", *options, fails=True)
    assert "unknown backbone 'resnet5000'" in failed["error"]
    failed = run("extract", tmp_path / "absent.ckpt", videos, videos, tmp_path / "out", *options, fails=True)
    assert "there is no checkpoint" in failed["error"]
    failed = run("extract", checkpoint, videos, tmp_path / "absent", tmp_path / "out", *options, fails=True)
    assert "is no folder" in failed["error"]
    failed = run("extract", checkpoint, videos, videos, tmp_path / "out", *options, "--per", "view", fails=True)
    assert "'view'" in failed["error"]
    of_windows = ("--accelerator", "cpu", "--per", "window")
    for more, told in (
        ((*of_windows, "--window", 1), "tell how many seconds lie between windows: --stride SECONDS"),
        ((*of_windows, "--stride", 1), "tell how many seconds a window has (--window)"),
        ((*of_windows, "--stride", 0), "the stride of windows (0.0 s) must be positive"),
        ((*of_windows, "--stride", 1, "--views", 2), "num_crops is 2, but it must be 1, 3, 5 or 10"),
        ((*of_windows, "--stride", 1, "--num-segments", 2), "--num-segments is for features of clips; leave it out"),
        ((*options, "--window", 1), "window is for windows along long videos; leave it out, or add --per window"),
        ((*options, "--scores"), "scores is for windows along long videos"),
        ((*options, "--format", "hacs"), "unknown annotation format 'hacs'"),
    ):
        assert told in run("extract", checkpoint, videos, videos, tmp_path / "out", *more, fails=True)["error"]
    only_broken = tmp_path / "quarantine.txt"
    only_broken.write_text("run/a\nrun/b\nwalk/a\n")
    failed = run("extract", checkpoint, videos, videos, tmp_path / "none", *options, "--quarantine", only_broken, fails=True)
    assert "none of 1 clips can be read; the first: " in failed["error"]
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    failed = run("extract", checkpoint, videos, videos, tmp_path / "full", *options, fails=True)
    assert "full" in failed["error"]
    assert (tmp_path / "full" / "notes.txt").read_text() == "mine"
    assert "holds no published features: neither pickles" in run("convert", videos, tmp_path / "out", fails=True)["error"]
