"""Training with sharded weights in two processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from zoopraxis.models import load_model
from zoopraxis.training.inference import test as run_test

SETTINGS = (
    "model.backbone=null",
    "model.pretrained=false",
    "model.partial_bn=false",
    "model.dropout=0",
    "data.num_workers=0",
    "data.num_segments=8",
    "data.test_num_segments=null",
    "data.transform.size=32",
    "data.transform.resize=32",
    "optim.name=adamw",
    "optim.lr=0.001",
    "trainer.accelerator=cpu",
    "trainer.gradient_clip_val=0.3",
    "+trainer.limit_train_batches=2",
    "run.loggers=[]",
)
VIVIT = (
    "model.name=vivit",
    "+model.args={image_size: 32, patch_size: 8, dim: 16, depth: 2, depth_temporal: 1, num_heads: 2, drop_path: 0}",
)


def _train(root: Path, run_dir: Path, *more: str) -> dict[str, float]:
    environment = {**os.environ, "PL_TORCH_DISTRIBUTED_BACKEND": "gloo", "OMP_NUM_THREADS": "1"}
    settings = [f"data.root={root}", f"run.dir={run_dir}", *SETTINGS, *more]
    command = [sys.executable, "-m", "zoopraxis", "train", "--config-name", "tsn_rgb", *settings]
    done = subprocess.run(command, capture_output=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr.decode()
    metrics: dict[str, float] = json.loads((run_dir / "metrics.json").read_text())
    return metrics


def _learned(key: str, weight: torch.Tensor) -> torch.Tensor:
    """Without the bias of the keys, of which the softmax takes no notice: AdamW turns the rounding in its gradient to steps."""
    if not key.endswith("to_qkv.bias"):
        return weight
    queries, _, values = weight.chunk(3)
    return torch.cat([queries, values])


def test_two_processes_with_half_the_weights_each_train_as_one(tiny_gulp: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    expected = _train(tiny_gulp, one, *VIVIT, "data.batch_size=4", "trainer.devices=1", "trainer.max_epochs=2")
    sharded = [*VIVIT, "data.batch_size=2", "trainer.devices=2", "trainer.strategy=fsdp2"]
    _train(tiny_gulp, two, *sharded, "trainer.max_epochs=1")
    found = _train(tiny_gulp, two, *sharded, "trainer.max_epochs=2")  # goes on from its checkpoint
    assert found == pytest.approx(expected, rel=1e-4)

    first, second = (torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True) for folder in (one, two))
    assert first.keys() == second.keys()
    assert first["global_step"] == second["global_step"] == 4
    assert list(first["state_dict"]) == list(second["state_dict"])
    for key, weight in first["state_dict"].items():
        assert torch.allclose(_learned(key, second["state_dict"][key]), _learned(key, weight), rtol=1e-3, atol=1e-5), key
    states = [checkpoint["optimizer_states"][0] for checkpoint in (first, second)]
    numbers = [[group["params"] for group in state["param_groups"]] for state in states]
    assert numbers[0] == numbers[1]
    for number, state in states[0]["state"].items():
        assert torch.allclose(states[1]["state"][number]["exp_avg"], state["exp_avg"], rtol=1e-3, atol=1e-6)
    assert load_model(two / "checkpoints" / "best.ckpt").heads == {"label": 4}


def test_running_statistics_are_those_of_the_checkpoint(tiny_gulp: Path, tmp_path: Path) -> None:
    settings = [
        "model.backbone=test_resnet",
        "optim.lr=0.1",
        "data.batch_size=2",
        "trainer.devices=2",
        "trainer.strategy=fsdp2",
        "trainer.max_epochs=1",
    ]
    metrics = _train(tiny_gulp, tmp_path, *settings)
    checkpoint = tmp_path / "checkpoints" / "last.ckpt"
    outcome = run_test(checkpoint, tmp_path / "val.npz", split="val", accelerator="cpu", devices=1)
    loss = torch.nn.functional.cross_entropy(torch.from_numpy(outcome.results.scores["label"]), torch.arange(9) % 4)
    assert float(loss) == pytest.approx(metrics["val/label_loss"], rel=1e-5)
