"""Composing settings: what is taken, and what is refused with which line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from zoopraxis.config.load import config_from_dict, config_to_dict, config_to_yaml, load_config, recipe_names
from zoopraxis.config.schema import TrainConfig
from zoopraxis.errors import ConfigError

ROOT = "data.root=/data"


def _refusal(*overrides: str, name: str | None = "tsn_rgb") -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(name, [ROOT, *overrides])
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_without_a_recipe_the_defaults_of_the_schema_stand() -> None:
    assert load_config(None, [ROOT, "run.dir=x"]) == config_from_dict({"data": {"root": "/data"}, "run": {"dir": "x"}})


def test_a_recipe_names_the_run_and_interpolations_are_resolved() -> None:
    config = load_config("tsm_rgb", [ROOT])
    assert (config.run.name, config.run.dir) == ("tsm_rgb", "runs/tsm_rgb")
    assert load_config("tsm_rgb", [ROOT, "run.name=again"]).run.dir == "runs/again"


@pytest.mark.parametrize(
    ("override", "path", "expected"),
    [
        ("optim.lr=1e-3", "optim.lr", 1e-3),
        ("optim.lr=1", "optim.lr", 1.0),
        ("seed=7", "seed", 7),
        ("run.name=2024", "run.name", "2024"),
        ("compile=true", "compile", True),
        ("data.test_num_segments=null", "data.test_num_segments", None),
        ("schedule.milestones=[5,10]", "schedule.milestones", [5.0, 10.0]),
        ("model.heads={verb:97,noun:300}", "model.heads", {"verb": 97, "noun": 300}),
        ("+model.args.alpha=2", "model.args", {"alpha": 2}),
        ("model.args.alpha=2", "model.args", {"alpha": 2}),
        ("trainer.devices=2", "trainer.devices", 2),
        ("trainer.devices=[0,1]", "trainer.devices", [0, 1]),
        ("trainer.devices=auto", "trainer.devices", "auto"),
        ("trainer.precision=bf16-mixed", "trainer.precision", "bf16-mixed"),
        ("trainer.precision=16", "trainer.precision", 16),
        ("+trainer.max_steps=5", "trainer.max_steps", 5),
        ("trainer.max_steps=5", "trainer.max_steps", 5),
        ("+trainer.max_epochs=3", "trainer.max_epochs", 3),
        ("+trainer.limit_train_batches=0.25", "trainer.limit_train_batches", 0.25),
        ("+trainer.max_time=00:12:00:00", "trainer.max_time", "00:12:00:00"),
        ("+model.weights=old.ckpt", "model.weights", "old.ckpt"),
        ("model.weights=runs/epoch=3.ckpt", "model.weights", "runs/epoch=3.ckpt"),
        ("data.train=Küche (1)/it's.csv", "data.train", "Küche (1)/it's.csv"),
        ("data.train='a,b.csv'", "data.train", "a,b.csv"),
    ],
)
def test_an_override_is_taken(override: str, path: str, expected: object) -> None:
    value: object = config_to_dict(load_config("tsn_rgb", [ROOT, override]))
    for key in path.split("."):
        assert isinstance(value, dict)
        value = value[key]
    assert value == expected
    assert type(value) is type(expected)


def test_a_home_folder_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert load_config("tsn_rgb", ["data.root=~/gulp"]).data.root == "/home/me/gulp"


def test_a_later_override_wins() -> None:
    assert load_config("tsn_rgb", [ROOT, "optim.lr=1", "optim.lr=2"]).optim.lr == 2


def test_a_deleted_argument_is_gone_and_a_deleted_setting_has_its_default() -> None:
    config = load_config("tsn_rgb", [ROOT, "~trainer.gradient_clip_val", "~data.test_num_segments", "~optim"])
    assert "gradient_clip_val" not in config.trainer
    assert config.trainer["max_epochs"] == 80
    assert config.data.test_num_segments is None
    assert config.optim == TrainConfig().optim


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("data.rot=x", "unknown setting data.rot=x; did you mean data.root?"),
        ("+data.rot=x", "unknown setting data.rot=x; did you mean data.root?"),
        ("~data.rot", "unknown setting data.rot; did you mean data.root?"),
        ("lr=0.1", "unknown setting lr=0.1; did you mean optim.lr?"),
        ("max_epochs=3", "unknown setting max_epochs=3; did you mean trainer.max_epochs?"),
        ("transform.sise=3", "unknown setting transform.sise=3; did you mean data.transform.size?"),
        (
            "zzz=3",
            "unknown setting zzz=3; known: compile, data, ema, loss, mix, model, optim, run, schedule, seed, task, trainer, "
            "views",
        ),
        ("trainer.max_epoch=3", "unknown setting trainer.max_epoch=3; did you mean trainer.max_epochs?"),
        ("+trainer.max_epoch=3", "unknown setting trainer.max_epoch=3; did you mean trainer.max_epochs?"),
        ("trainer.gpus=4", "unknown setting trainer.gpus=4; the setting is called trainer.devices"),
        ("learning.batch_size=64", "unknown setting learning.batch_size=64; the setting is called data.batch_size"),
        ("data._root_gulp_dir=/x", "unknown setting data._root_gulp_dir=/x; the setting is called data.root"),
        ("+trainer.logger=true", "trainer.logger=true: the run sets this itself; use run.loggers"),
        ("+trainer.callbacks=[]", "trainer.callbacks=[]: the run sets this itself; leave it out"),
        ("hydra.run.dir=x", "hydra.run.dir=x: Hydra's own settings have no effect here; the run's folder is run.dir=PATH"),
        ("optim.lr=abc", "optim.lr=abc: must be a number"),
        ("optim.lr=null", "optim.lr=null: must be a number"),
        ("optim.lr=true", "optim.lr=true: must be a number"),
        ("optim.lr=inf", "optim.lr=Infinity: must be finite"),
        ("optim.lr=-1", "optim.lr=-1: must be above 0"),
        ("optim.momentum=1.5", "optim.momentum=1.5: must be at most 1"),
        ("model.dropout=1", "model.dropout=1: must be below 1"),
        ("data.batch_size=0", "data.batch_size=0: must be at least 1"),
        ("data.batch_size=1.5", "data.batch_size=1.5: must be a whole number"),
        ("model.std=[1,-1,2]", "model.std[1]=-1: must be above 0"),
        ("model.std=3", "model.std=3: must be a list such as [a,b]"),
        ("model.heads.verb=0", "model.heads.verb=0: must be at least 1"),
        ("run.name=[a]", 'run.name=["a"]: must be text'),
        ("compile=perhaps", "compile=perhaps: must be true or false"),
        ("optim=sgd", "optim=sgd: must be a table of settings"),
        ("trainer=3", "trainer=3: must be a table such as {a:b}"),
        ("trainer.max_epochs=abc", "trainer.max_epochs=abc: must be a whole number"),
        ("trainer.devices=true", "trainer.devices=true: must be a number"),
        ("trainer.limit_val_batches=1.5", "trainer.limit_val_batches=1.5: must be a whole number or at most 1"),
        ("trainer.precision=bf16-mixd", "trainer.precision=bf16-mixd is no choice; did you mean 'bf16-mixed'?"),
        ("data.store=zip", "data.store=zip is no choice; known: frames, gulp, video"),
        ("data.store=gulpp", "data.store=gulpp is no choice; did you mean 'gulp'?"),
        ("views.num_crops=2", "views.num_crops=2 is no choice; known: 1, 10, 3, 5"),
        ("data.root=", "data.root= is empty; give it a value or leave it out"),
        ("optim.lr=1,2", "optim.lr=1,2: a run takes one value; write a list as [a,b], or text with a comma as \"'a,b'\""),
        ("data.root", "cannot read the override 'data.root'; write key=value, +key=value or ~key"),
        ("=3", "cannot read the override '=3'; write key=value, +key=value or ~key"),
        ("data.val=[1", "cannot read the override 'data.val=[1'; write key=value, +key=value or ~key"),
        ("run.dir=${run.nme}", "run.dir: Interpolation key 'run.nme' not found"),
    ],
)
def test_an_override_is_refused_in_one_line(override: str, line: str) -> None:
    assert _refusal(override) == line


def test_an_unknown_setting_without_a_like_names_its_neighbors() -> None:
    line = _refusal("+model.extra=1")
    assert line.startswith("unknown setting model.extra=1; known: model.args, model.backbone, ")


def test_an_unknown_recipe_is_refused_with_the_nearest() -> None:
    assert _refusal(name="tsm_rbg") == "unknown recipe 'tsm_rbg'; did you mean 'tsm_rgb'?"
    assert _refusal(name="zzz") == f"unknown recipe 'zzz'; known: {', '.join(recipe_names())}"
    assert _refusal(name="no/such.yaml") == (
        "there is no config file 'no/such.yaml'; give a recipe's name or the path of a .yaml file"
    )


def test_a_mandatory_setting_must_be_given_unless_it_may_be_missing() -> None:
    with pytest.raises(ConfigError, match=r"^data\.root is not given; add it, e\.g\. data\.root=/path/to/the/data$"):
        load_config("tsn_rgb")
    with pytest.raises(ConfigError, match=r"^data\.train refers to a setting that is not given: data\.root$"):
        load_config("tsn_rgb", ["data.train=${data.root}/train.csv"])
    assert load_config("tsn_rgb", allow_missing=True).data.root == "???"


def test_a_file_of_ones_own_builds_on_a_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "my configs"
    folder.mkdir()
    (folder / "mine.yaml").write_text("defaults: [tsm_flow, _self_]\ndata: {root: /data, batch_size: 4}\n")
    monkeypatch.chdir(tmp_path)
    config = load_config("my configs/mine.yaml", ["optim.lr=1"])
    assert (config.run.name, config.model.name, config.data.modality) == ("mine", "tsm", "flow")
    assert (config.data.batch_size, config.optim.lr) == (4, 1)
    assert load_config("mine", config_dir=folder).data.batch_size == 4
    assert load_config("tsn_rgb", [ROOT], config_dir=folder).model.name == "tsn"


def test_a_folder_of_ones_own_may_hold_config_groups(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "kitchen.yaml").write_text("root: /kitchen\n")
    assert load_config("tsn_rgb", ["+data=kitchen"], config_dir=tmp_path).data.root == "/kitchen"


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"data: {rot: 1}", "unknown setting data.rot=1; did you mean data.root?"),
        (b"optim: {lr: high}", "optim.lr=high: must be a number"),
        (b"defaults: [tsm_rbg]", "unknown recipe 'tsm_rbg' in the defaults of 'mine'; did you mean 'tsm_rgb'?"),
        (b"defaults: [mine]", "the config 'mine' has itself in its defaults; rename the file or the entry"),
        (b"data: {root: 1", "cannot read the YAML of 'mine': while parsing a flow mapping"),
        (b"data: {root: '\xff'}", "cannot read the YAML of 'mine': 'utf-8' codec can't decode byte 0xff"),
        (b"- data", "In 'mine': ConfigTypeError raised while composing config: Cannot merge DictConfig with ListConfig"),
    ],
)
def test_a_broken_file_is_refused_in_one_line(tmp_path: Path, content: bytes, line: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    assert _refusal(name=str(path)).startswith(line)


def test_a_missing_config_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"the config folder .*nowhere does not exist"):
        load_config("tsn_rgb", [ROOT], config_dir=tmp_path / "nowhere")


def test_yaml_reads_back_as_the_same_config(tmp_path: Path) -> None:
    config = load_config("tsm_flow", [ROOT, "trainer.max_epochs=3", "model.heads={verb: 8}"])
    path = tmp_path / "stored.yaml"
    path.write_text(config_to_yaml(config))
    assert load_config(str(path)) == config


def test_a_stored_table_reads_back_and_is_judged() -> None:
    config = load_config("tsm_flow", [ROOT])
    table = config_to_dict(config)
    assert config_from_dict(table) == config
    table["optim"]["lr"] = -1
    with pytest.raises(ConfigError, match=r"^optim\.lr=-1: must be above 0$"):
        config_from_dict(table)


def test_hydras_global_state_is_left_as_it_was() -> None:
    assert not GlobalHydra.instance().is_initialized()
    load_config("tsn_rgb", [ROOT])
    _refusal("data.rot=1")
    assert not GlobalHydra.instance().is_initialized()


def test_an_applications_own_hydra_is_left_as_it_was() -> None:
    from hydra import initialize

    with initialize(version_base="1.3"):
        outer = GlobalHydra.instance().hydra
        assert load_config("tsn_rgb", [ROOT]).model.name == "tsn"
        assert GlobalHydra.instance().hydra is outer


def test_shared_parts_are_no_recipes() -> None:
    assert {"tsm_flow", "tsm_rgb", "tsn_flow", "tsn_rgb", "tada2d_r50_k400_8x8", "tanet_r50_sthv1_8f"} <= set(recipe_names())
    assert not any(name.startswith("_") for name in recipe_names())
