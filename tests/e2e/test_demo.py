"""The whole way on a tiny toy kitchen."""

from __future__ import annotations

import functools
import json
import zipfile
from pathlib import Path

import pytest
import torch

import zoopraxis.toy
from zoopraxis.cli import demo_adaptation, demo_kitchen, demo_localization, main
from zoopraxis.config.load import load_config, recipe_names
from zoopraxis.config.schema import TrainConfig
from zoopraxis.toy import ToyConfig
from zoopraxis.training.build import build_model
from zoopraxis.training.mixing import check_mixing
from zoopraxis.training.optim import build_optimizer, check_optimizer

RECOGNITION = [
    name
    for name in recipe_names()
    if isinstance(load_config(name, allow_missing=True), TrainConfig) and not name.endswith("_flow")
]


def test_the_demo_goes_the_whole_way_and_is_taken_up_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = functools.partial(ToyConfig, num_participants=6, videos_per_participant=2, actions_per_video=6)
    monkeypatch.setattr(zoopraxis.toy, "ToyConfig", tiny)
    short = (*demo_kitchen.TOY_SETTINGS, "trainer.max_epochs=1", "data.num_workers=0")
    monkeypatch.setattr(demo_kitchen, "TOY_SETTINGS", short)
    monkeypatch.setattr(demo_kitchen, "RUN_SETTINGS", {})
    out = tmp_path / "demo"
    arguments = ["demo", str(out), "--json", "--num-workers", "1", "--also", "tada2d_r50_ssv2_8f", "--also", "tsm_rgb"]
    assert main(arguments) == 0
    line = capsys.readouterr().out.strip()
    scores = json.loads(line)
    assert list(scores) == ["tsn", "tsm", "fused", "tada2d_r50_ssv2_8f"]
    assert all(list(tasks) == ["verb", "noun", "action"] for tasks in scores.values())
    assert all(0 <= percent <= 100 for tasks in scores.values() for percent in tasks.values())
    with zipfile.ZipFile(out / "submission.zip") as archive:
        submission = json.loads(archive.read("test.json"))
    assert submission["challenge"] == "action_recognition"
    assert "<html" in (out / "report.html").read_text(encoding="utf-8")

    checkpoints = sorted(out.glob("runs/*/checkpoints/last.ckpt"))
    before = [path.read_bytes() for path in checkpoints]
    assert len(before) == 4
    assert main(arguments) == 0
    assert capsys.readouterr().out.strip() == line
    assert [path.read_bytes() for path in checkpoints] == before


def test_the_demo_of_adaptation_goes_the_whole_way_and_is_taken_up_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = functools.partial(ToyConfig, num_participants=6, videos_per_participant=2, actions_per_video=6)
    monkeypatch.setattr(zoopraxis.toy, "ToyConfig", tiny)
    monkeypatch.setattr(demo_adaptation, "BACKBONE_SETTINGS", ("trainer.max_epochs=1", "data.num_workers=0"))
    short = (*demo_adaptation.TOY_SETTINGS, "data.batch_size=4", "trainer.max_epochs=2")
    monkeypatch.setattr(demo_adaptation, "TOY_SETTINGS", short)
    arguments = ["demo", str(tmp_path), "--task", "adaptation", "--json", "--num-workers", "1", "--also", "dan_epic"]
    assert main(arguments) == 0
    line = capsys.readouterr().out.strip()
    assert list(json.loads(line)) == ["source_only", "ta3n", "target_supervised", "dan_epic"]
    with zipfile.ZipFile(tmp_path / "adaptation" / "submission.zip") as archive:
        submission = json.loads(archive.read("test.json"))
    assert submission["challenge"] == "domain_adaptation"
    assert len(submission["results_target"]) == 6
    page = (tmp_path / "adaptation" / "report.html").read_text(encoding="utf-8")
    assert "How far apart are the domains?" in page
    assert "Gain over the baseline" in page

    checkpoints = sorted((tmp_path / "adaptation").glob("runs/*/checkpoints/last.ckpt"))
    before = [path.read_bytes() for path in checkpoints]
    assert len(before) == 5
    assert main(arguments) == 0
    assert capsys.readouterr().out.strip() == line
    assert [path.read_bytes() for path in checkpoints] == before


def test_the_demo_of_localization_goes_the_whole_way_and_is_taken_up_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = functools.partial(ToyConfig, num_participants=6, videos_per_participant=2, actions_per_video=6)
    monkeypatch.setattr(zoopraxis.toy, "ToyConfig", tiny)
    monkeypatch.setattr(demo_localization, "BACKBONE_SETTINGS", ("trainer.max_epochs=1", "data.num_workers=0"))
    short = (*demo_localization.TOY_SETTINGS, "trainer.max_epochs=1")
    monkeypatch.setattr(demo_localization, "TOY_SETTINGS", short)
    arguments = ["demo", str(tmp_path), "--task", "localization", "--json", "--num-workers", "1"]
    also = ["--also", "bmn_epic_baseline", "--also", "bmn_activitynet"]
    assert main([*arguments, *also]) == 0
    line = capsys.readouterr().out.strip()
    maps = json.loads(line)
    assert list(maps) == ["verb_map", "noun_map", "action_map", "bmn_epic_baseline", "bmn_activitynet"]
    assert all(0 <= maps[f"{task}_map"] <= 100 for task in ("verb", "noun", "action"))
    assert list(maps["bmn_epic_baseline"]) == ["verb_map", "noun_map", "action_map"]
    out = tmp_path / "localization"
    with zipfile.ZipFile(out / "submission.zip") as archive:
        submission = json.loads(archive.read("test.json"))
    assert submission["challenge"] == "action_detection"
    assert len(submission["results"]) == 4
    assert "<html" in (out / "report.html").read_text(encoding="utf-8")

    checkpoints = sorted(out.glob("runs/*/checkpoints/last.ckpt"))
    before = [path.read_bytes() for path in checkpoints]
    assert len(before) == 4
    assert main([*arguments, *also]) == 0
    assert capsys.readouterr().out.strip() == line
    assert [path.read_bytes() for path in checkpoints] == before


def test_only_recipes_of_localization_go_with_its_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", str(tmp_path / "demo"), "--task", "localization", "--also", "tsm_rgb"]) == 2
    assert "--also tsm_rgb: only recipes of localization go with --task localization" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()


@pytest.mark.parametrize("name", ["tsm_rgb", "ta3n_video_epic"])
def test_only_recipes_on_features_go_with_the_demo_of_adaptation(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", str(tmp_path / "demo"), "--task", "adaptation", "--also", name]) == 2
    assert f"--also {name}: only recipes of adaptation on features go with --task adaptation" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()


def test_an_unknown_recipe_is_told_before_anything_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", str(tmp_path / "demo"), "--also", "tada2d"]) == 2
    assert "tada2d" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()


@pytest.mark.parametrize("name", RECOGNITION)
def test_every_recipe_has_a_small_form_for_the_toy_kitchen(name: str, tmp_path: Path) -> None:
    config = demo_kitchen.toy_config(demo_kitchen.Paths(tmp_path), name, seed=0)
    check_optimizer(config.optim)
    check_mixing(config.mix, config.data)
    model = build_model(config, {"verb": 8, "noun": 8}, pretrained=False)
    assert sum(parameter.numel() for parameter in model.parameters()) < 10_000_000
    build_optimizer(model, config.optim)
    assert model.eval()(torch.zeros(1, 8, 3, 48, 48))["verb"].shape == (1, 8)
