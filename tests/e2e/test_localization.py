"""Localization from the command line's point of view: train, break off, go on, find actions, several processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tiny_videos import DURATION, NUM_NOUNS, NUM_VERBS, SEGMENTS, SMALL_RUN, VIDEOS
from zoopraxis.cli import main
from zoopraxis.config.load import load_config, recipe_names
from zoopraxis.config.localization import LocalizationConfig
from zoopraxis.errors import CheckpointError, ConfigError
from zoopraxis.evaluation.detections import load_detections
from zoopraxis.models.checkpoints import load_model
from zoopraxis.training.inference import test as run_test
from zoopraxis.training.localization.checkpoints import load_localizer
from zoopraxis.training.localization.system import LocalizationSystem
from zoopraxis.training.options import DetectionOutcome, TestOptions
from zoopraxis.training.run import TrainOutcome, train

RECIPES = [name for name in recipe_names() if isinstance(load_config(name, allow_missing=True), LocalizationConfig)]
PARTS = {"val/loss", "val/boundary_loss", "val/overlap_loss", "val/confidence_loss"}


class BrokenOffError(Exception):
    """Stands for whatever may end a run in the middle of an epoch."""


def _settings(root: Path, run_dir: Path, *more: str) -> list[str]:
    places = [f"data.root={root / 'features'}", f"data.annotations={root / 'annotations'}", f"run.dir={run_dir}"]
    return [*places, *SMALL_RUN, *more]


def _train(name: str, root: Path, run_dir: Path, *more: str) -> TrainOutcome:
    return train(load_config(name, _settings(root, run_dir, *more)))


def _test(checkpoint: Path, out: Path, *settings: str) -> DetectionOutcome:
    options = TestOptions(settings=settings)
    outcome = run_test(checkpoint, out, split="val", options=options, accelerator="cpu", devices=1)
    assert isinstance(outcome, DetectionOutcome)
    return outcome


def _weights(run_dir: Path) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return weights


@pytest.fixture(scope="module")
def trained(tiny_videos: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainOutcome:
    """A run that has seen enough to find the segments, which stand out."""
    run_dir = tmp_path_factory.mktemp("trained") / "run"
    more = ["trainer.max_epochs=12", "optim.lr=0.02", "schedule.warmup_epochs=0", "model.class_maps=true"]
    return _train("bmn_epic", tiny_videos, run_dir, *more)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_trains_and_tests(name: str, tiny_videos: Path, tmp_path: Path) -> None:
    outcome = _train(name, tiny_videos, tmp_path / "run", "trainer.max_steps=2", "run.loggers=[]")
    assert outcome.metrics.keys() == PARTS
    checkpoint = torch.load(outcome.last_checkpoint, weights_only=True)
    assert checkpoint["global_step"] == 2
    assert all(torch.isfinite(tensor).all() for tensor in checkpoint["state_dict"].values())
    tested = _test(outcome.last_checkpoint, tmp_path / "found.json", "classes.by=none")
    found = load_detections(tmp_path / "found.json")
    assert found.video_ids.tolist() == list(VIDEOS["validation"])
    assert len(found) == len(tested.detections) > 0
    assert found.segments.min() >= 0
    assert found.segments.max() <= DURATION


def test_the_verbs_find_actions(
    trained: TrainOutcome, tiny_videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "found.npz"
    command = ["test", str(trained.last_checkpoint), str(out), "--accelerator", "cpu", "--devices", "1"]
    assert main([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    found = load_detections(out)
    assert told["num_detections"] == len(found) == 2 * (int(DURATION) + 1) * 5
    assert told["metrics"]["action_map_avg"] > 80
    assert found.labels["verb"].max() < NUM_VERBS
    assert found.labels["noun"].max() < NUM_NOUNS
    best = found.segments[found.of_video(0)[0]]
    assert min(np.abs(best - np.array(segment[:2])).max() for segment in SEGMENTS) < 1.5
    assert main(["evaluate", str(out), str(tiny_videos / "annotations"), "--challenge", "detection", "--json"]) == 0
    evaluated = json.loads(capsys.readouterr().out)
    assert evaluated["metrics"]["action_map_avg"] == pytest.approx(told["metrics"]["action_map_avg"])
    assert main([*command, "--force", "--set", "proposals.per_second=0", "--set", "proposals.at_least=3"]) == 0
    assert "30 detections in 2 videos" in capsys.readouterr().out


def test_proposals_are_named_by_the_networks_own_maps(trained: TrainOutcome, tmp_path: Path) -> None:
    tested = _test(trained.last_checkpoint, tmp_path / "found.npz", "classes.by=maps", "classes.per_proposal=1")
    assert set(tested.detections.labels) == {"verb", "noun"}
    assert len(tested.detections) == 2 * (int(DURATION) + 1)
    assert {head: len(names) for head, names in tested.detections.class_names.items()} == {"verb": NUM_VERBS, "noun": NUM_NOUNS}


def test_a_split_without_labels_has_detections_but_no_metrics(trained: TrainOutcome, tiny_videos: Path, tmp_path: Path) -> None:
    rows = (tiny_videos / "annotations" / "EPIC_100_validation.csv").read_text().splitlines()
    bare = tmp_path / "EPIC_100_test_timestamps.csv"
    bare.write_text("\n".join(",".join(row.split(",")[:8]) for row in rows) + "\n")
    options = TestOptions(annotations=str(bare), settings=[f"data.videos={tiny_videos}/annotations/EPIC_100_video_info.csv"])
    outcome = run_test(trained.last_checkpoint, tmp_path / "d.npz", split="test", options=options, accelerator="cpu", devices=1)
    assert isinstance(outcome, DetectionOutcome)
    assert len(outcome.detections) == 2 * (int(DURATION) + 1) * 5
    assert outcome.metrics == {}


@pytest.mark.parametrize("stop", [2, 7])
def test_a_run_goes_on_where_it_was_broken_off(
    stop: int, tiny_videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(name: str) -> Path:
        more = ("run.checkpoint_every_n_steps=1", "run.loggers=[]", "model.regression=true", "data.num_workers=2")
        return _train("bmn_epic", tiny_videos, tmp_path / name, *more).run_dir

    def break_off(self: LocalizationSystem, batch: Any, batch_idx: int) -> None:
        if self.global_step == stop:
            raise BrokenOffError

    unbroken = _weights(run("unbroken"))
    with monkeypatch.context() as patch:
        patch.setattr(LocalizationSystem, "on_train_batch_start", break_off)
        with pytest.raises(BrokenOffError):
            run("broken")
    assert int(torch.load(tmp_path / "broken/checkpoints/last.ckpt", weights_only=True)["global_step"]) == stop
    resumed = _weights(run("broken"))
    assert all(torch.equal(resumed[key], value) for key, value in unbroken.items())


def test_a_run_begins_with_other_weights_and_keeps_the_best(trained: TrainOutcome, tiny_videos: Path, tmp_path: Path) -> None:
    more = [f"model.weights={trained.last_checkpoint}", "run.select=loss", "trainer.max_epochs=1", "optim.lr=1e-9"]
    outcome = _train("bmn_epic", tiny_videos, tmp_path / "run", *more, "schedule.warmup_epochs=0")
    assert outcome.best_checkpoint.name == "best.ckpt"
    start, end = load_localizer(trained.last_checkpoint).network, load_localizer(outcome.best_checkpoint).network
    assert torch.allclose(start.match_weight, end.match_weight, atol=1e-6)
    with pytest.raises(ConfigError, match=r"holds a run with optim\.lr=1e-09, and this one has optim\.lr=0\.002; choose"):
        _train("bmn_epic", tiny_videos, tmp_path / "run", *more[:3], "schedule.warmup_epochs=0")


def test_two_processes_find_what_one_finds(trained: TrainOutcome, tiny_videos: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PL_TORCH_DISTRIBUTED_BACKEND": "gloo", "OMP_NUM_THREADS": "1"}

    def run(*command: str) -> None:
        done = subprocess.run([sys.executable, "-m", "zoopraxis", *command], capture_output=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr.decode()

    more = ("trainer.devices=2", "trainer.max_epochs=1", "data.batch_size=1")
    run("train", "--config-name", "bmn_epic", *_settings(tiny_videos, tmp_path / "run", *more))
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics.keys() == PARTS
    assert np.isfinite(list(metrics.values())).all()
    checkpoint = str(tmp_path / "run" / "checkpoints" / "last.ckpt")
    run("test", checkpoint, str(tmp_path / "two.npz"), "--accelerator", "cpu", "--devices", "2")
    one = _test(Path(checkpoint), tmp_path / "one.npz").detections
    two = load_detections(tmp_path / "two.npz")
    assert two.video.tolist() == one.video.tolist()
    np.testing.assert_allclose(two.scores, one.scores, rtol=1e-5)


def test_verbs_for_clips_say_what_long_videos_are_for(trained: TrainOutcome, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"finds actions in long videos from their features, and sees no frames"):
        load_model(trained.last_checkpoint)
    with pytest.raises(ConfigError, match=r"found\.pkl cannot be a file of detections; give it the suffix \.npz or \.json"):
        _test(trained.last_checkpoint, tmp_path / "found.pkl")
