"""The whole way on a tiny toy kitchen."""

from __future__ import annotations

import functools
import json
import zipfile
from pathlib import Path

import pytest
import torch

import zoopraxis.toy
from zoopraxis.cli import demo, main
from zoopraxis.config.load import recipe_names
from zoopraxis.toy import ToyConfig
from zoopraxis.training.build import build_model
from zoopraxis.training.mixing import check_mixing
from zoopraxis.training.optim import build_optimizer, check_optimizer


def test_the_demo_goes_the_whole_way_and_is_taken_up_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = functools.partial(ToyConfig, num_participants=6, videos_per_participant=2, actions_per_video=6)
    monkeypatch.setattr(zoopraxis.toy, "ToyConfig", tiny)
    monkeypatch.setattr(demo, "_TOY_SETTINGS", (*demo._TOY_SETTINGS, "trainer.max_epochs=1", "data.num_workers=0"))
    monkeypatch.setattr(demo, "_RUN_SETTINGS", {})
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


def test_an_unknown_recipe_is_told_before_anything_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", str(tmp_path / "demo"), "--also", "tada2d"]) == 2
    assert "tada2d" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()


@pytest.mark.parametrize("name", [name for name in recipe_names() if not name.endswith("_flow")])
def test_every_recipe_has_a_small_form_for_the_toy_kitchen(name: str, tmp_path: Path) -> None:
    config = demo._toy_config(demo._Paths(tmp_path), name, seed=0)
    check_optimizer(config.optim)
    check_mixing(config.mix, config.data)
    model = build_model(config, {"verb": 8, "noun": 8}, pretrained=False)
    assert sum(parameter.numel() for parameter in model.parameters()) < 10_000_000
    build_optimizer(model, config.optim)
    assert model.eval()(torch.zeros(1, 8, 3, 48, 48))["verb"].shape == (1, 8)
