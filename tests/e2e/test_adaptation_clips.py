"""Adaptation from clips, end to end: an image network and discriminators trained together, tested and asked for one video."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from zoopraxis.config.load import load_config
from zoopraxis.data.annotations import read_annotations
from zoopraxis.data.encoding import write_video
from zoopraxis.data.index import Clip, ClipIndex
from zoopraxis.data.prepare.gulp import write_gulp
from zoopraxis.errors import CheckpointError, ConfigError
from zoopraxis.evaluation.results import load_results
from zoopraxis.models import create_model, load_model, save_model
from zoopraxis.models.ta3n import TA3N
from zoopraxis.toy.annotations import COLUMNS
from zoopraxis.training.inference import TestOptions as Options
from zoopraxis.training.inference import predict
from zoopraxis.training.inference import test as run_test
from zoopraxis.training.run import train

SPLITS = {
    "source_train": ("EPIC_100_uda_source_train.csv", 6, "train"),
    "target_train": ("EPIC_100_uda_target_train_timestamps.csv", 8, "test"),
    "source_val": ("EPIC_100_uda_source_val.csv", 4, "validation"),
    "target_val": ("EPIC_100_uda_target_val.csv", 4, "validation"),
    "target_test": ("EPIC_100_uda_target_test_timestamps.csv", 5, "test"),
}
"""File, clips, and the gulp folder that the clips lie in."""
NUM_TIME_COLUMNS = 8
SETTINGS = (
    "model.backbone=test_resnet",
    "model.pretrained=false",
    "model.partial_bn=false",
    "model.shared_dim=16",
    "model.heads={verb: 3, noun: 4}",
    "data.batch_size=3",
    "data.num_workers=0",
    "data.pin_memory=false",
    "data.transform.size=32",
    "data.transform.resize=32",
    "trainer.max_epochs=1",
    "trainer.accelerator=cpu",
    "trainer.devices=1",
    "run.loggers=[]",
)


class _Frames:
    """Frames that are made when they are read: the target's are brighter."""

    def num_frames(self, clip: Clip) -> int:
        return 12

    def read(self, clip: Clip, frames: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        seed = sum(map(ord, clip.clip_id))
        images = np.random.default_rng(seed).integers(0, 80, (len(frames), 32, 40, 3), dtype=np.uint8)
        return images + np.uint8(100 if clip.clip_id.startswith("P02") else 0)


def _write_split(folder: Path, split: str) -> ClipIndex:
    file, num_clips, _ = SPLITS[split]
    person = "P01" if split.startswith("source") else "P02"
    rows = []
    for number in range(num_clips):
        clip_id = f"{person}_{list(SPLITS).index(split):02d}_{number}"
        times = [clip_id, person, clip_id[:6], "00:00:00.10", "00:00:00.10", "00:00:00.50", 3, 14]
        verb, noun = number % 3, number % 4
        rows.append([*times, "do it", f"verb {verb}", verb, f"noun {noun}", noun, [f"noun {noun}"], [noun]])
    width = NUM_TIME_COLUMNS if file.endswith("timestamps.csv") else len(COLUMNS)
    with (folder / file).open("w", newline="") as opened:
        csv.writer(opened).writerows([COLUMNS[:width], *(row[:width] for row in rows)])
    return read_annotations(folder / file, format="epic", class_names={"verb": list("abc"), "noun": list("abcd")})


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root of three gulp folders, and of the challenge's annotations beside them."""
    root = tmp_path_factory.mktemp("kitchen")
    for part in ("train", "validation", "test"):
        indexes = [_write_split(root, split) for split, (_, _, folder) in SPLITS.items() if folder == part]
        write_gulp(ClipIndex.concat(indexes), _Frames(), root / f"rgb_{part}")
    return root


def _run(kitchen: Path, run_dir: Path, *more: str, recipe: str = "ta3n_video_epic") -> Any:
    return train(load_config(recipe, [f"data.root={kitchen}", f"run.dir={run_dir}", *SETTINGS, *more]))


def _weights(run_dir: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return state


@pytest.fixture(scope="module")
def finished(kitchen: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two steps."""
    run_dir = tmp_path_factory.mktemp("finished") / "run"
    outcome = _run(kitchen, run_dir)
    assert outcome.num_train_clips == 6
    return run_dir


def test_a_run_watches_both_domains_and_moves_every_part(finished: Path, kitchen: Path, tmp_path: Path) -> None:
    metrics = json.loads((finished / "metrics.json").read_text())
    assert {"val/source/verb_acc@1", "val/target/verb_acc@1"} <= metrics.keys()
    _run(kitchen, tmp_path / "still", "optim.lr=1e-30")
    start, end = _weights(tmp_path / "still"), _weights(finished)
    for part in ("backbone.network", "adaptation.frame_layers", "adaptation.discriminators", "adaptation.classifiers"):
        moved = [name for name in start if f"model.{part}" in name and not torch.equal(start[name], end[name])]
        assert moved, part


def test_every_split_is_scored_from_the_checkpoint(finished: Path, kitchen: Path, tmp_path: Path) -> None:
    checkpoint = finished / "checkpoints" / "last.ckpt"
    for split, num_clips, is_labelled in (("val", 4, True), ("test", 5, False), ("source_val", 4, True)):
        outcome = run_test(checkpoint, tmp_path / f"{split}.npz", split=split, accelerator="cpu", devices=1)
        results = load_results(tmp_path / f"{split}.npz")
        assert len(results.clip_ids) == num_clips
        assert {head: scores.shape for head, scores in results.scores.items()} == {
            "verb": (num_clips, 3),
            "noun": (num_clips, 4),
        }
        assert bool(outcome.metrics) == is_labelled
    model = load_model(checkpoint)
    assert isinstance(model, TA3N)
    assert model.record["config"]["task"] == "adaptation"
    named = Options(root=str(kitchen), annotations=str(kitchen / SPLITS["source_val"][0]), num_crops=3)
    again = run_test(checkpoint, tmp_path / "named.npz", split="val", options=named, accelerator="cpu", devices=1)
    assert set(again.results.clip_ids) == {f"P01_02_{number}" for number in range(4)}


def test_what_a_network_on_clips_cannot_do_is_refused(finished: Path, tmp_path: Path) -> None:
    checkpoint = finished / "checkpoints" / "last.ckpt"
    with pytest.raises(ConfigError, match=r"the network has TA3N's relations for 5 frames, so that clips of 8 frames cannot"):
        run_test(checkpoint, tmp_path / "r.npz", split="val", options=Options(num_segments=8))
    with pytest.raises(ConfigError, match="embeddings is for networks on features and has no effect on one on clips; leave it"):
        run_test(checkpoint, tmp_path / "r.npz", split="val", options=Options(embeddings="e.npz"))
    plain = save_model(create_model("tsn", heads={"label": 2}, backbone="test_resnet"), tmp_path / "tsn.safetensors")
    with pytest.raises(ConfigError, match="split source_val is of networks of adaptation, and this one is of recognition"):
        run_test(plain, tmp_path / "r.npz", split="source_val")


def test_one_video_is_recognized(finished: Path, tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", [np.full((40, 48, 3), 9 * n, dtype=np.uint8) for n in range(20)], fps=10)
    found = predict(finished / "checkpoints" / "last.ckpt", tmp_path / "a.mp4", top=2)
    assert set(found) == {"verb", "noun", "action"}
    assert all(len(classes) == 2 and classes[0][1] >= classes[1][1] > 0 for classes in found.values())


def test_a_run_that_is_broken_off_in_an_epoch_ends_with_the_unbroken_weights(kitchen: Path, tmp_path: Path) -> None:
    steps = ("data.batch_size=2", "trainer.max_epochs=2", "data.epoch=longer", "run.checkpoint_every_n_steps=1")
    _run(kitchen, tmp_path / "whole", *steps)
    _run(kitchen, tmp_path / "broken", *steps, "trainer.max_steps=4")
    # max_steps is no setting that may change: the run goes on as what it was meant to be
    stored = (tmp_path / "broken" / "config.yaml").read_text()
    (tmp_path / "broken" / "config.yaml").write_text(stored.replace("max_steps: 4", "max_steps: -1"))
    assert _run(kitchen, tmp_path / "broken", *steps, "trainer.max_steps=-1").resumed
    torch.testing.assert_close(_weights(tmp_path / "broken"), _weights(tmp_path / "whole"), rtol=0, atol=0)


def test_two_processes_give_the_weights_of_one(kitchen: Path, tmp_path: Path) -> None:
    same = ["model.backbone=test_convnext", "model.dropout=0", "model.video_dropout=0"]  # no batch norm: it sees half a batch
    environment = {**os.environ, "PL_TORCH_DISTRIBUTED_BACKEND": "gloo", "OMP_NUM_THREADS": "1"}
    for devices, batch_size in ((1, 2), (2, 1)):
        sizes = [f"data.batch_size={batch_size}", f"data.target_batch_size={batch_size}", f"trainer.devices={devices}"]
        settings = [f"data.root={kitchen}", f"run.dir={tmp_path / str(devices)}", *SETTINGS, *same, *sizes]
        command = [sys.executable, "-m", "zoopraxis", "train", "--config-name", "ta3n_video_epic", *settings]
        done = subprocess.run(command, capture_output=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr.decode()
    torch.testing.assert_close(_weights(tmp_path / "2"), _weights(tmp_path / "1"), rtol=1e-4, atol=1e-6)


def test_source_only_begins_with_a_backbone_of_recognition(kitchen: Path, finished: Path, tmp_path: Path) -> None:
    weights = f"model.backbone_weights={finished / 'checkpoints' / 'last.ckpt'}"
    _run(kitchen, tmp_path / "run", weights, "optim.lr=1e-30", "model.freeze_norms=true", recipe="source_only_video_epic")
    start, end = _weights(finished), _weights(tmp_path / "run")
    kernels = [name for name in start if name.startswith("model.backbone.") and start[name].ndim == 4]
    assert kernels
    assert all(torch.equal(start[name], end[name]) for name in kernels)
    with pytest.raises(CheckpointError, match="is of another architecture than a TA3N network"):
        _run(kitchen, tmp_path / "other", weights, "model.backbone=test_convnext")
