"""Domain adaptation from the command line's point of view: train, break off, go on, several processes, test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tiny_domains import NUM_CLIPS, SMALL_RUN
from zoopraxis.cli import main
from zoopraxis.config.load import load_config
from zoopraxis.errors import ConfigError
from zoopraxis.evaluation.embeddings import load_embeddings
from zoopraxis.evaluation.results import load_results
from zoopraxis.training.adaptation.system import AdaptationSystem
from zoopraxis.training.run import train

DIE_AT_STEP = """
import os, signal, sys
from zoopraxis.training.adaptation.system import AdaptationSystem
def die(self, batch, batch_idx):
    if self.global_step == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
AdaptationSystem.on_train_batch_start = die
from zoopraxis.cli import main
sys.exit(main(sys.argv[2:]))
"""
ALL_AT_ONCE = (
    "adapt.pretrain_source=true",
    "model.norm=adabn",
    "adapt.discrepancy=coral",
    "adapt.mcd=true",
    "data.pad_batches=true",
)


class BrokenOffError(Exception):
    """Stands for whatever may end a run in the middle of an epoch."""


def _settings(root: Path, run_dir: Path, *more: str) -> list[str]:
    places = [f"data.root={root / 'features'}", f"data.annotations={root / 'annotations'}", f"run.dir={run_dir}"]
    return [*places, *SMALL_RUN, *more]


def _weights(run_dir: Path) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return weights


def _assert_same_weights(first: Path, second: Path) -> None:
    one, other = _weights(first), _weights(second)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.fixture(scope="module")
def finished(tiny_challenge: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an unbroken run of TA3N."""
    run_dir = tmp_path_factory.mktemp("finished") / "run"
    train(load_config("ta3n_epic", _settings(tiny_challenge, run_dir)))
    return run_dir


def test_the_verbs_train_and_test(tiny_challenge: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_dir = tmp_path / "run"
    assert main(["train", "--config-name", "ta3n_epic", *_settings(tiny_challenge, run_dir)]) == 0
    printed = capsys.readouterr().out
    assert "labels of the target's training clips" in printed
    assert printed.index("validation, source") < printed.index("validation, target") < printed.index("best checkpoint")
    checkpoint, results = run_dir / "checkpoints" / "last.ckpt", tmp_path / "r.npz"
    command = ["test", str(checkpoint), str(results), "--split", "target_val", "--embeddings", str(tmp_path / "e.npz")]
    assert main([*command, "--accelerator", "cpu", "--devices", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["num_clips"] == len(load_results(results)) == NUM_CLIPS["target_val"]
    metrics = json.loads((run_dir / "metrics.json").read_text())
    assert found["metrics"]["action_acc@1"] == pytest.approx(metrics["val/target/action_acc@1"])
    assert len(load_embeddings(tmp_path / "e.npz")) == NUM_CLIPS["target_val"] + NUM_CLIPS["source_train"]


def test_verbs_for_clips_say_what_features_are_for(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = str(finished / "checkpoints" / "last.ckpt")
    assert main(["convert", checkpoint, str(tmp_path / "out.safetensors")]) == 2
    (tmp_path / "video.mp4").write_bytes(b"")
    assert main(["predict", checkpoint, str(tmp_path / "video.mp4")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all("holds a network of domain adaptation on features, which sees no frames" in line for line in lines)


def test_a_run_that_is_killed_in_an_epoch_ends_with_the_unbroken_weights(
    tiny_challenge: Path, tmp_path: Path, finished: Path
) -> None:
    settings = _settings(tiny_challenge, tmp_path, "run.checkpoint_every_n_steps=1")
    command = ["train", "--config-name", "ta3n_epic", *settings]
    killed = subprocess.run([sys.executable, "-c", DIE_AT_STEP, "6", *command], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    resumed = train(load_config("ta3n_epic", settings))
    assert resumed.resumed
    _assert_same_weights(tmp_path, finished)


@pytest.mark.parametrize("stop", [2, 5])
def test_a_run_of_everything_goes_on_where_it_was_broken_off(
    stop: int, tiny_challenge: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(name: str) -> Path:
        settings = _settings(tiny_challenge, tmp_path / name, "run.checkpoint_every_n_steps=1", "run.loggers=[]", *ALL_AT_ONCE)
        return train(load_config("ta3n_epic", settings)).run_dir

    def break_off(self: AdaptationSystem, batch: Any, batch_idx: int) -> None:
        if self.global_step == stop:
            raise BrokenOffError

    unbroken = run("unbroken")
    with monkeypatch.context() as patch:
        patch.setattr(AdaptationSystem, "on_train_batch_start", break_off)
        with pytest.raises(BrokenOffError):
            run("broken")
    _assert_same_weights(run("broken"), unbroken)


def test_a_finished_run_is_left_as_it_is(tiny_challenge: Path, finished: Path) -> None:
    before = (finished / "checkpoints" / "last.ckpt").read_bytes()
    outcome = train(load_config("ta3n_epic", _settings(tiny_challenge, finished)))
    assert outcome.resumed
    assert outcome.metrics == pytest.approx(json.loads((finished / "metrics.json").read_text()))
    assert (finished / "checkpoints" / "last.ckpt").read_bytes() == before
    with pytest.raises(ConfigError, match=r"holds a run with adapt\.strengths\.video=0\.75, and this one has .*=0\.5; choose"):
        train(load_config("ta3n_epic", _settings(tiny_challenge, finished, "adapt.strengths.video=0.5")))


def test_two_processes_share_the_batches(tiny_challenge: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PL_TORCH_DISTRIBUTED_BACKEND": "gloo", "OMP_NUM_THREADS": "1"}
    same = [
        "model.dropout=0",
        "model.video_dropout=0",
        "adapt.entropy=none",
        "model.attention=none",
        "data.target_batch_size=4",
    ]
    weights, metrics = {}, {}
    for devices in (1, 2):
        sizes = [f"data.batch_size={4 // devices}", f"data.target_batch_size={4 // devices}", f"trainer.devices={devices}"]
        settings = _settings(tiny_challenge, tmp_path / str(devices), *same, *sizes, "+trainer.max_steps=2", "optim.lr=0.1")
        command = [sys.executable, "-m", "zoopraxis", "train", "--config-name", "dann_epic", *settings]
        done = subprocess.run(command, capture_output=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr.decode()
        weights[devices] = _weights(tmp_path / str(devices))
        metrics[devices] = json.loads((tmp_path / str(devices) / "metrics.json").read_text())
    assert metrics[2] == pytest.approx(metrics[1], rel=1e-4)
    assert all(torch.allclose(weights[1][key], weights[2][key], rtol=1e-4, atol=1e-6) for key in weights[1])
