"""`zoopraxis localize`: from a trained backbone and videos to one video's segments, and what a person may get wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tiny_bmn import published_tensors
from tiny_videos import SMALL_RUN
from zoopraxis.cli import main
from zoopraxis.data.encoding import write_video
from zoopraxis.models import Preprocessing, create_model, save_model

Run = Callable[..., tuple[int, str, str]]

SECONDS, FPS = 16, 8
ACTIONS = ((1.0, 4.0, "rise"), (6.0, 9.0, "fall"), (11.0, 15.0, "rise"))
CLASSES = ["fall", "rise"]


def _write_video(path: Path, seed: int) -> None:
    """Noise; brighter above in one action, below in the other."""
    frames = np.random.default_rng(seed).integers(0, 100, (SECONDS * FPS, 32, 32, 3), dtype=np.uint8)
    for start, stop, name in ACTIONS:
        half = slice(0, 16) if name == "rise" else slice(16, 32)
        frames[int(start * FPS) : int(stop * FPS), half] += 120
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, frames, fps=FPS)


def _write_backbone(path: Path) -> Path:
    preprocessing = Preprocessing(size=32, resize=32, num_segments=2)
    model = create_model("tsn", heads={"label": 2}, backbone="test_resnet", num_segments=2, preprocessing=preprocessing)
    return save_model(model, path)


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Videos, two backbones, and checkpoints of localization, one trained on the features of the first."""
    root = tmp_path_factory.mktemp("long")
    database = {}
    for number in range(3):
        _write_video(root / "videos" / f"v{number}.mp4", number)
        segments = [{"segment": [start, stop], "label": name} for start, stop, name in ACTIONS]
        subset = "validation" if number == 2 else "training"
        database[f"v{number}"] = {"duration": float(SECONDS), "subset": subset, "annotations": segments}
    (root / "segments.json").write_text(json.dumps({"database": database}))
    backbone, other = (_write_backbone(root / name) for name in ("tsn.safetensors", "other.safetensors"))
    extract = ["--per", "window", "--window", "1", "--stride", "0.5", "--scores", "--accelerator", "cpu"]
    arguments = [str(backbone), str(root / "videos"), str(root / "videos"), str(root / "features")]
    assert main(["prepare", "features", "extract", *arguments, *extract]) == 0
    settings = [
        f"data.root={root / 'features'}",
        f"data.annotations={root / 'segments.json'}",
        f"run.dir={root / 'run'}",
        *SMALL_RUN,
        "data.format=activitynet",
    ]
    assert main(["train", "--config-name", "bmn_epic", *settings]) == 0
    torch.save(published_tensors("tadaconv"), root / "published.pth")
    return SimpleNamespace(
        root=root,
        video=root / "videos" / "v2.mp4",
        backbone=backbone,
        other=other,
        checkpoint=root / "run" / "checkpoints" / "last.ckpt",
        published=root / "published.pth",
    )


def test_one_video_has_a_table_json_and_a_picture(kitchen: SimpleNamespace, tmp_path: Path, run: Run) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / "timeline.png"
    status, printed, err = run("localize", kitchen.checkpoint, kitchen.video, "--json", "--out", out, "--top", 5)
    assert status == 0, err
    found = json.loads(printed)
    assert found["duration"] == pytest.approx(SECONDS)
    assert 0 < len(found["segments"]) <= 5
    scores = [row["score"] for row in found["segments"]]
    assert scores == sorted(scores, reverse=True)
    for row in found["segments"]:
        assert 0 <= row["start"] < row["stop"] <= SECONDS + 0.5
        assert row["classes"]["label"]["name"] == CLASSES[row["classes"]["label"]["class"]]
    assert out.read_bytes().startswith(b"\x89PNG")
    status, printed, _ = run("localize", kitchen.checkpoint, kitchen.video, "--backbone", kitchen.backbone, "--top", 5)
    assert status == 0
    assert f"{found['segments'][0]['start']:.2f}" in printed
    assert kitchen.video.name in printed


def test_a_setting_of_the_proposals_may_be_another(kitchen: SimpleNamespace, run: Run) -> None:
    counts = []
    for setting in ("proposals.per_second=0", "proposals.per_second=1"):
        status, printed, err = run("localize", kitchen.checkpoint, kitchen.video, "--json", "--set", setting)
        assert status == 0, err
        counts.append(json.loads(printed)["num_detections"])
    assert counts[0] < counts[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{backbone}", "{video}"], "tsn.safetensors holds no network that finds actions in long videos"),
        (["{root}/none.ckpt", "{video}"], "none.ckpt"),
        (["{published}", "{video}"], "the checkpoint does not tell the one network that its features are of"),
        (["{checkpoint}", "{root}/cut.mp4"], "cut.mp4"),
        (["{checkpoint}", "{video}", "--backbone", "{other}"], "the features are of a network with weights"),
        (["{checkpoint}", "{video}", "--backbone", "{checkpoint}"], "last.ckpt"),
        (["{checkpoint}", "{video}", "--backbone", "{root}/none.ckpt"], "none.ckpt"),
        (["{checkpoint}", "{video}", "--set", "optim.lr=1"], "optim.lr has no part in a test"),
    ],
)
def test_what_is_wrong_is_one_line(arguments: list[str], words: str, kitchen: SimpleNamespace, run: Run) -> None:
    (kitchen.root / "cut.mp4").write_bytes(kitchen.video.read_bytes()[:5000])
    status, out, err = run("localize", *(text.format(**vars(kitchen)) for text in arguments))
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert words in err


def test_a_backbone_that_has_gone_is_asked_for(kitchen: SimpleNamespace, run: Run) -> None:
    away = kitchen.backbone.rename(kitchen.root / "away.safetensors")
    try:
        status, out, err = run("localize", kitchen.checkpoint, kitchen.video)
        assert (status, out, err.count("\n")) == (2, "", 1), err
        assert "tsn.safetensors" in err
        assert err.endswith("; name it with --backbone\n")
        assert run("localize", kitchen.checkpoint, kitchen.video, "--backbone", away)[0] == 0
    finally:
        away.rename(kitchen.backbone)
