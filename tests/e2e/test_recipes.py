"""Every recipe trains: two steps of a small network on small clips, all else as the recipe has it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tiny_domains import SMALL_RUN
from tiny_models import TINY
from zoopraxis.cli import main
from zoopraxis.config.adaptation import AdaptationConfig
from zoopraxis.config.load import load_config, load_recognition_config, recipe_names
from zoopraxis.config.schema import TrainConfig
from zoopraxis.errors import ConfigError
from zoopraxis.models import MODELS, load_families, load_model
from zoopraxis.training.inference import test as run_test
from zoopraxis.training.run import TrainOutcome, train

SMALL = (
    "model.pretrained=false",
    "data.store=gulp",
    "data.batch_size=4",
    "data.num_workers=0",
    "data.transform.size=32",
    "data.transform.resize=32",
    "data.transform.test_size=null",
    "data.transform.short_side=[32,40]",
    "data.transform.flip_pairs=[[0,3],[1,2]]",
    "trainer.accelerator=cpu",
    "trainer.devices=1",
    "run.loggers=[]",
)
load_families()
RECIPES = {name: load_config(name, allow_missing=True) for name in recipe_names()}
NAMES = [name for name, config in RECIPES.items() if isinstance(config, TrainConfig) and not name.endswith("_flow")]
ON_FEATURES = [
    name for name, config in RECIPES.items() if isinstance(config, AdaptationConfig) and config.data.store == "features"
]
LR = 0.01
DATA_SETS = {"source": "ucf", "target": "hmdb", "source_val": "ucf_val", "target_val": "hmdb_val"}


def _small_network(name: str) -> list[str]:
    """Settings that put a small network in the place of the recipe's; networks over whole clips see 8 frames."""
    model = load_recognition_config(name, allow_missing=True).model.name
    arguments = dict(TINY[model])
    settings = [f"model.backbone={arguments.pop('backbone')}"]
    if arguments:
        settings.append("model.args=" + json.dumps(arguments).replace('"', ""))  # Hydra's grammar has no quoted keys
    return [*settings, "data.num_segments=8"] if MODELS.get(model).variants else settings


def _train(name: str, root: Path, run_dir: Path, *more: str) -> TrainOutcome:
    settings = [f"data.root={root}", f"run.dir={run_dir}", *SMALL, *_small_network(name), *more]
    return train(load_config(name, settings))


def _checkpoint(run_dir: Path) -> dict[str, Any]:
    checkpoint: dict[str, Any] = torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)
    return checkpoint


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_trains(name: str, tiny_gulp: Path, tmp_path: Path) -> None:
    outcome = _train(name, tiny_gulp, tmp_path, "trainer.max_steps=2", "trainer.limit_val_batches=1")
    assert outcome.notes == ()
    assert "val/label_acc@1" in outcome.metrics
    checkpoint = _checkpoint(tmp_path)
    assert checkpoint["global_step"] == 2
    assert all(torch.isfinite(tensor).all() for tensor in checkpoint["state_dict"].values() if tensor.is_floating_point())
    config = load_recognition_config(name, ["data.root=/data", *_small_network(name)])
    model = load_model(outcome.last_checkpoint)
    assert model.architecture["name"] == config.model.name
    assert model.preprocessing.num_segments == config.data.num_segments
    assert model.preprocessing.sampling == config.data.sampling


@pytest.mark.parametrize("name", ON_FEATURES)
def test_a_recipe_of_adaptation_trains(name: str, tiny_challenge: Path, tiny_data_sets: Path, tmp_path: Path) -> None:
    root = tiny_challenge if name.endswith("_epic") else tiny_data_sets
    places = [f"data.root={root / 'features'}", f"data.annotations={root / 'annotations'}", f"run.dir={tmp_path}"]
    names = [] if root is tiny_challenge else [f"data.{role}={name}.parquet" for role, name in DATA_SETS.items()]
    settings = [*places, *names, *SMALL_RUN, "data.batch_size=4", "trainer.max_epochs=30", "+trainer.max_steps=2"]
    outcome = train(load_config(name, settings))
    checkpoint = _checkpoint(tmp_path)
    assert checkpoint["global_step"] == 2
    assert all(torch.isfinite(tensor).all() for tensor in checkpoint["state_dict"].values() if tensor.is_floating_point())
    assert not any(note.startswith("schedule") for note in outcome.notes)
    head = "action" if root is tiny_challenge else "label"
    assert f"val/target/{head}_acc@1" in outcome.metrics
    tested = run_test(outcome.last_checkpoint, tmp_path / "r.npz", split="val", accelerator="cpu", devices=1)
    assert tested.metrics[f"{head}_acc@1"] == pytest.approx(outcome.metrics[f"val/target/{head}_acc@1"])


