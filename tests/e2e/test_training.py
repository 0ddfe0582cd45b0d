"""Training from the command line's point of view: train, break off, go on, several processes, test, predict."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from zoopraxis.config.load import load_config
from zoopraxis.data.annotations import read_annotations
from zoopraxis.data.index import UNLABELLED, ClipIndex
from zoopraxis.errors import AnnotationError, CheckpointError, ConfigError, DataError
from zoopraxis.evaluation.results import load_results
from zoopraxis.models import load_model
from zoopraxis.training.inference import TestOptions as Options
from zoopraxis.training.inference import predict
from zoopraxis.training.inference import test as run_test
from zoopraxis.training.run import train

SETTINGS = (
    "model.backbone=test_resnet",
    "model.pretrained=false",
    "model.partial_bn=false",
    "model.dropout=0.5",
    "data.batch_size=4",
    "data.num_workers=0",
    "data.num_segments=4",
    "data.test_num_segments=null",
    "data.transform.size=32",
    "data.transform.resize=32",
    "trainer.max_epochs=2",
    "trainer.accelerator=cpu",
    "trainer.devices=1",
    "run.loggers=[csv]",
)
DIE_AT_STEP = """
import os, signal, sys
from zoopraxis.training.system import RecognitionSystem
def die(self, batch, batch_idx):
    if self.global_step == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
RecognitionSystem.on_train_batch_start = die
from zoopraxis.cli import main
sys.exit(main(sys.argv[2:]))
"""


def _settings(root: Path, run_dir: Path, *more: str) -> list[str]:
    return [f"data.root={root}", f"run.dir={run_dir}", *SETTINGS, *more]


def _weights(run_dir: Path) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return weights


def _assert_same_weights(first: Path, second: Path) -> None:
    one, other = _weights(first), _weights(second)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.fixture(scope="module")
def finished(tiny_gulp: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an unbroken run of TSM."""
    run_dir = tmp_path_factory.mktemp("finished") / "run"
    train(load_config("tsm_rgb", _settings(tiny_gulp, run_dir)))
    return run_dir