@pytest.mark.parametrize(("name", "num_learning"), [("csn_ek100", 0), ("tsn_rgb", 1)])
def test_frozen_norms_are_frozen_in_a_run(name: str, num_learning: int, tiny_gulp: Path, tmp_path: Path) -> None:
    _train(name, tiny_gulp, tmp_path, "trainer.max_steps=2", "trainer.limit_val_batches=1")
    tensors = _checkpoint(tmp_path)["state_dict"]
    counts = [int(tensor) for key, tensor in tensors.items() if key.endswith("num_batches_tracked")]
    assert len(counts) > 2
    assert sorted(counts, reverse=True) == [2] * num_learning + [0] * (len(counts) - num_learning)


@pytest.mark.parametrize("setting", ["data.transform.test_size=28", "data.test_num_segments=5", "data.num_segments=5"])
def test_views_that_a_network_cannot_take_are_refused_before_training(setting: str, tiny_gulp: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\) must be divisible by (?:tubelet_size|patch_size) \("):
        _train("vivit_fe_k400", tiny_gulp, tmp_path, setting)
    assert not (tmp_path / "checkpoints").exists()


def test_views_have_a_size_of_their_own(tiny_gulp: Path, tmp_path: Path) -> None:
    scores = {}
    for size in ("null", "40"):
        sizes = ("data.transform.resize=40", f"data.transform.test_size={size}", "trainer.max_steps=1")
        checkpoint = _train("tsn_rgb", tiny_gulp, tmp_path / size, *sizes).last_checkpoint
        outcome = run_test(checkpoint, tmp_path / f"{size}.npz", split="val", accelerator="cpu", devices=1)
        assert outcome.results.meta["size"] == (32 if size == "null" else 40)
        scores[size] = outcome.results.scores["label"]
    assert not np.allclose(scores["null"], scores["40"])


def test_a_rate_is_scaled_to_the_batches_of_the_run(tiny_gulp: Path, tmp_path: Path) -> None:
    scaling = ("trainer.max_steps=1", "trainer.accumulate_grad_batches=2", f"optim.lr={LR}", "optim.base_batch_size=64")
    outcome = _train("tsn_rgb", tiny_gulp, tmp_path, *scaling)
    assert outcome.notes == (f"learning rate {LR} x 8/64 = 0.00125: batches of 8 clips, recipe made for 64",)
    groups = _checkpoint(tmp_path)["optimizer_states"][0]["param_groups"]
    assert [group["initial_lr"] for group in groups] == pytest.approx([LR * 8 / 64] * len(groups))


def test_the_verb_says_what_it_scaled_and_which_milestones_are_missed(
    tiny_gulp: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = [
        f"data.root={tiny_gulp}",
        f"run.dir={tmp_path / 'run'}",
        *SMALL,
        *_small_network("tsn_rgb"),
        "trainer.limit_train_batches=1",
    ]
    settings += ["trainer.max_epochs=1", "optim.base_batch_size=8"]
    assert main(["train", "--config-name", "tsn_rgb", *settings]) == 0
    scaled, missed, *_ = capsys.readouterr().out.splitlines()
    assert scaled == "learning rate 0.01 x 4/8 = 0.005: batches of 4 clips, recipe made for 8"
    assert missed.startswith("schedule.milestones: the run of trainer.max_epochs=1 ends before epoch 20, 40, so that ")


def test_a_run_does_not_go_on_with_a_rate_for_other_batches(tiny_gulp: Path, tmp_path: Path) -> None:
    first = _train("tsn_rgb", tiny_gulp, tmp_path / "first", "trainer.max_epochs=1", "trainer.limit_train_batches=1")
    resume = (f"run.resume={first.last_checkpoint}", "trainer.max_epochs=2", "optim.base_batch_size=64")
    with pytest.raises(ConfigError, match=r"the checkpoint's run has a learning rate of 0\.01, and this one 0\.000625 \(optim"):
        _train("tsn_rgb", tiny_gulp, tmp_path / "second", *resume)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["schedule.warmup_epochs=9", "trainer.max_epochs=3"], r"schedule\.warmup_epochs=9 is longer than the run"),
        (
            ["data.transform.test_size=64"],
            r"data\.transform\.test_size=64 is larger than the frames .*resize=32; give 32 or less",
        ),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_anything_is_read(
    settings: list[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        _train("tsn_rgb", tmp_path / "absent", tmp_path / "run", *settings)


def test_norms_that_do_more_are_not_synchronized_in_silence(tiny_gulp: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"sync_batchnorm=true would turn this network's TemporalBatchNorm2d into plain"):
        _train("tada2d_r50_ssv2_8f", tiny_gulp, tmp_path, "+trainer.sync_batchnorm=true", "trainer.max_steps=1")