def test_a_run_leaves_its_config_metrics_and_checkpoints(finished: Path) -> None:
    metrics = json.loads((finished / "metrics.json").read_text())
    assert {"val/label_acc@1", "val/label_acc@5", "val/loss"} <= metrics.keys()
    assert (finished / "config.yaml").exists()
    assert sorted(path.name for path in (finished / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]


def test_a_run_that_is_killed_in_an_epoch_ends_with_the_unbroken_weights(
    tiny_gulp: Path, tmp_path: Path, finished: Path
) -> None:
    run_dir = tmp_path / "run"
    command = ["train", "--config-name", "tsm_rgb", *_settings(tiny_gulp, run_dir, "run.checkpoint_every_n_steps=2")]
    killed = subprocess.run([sys.executable, "-c", DIE_AT_STEP, "9", *command], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    resumed = train(load_config("tsm_rgb", command[3:]))
    assert resumed.resumed
    _assert_same_weights(run_dir, finished)


def test_a_finished_run_is_left_as_it_is(tiny_gulp: Path, finished: Path) -> None:
    before = (finished / "checkpoints" / "last.ckpt").read_bytes()
    outcome = train(load_config("tsm_rgb", _settings(tiny_gulp, finished)))
    assert outcome.resumed
    assert outcome.metrics == pytest.approx(json.loads((finished / "metrics.json").read_text()))
    assert (finished / "checkpoints" / "last.ckpt").read_bytes() == before


def test_a_folder_with_another_run_is_refused(tiny_gulp: Path, finished: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"holds a run with optim\.lr=0\.01, and this one has optim\.lr=0\.02; choose another"
    ):
        train(load_config("tsm_rgb", _settings(tiny_gulp, finished, "optim.lr=0.02")))
    with pytest.raises(ConfigError, match=r"holds a run already and run\.resume=never; choose another run\.dir"):
        train(load_config("tsm_rgb", _settings(tiny_gulp, finished, "run.resume=never")))


def test_two_processes_give_the_metrics_and_weights_of_one(tiny_gulp: Path, tmp_path: Path) -> None:
    same = ["model.backbone=test_convnext", "model.dropout=0", "trainer.max_epochs=1"]  # no batch norm: it sees half a batch
    environment = {**os.environ, "PL_TORCH_DISTRIBUTED_BACKEND": "gloo", "OMP_NUM_THREADS": "1"}
    metrics = {}
    for devices, batch_size in ((1, 4), (2, 2)):
        run_dir = tmp_path / str(devices)
        settings = _settings(tiny_gulp, run_dir, *same, f"data.batch_size={batch_size}", f"trainer.devices={devices}")
        command = [sys.executable, "-m", "zoopraxis", "train", "--config-name", "tsn_rgb", *settings]
        done = subprocess.run(command, capture_output=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr.decode()
        metrics[devices] = json.loads((run_dir / "metrics.json").read_text())
    assert metrics[2] == pytest.approx(metrics[1], rel=1e-4)
    one, two = _weights(tmp_path / "1"), _weights(tmp_path / "2")
    assert all(torch.allclose(one[key], two[key], rtol=1e-4, atol=1e-6) for key in one)


@pytest.mark.parametrize(
    "switch",
    ["ema.decay=0.9", "trainer.accumulate_grad_batches=2", "trainer.precision=bf16-mixed", "optim.name=adamw"],
)
def test_switches_train(tiny_gulp: Path, tmp_path: Path, switch: str, finished: Path) -> None:
    train(load_config("tsm_rgb", _settings(tiny_gulp, tmp_path, switch)))
    weights = _weights(tmp_path)
    assert all(torch.isfinite(weight).all() for weight in weights.values())
    assert any(not torch.equal(weight, _weights(finished)[key]) for key, weight in weights.items())


def test_compiling_gives_the_same_weights(
    tiny_gulp: Path, tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = []

    def compile_eagerly(module: torch.nn.Module) -> None:
        compiled.append(module)
        module._compiled_call_impl = torch.compile(module._call_impl, backend="eager")

    monkeypatch.setattr(torch.nn.Module, "compile", compile_eagerly)
    train(load_config("tsm_rgb", _settings(tiny_gulp, tmp_path, "compile=true")))
    assert len(compiled) == 1
    _assert_same_weights(tmp_path, finished)


def test_a_test_writes_results_of_every_clip_in_order(tiny_gulp: Path, tmp_path: Path, finished: Path) -> None:
    path = tmp_path / "val.npz"
    outcome = run_test(finished / "checkpoints" / "last.ckpt", path, split="val", accelerator="cpu", devices=1)
    results = load_results(path)
    assert results.clip_ids.tolist() == [f"validation_{row}" for row in range(9)]
    assert results.scores["label"].shape == (9, 4)
    assert results.meta["averaging"] == "score"
    stored = json.loads((finished / "metrics.json").read_text())
    assert outcome.metrics["label_acc@1"] == pytest.approx(stored["val/label_acc@1"])


def test_views_are_averaged(tmp_path: Path, finished: Path) -> None:
    checkpoint = finished / "checkpoints" / "last.ckpt"
    scores = {}
    for name, options in {
        "one": Options(),
        "score": Options(num_clips=2, num_crops=3),
        "prob": Options(num_clips=2, num_crops=3, average="prob"),
    }.items():
        outcome = run_test(checkpoint, tmp_path / f"{name}.npz", split="val", options=options, accelerator="cpu", devices=1)
        scores[name] = outcome.results.scores["label"]
    assert not np.allclose(scores["one"], scores["score"])
    assert np.allclose(np.exp(scores["prob"]).sum(1), 1, atol=1e-5)
    assert load_results(tmp_path / "prob.npz").meta["views"] == "2x3"


def test_a_checkpoint_knows_its_preprocessing_and_classes(finished: Path) -> None:
    model = load_model(finished / "checkpoints" / "best.ckpt")
    assert model.preprocessing.size == 32
    assert model.class_names == {"label": ("top", "upper", "lower", "bottom")}


def test_weights_of_a_run_start_another(tiny_gulp: Path, tmp_path: Path, finished: Path) -> None:
    weights = f"model.weights={finished / 'checkpoints' / 'last.ckpt'}"
    settings = _settings(tiny_gulp, tmp_path, weights, "optim.lr=1e-12", "ema.decay=0", "trainer.max_epochs=1")
    train(load_config("tsm_rgb", settings))
    started, origin = _weights(tmp_path), _weights(finished)
    is_weight = [key for key in origin if key.endswith("weight")]
    assert all(torch.allclose(started[key], origin[key], atol=1e-6) for key in is_weight)


def test_labels_that_exceed_the_head_are_refused(tiny_gulp: Path, tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="label"):
        train(load_config("tsm_rgb", _settings(tiny_gulp, tmp_path, "+model.heads={label: 3}")))
    assert not tmp_path.joinpath("checkpoints").exists()


def test_clips_without_labels_are_refused_before_training(tiny_gulp: Path, tmp_path: Path) -> None:
    index = read_annotations(tiny_gulp / "rgb_validation")
    bare = ClipIndex.from_columns(
        clip_id=index.clip_ids.tolist(),
        source=index.column("source").tolist(),
        labels={"label": [0, 1, UNLABELLED, *[2] * 6]},
        class_names=index.class_names,
    )
    bare.save(tmp_path / "bare.parquet")
    settings = _settings(tiny_gulp, tmp_path / "run", f"data.val={tmp_path / 'bare.parquet'}")
    with pytest.raises(AnnotationError, match="1 clips of split 'val' have no label of head 'label', first validation_2; name"):
        train(load_config("tsm_rgb", settings))
    assert not (tmp_path / "run").exists()


def test_a_quarantined_clip_is_left_out(tiny_gulp: Path, tmp_path: Path) -> None:
    quarantine = tmp_path / "quarantine.txt"
    quarantine.write_text("train_3\nvalidation_0\n")
    settings = _settings(tiny_gulp, tmp_path / "run", f"data.quarantine={quarantine}", "trainer.max_epochs=1")
    outcome = train(load_config("tsm_rgb", settings))
    assert outcome.num_train_clips == 21


def test_validation_clips_can_be_trained_on(tiny_gulp: Path, tmp_path: Path) -> None:
    settings = _settings(tiny_gulp, tmp_path, "data.train_on_val=true", "trainer.max_epochs=1")
    assert train(load_config("tsm_rgb", settings)).num_train_clips == 31


def test_a_missing_root_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.root=.*absent does not exist"):
        train(load_config("tsm_rgb", _settings(tmp_path / "absent", tmp_path / "run")))


def test_predict_names_classes_with_probabilities(tmp_path: Path, finished: Path) -> None:
    from zoopraxis.data.encoding import write_video

    video = tmp_path / "clip.mp4"
    write_video(video, [np.full((40, 48, 3), 90, dtype=np.uint8)] * 12, fps=12)
    best = predict(finished / "checkpoints" / "last.ckpt", video, top=4)
    assert sorted(name for name, _ in best["label"]) == ["bottom", "lower", "top", "upper"]
    assert sum(probability for _, probability in best["label"]) == pytest.approx(1, abs=1e-5)
    probabilities = [probability for _, probability in best["label"]]
    assert probabilities == sorted(probabilities, reverse=True)


def test_predict_looks_at_the_span_it_is_given(tmp_path: Path, finished: Path) -> None:
    from zoopraxis.data.encoding import write_video

    video = tmp_path / "clip.mp4"
    frames = np.zeros((24, 40, 48, 3), dtype=np.uint8)
    frames[:12, :10] = 230
    frames[12:, 30:] = 230
    write_video(video, list(frames), fps=12)
    checkpoint = finished / "checkpoints" / "last.ckpt"
    begin, end = predict(checkpoint, video, stop_seconds=1.0), predict(checkpoint, video, start_seconds=1.0)
    assert dict(begin["label"]) == pytest.approx(dict(predict(checkpoint, video, start_seconds=0, stop_seconds=1)["label"]))
    assert dict(begin["label"]) != pytest.approx(dict(end["label"]), rel=1e-3)
    with pytest.raises(DataError, match="spans 3 to 2 s"):
        predict(checkpoint, video, start_seconds=3.0)


def test_predict_refuses_what_it_cannot_read(tmp_path: Path, finished: Path) -> None:
    with pytest.raises(DataError, match=r"there is no video .*absent\.mp4"):
        predict(finished / "checkpoints" / "last.ckpt", tmp_path / "absent.mp4")
    (tmp_path / "garbage.mp4").write_bytes(b"no video" * 100)
    with pytest.raises(DataError, match=r"garbage\.mp4"):
        predict(finished / "checkpoints" / "last.ckpt", tmp_path / "garbage.mp4")
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        predict(tmp_path / "absent.ckpt", tmp_path / "garbage.mp4")
