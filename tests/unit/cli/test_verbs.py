"""What config, train, test and predict hand on, and what they print; the engine is replaced by a recorder."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml

from zoopraxis.cli import console, main
from zoopraxis.cli.test import parse_views
from zoopraxis.config.load import config_to_dict, load_config
from zoopraxis.config.schema import TrainConfig
from zoopraxis.errors import ConfigError
from zoopraxis.evaluation.actions import TopActions
from zoopraxis.evaluation.results import Results


@dataclasses.dataclass
class _Outcome:
    run_dir: Path = Path("runs/x")
    best_checkpoint: Path = Path("runs/x/checkpoints/best.ckpt")
    last_checkpoint: Path = Path("runs/x/checkpoints/last.ckpt")
    metrics: dict[str, float] = dataclasses.field(default_factory=lambda: {"val/verb_acc@1": 87.5})
    resumed: bool = False


@dataclasses.dataclass
class _Options:
    root: str | None
    annotations: str | None
    store: str | None
    fps: float | None
    size: int | None
    num_segments: int | None
    num_clips: int | None
    num_crops: int | None
    average: str | None
    batch_size: int | None
    num_workers: int | None
    quarantine: str | None
    modalities: list[str] | None
    architecture: Any
    embeddings: str | None
    settings: list[str] | None


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Calls of train, test and predict, in order."""
    recorded: list[dict[str, Any]] = []

    def train(config: TrainConfig, **rest: Any) -> _Outcome:
        recorded.append({"config": config, **rest})
        return _Outcome()

    def test(checkpoint: str, results: Path, **rest: Any) -> SimpleNamespace:
        recorded.append({"checkpoint": checkpoint, "results": results, **rest})
        scores = {"verb": np.zeros((3, 2)), "noun": np.zeros((3, 2))}
        one = np.array([[0, 1]] * 3)
        actions = None if rest["options"].num_clips is None else TopActions(one, one, np.array([[0.5, 0.25]] * 3))
        return SimpleNamespace(results=Results(np.array(["a", "b", "c"]), scores, {}, actions), metrics={"verb_acc@1": 50.0})

    def predict(checkpoint: str, video: Path, **rest: Any) -> dict[str, list[tuple[str, float]]]:
        recorded.append({"checkpoint": checkpoint, "video": video, **rest})
        return {"verb": [("open", 0.75), ("close", 0.25)]}

    monkeypatch.setitem(sys.modules, "zoopraxis.training.run", SimpleNamespace(train=train))
    engine = SimpleNamespace(test=test, predict=predict, TestOptions=_Options)
    monkeypatch.setitem(sys.modules, "zoopraxis.training.inference", engine)
    return recorded


def test_config_prints_what_it_reads_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--config-name", "tsm_flow", "data.root=/x", "+trainer.max_steps=5", "optim.lr=0.5"]) == 0
    path = tmp_path / "printed.yaml"
    path.write_text(capsys.readouterr().out)
    assert load_config(str(path)) == load_config("tsm_flow", ["data.root=/x", "+trainer.max_steps=5", "optim.lr=0.5"])


def test_config_prints_a_mandatory_setting_that_is_not_given(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--config-name", "tsn_rgb"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["data"]["root"] == "???"


def test_config_prints_json_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--config-name", "tsn_rgb", "data.root=/x", "--json"]) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert json.loads(out) == config_to_dict(load_config("tsn_rgb", ["data.root=/x"]))


def test_train_hands_on_the_composed_config(calls: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "data.root=/x", "--config-name", "tsm_rgb", "+trainer.max_steps=5", "~trainer.devices"]) == 0
    expected = load_config("tsm_rgb", ["data.root=/x", "+trainer.max_steps=5", "~trainer.devices"])
    assert calls == [{"config": expected, "show_progress": False, "tell": console.say}]
    out = capsys.readouterr().out
    assert "val/verb_acc@1" in out
    assert "87.50" in out
    assert "runs/x/checkpoints/best.ckpt" in out


def test_train_prints_json_for_programs(calls: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--json", "--config-name", "tsm_rgb", "data.root=/x"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert len(calls) == 1
    assert printed["metrics"] == {"val/verb_acc@1": 87.5}
    assert printed["last_checkpoint"] == "runs/x/checkpoints/last.ckpt"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["data.root=/x"], "no recipe is named; add --config-name with one of adabn_epic, bmn_activitynet, "),
        (["--config-name", "tsm_rgb"], "data.root is not given; add it, e.g. data.root=/path/to/the/data"),
        (
            ["--config-name", "tsm_rgb", "data.root=/x", "+trainer.max_epoch=3"],
            "unknown setting trainer.max_epoch=3; did you mean",
        ),
        (["--config-name", "tsm_rgb", "data.root=/x", "optim.lr=-1"], "optim.lr=-1: must be above 0"),
    ],
)
def test_train_refuses_before_anything_is_loaded(
    arguments: list[str], line: str, calls: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *arguments]) == 2
    assert capsys.readouterr().err.startswith(f"zoopraxis: error: {line}")
    assert calls == []


def test_test_hands_on_its_options(tmp_path: Path, calls: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "val.npz"
    options = [
        "--split",
        "test",
        "--views",
        "10x3",
        "--root",
        "/x",
        "--average",
        "prob",
        "--num-workers",
        "0",
        "--devices",
        "2",
    ]
    assert main(["test", "best.ckpt", str(out), *options]) == 0
    (call,) = calls
    given = {key: value for key, value in dataclasses.asdict(call["options"]).items() if value is not None}
    assert given == {"root": "/x", "num_clips": 10, "num_crops": 3, "average": "prob", "num_workers": 0}
    assert (call["checkpoint"], call["results"], call["split"], call["devices"]) == ("best.ckpt", out, "test", 2)
    printed = capsys.readouterr().out
    assert str(out) in printed
    assert "and the best 2 actions of each clip, by the mean of each view's product of verb and noun" in " ".join(
        printed.split()
    )


def test_test_says_which_format_has_no_place_for_actions(
    tmp_path: Path, calls: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["test", "best.ckpt", str(tmp_path / "val.pkl"), "--views", "2x1"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "without the actions by views, for which .pkl has no place; write .npz or .safetensors to keep them" in printed
    assert main(["test", "best.ckpt", str(tmp_path / "val.npz"), "--views", "2x1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["view_actions"] == 2


def test_test_prints_json_for_programs(tmp_path: Path, calls: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "val.npz"
    assert main(["test", "best.ckpt", str(out), "--json"]) == 0
    assert calls[0]["split"] == "val"
    printed = json.loads(capsys.readouterr().out)
    assert printed == {"results": str(out), "num_clips": 3, "metrics": {"verb_acc@1": 50.0}, "view_actions": None}


def test_test_overwrites_only_when_told_to(
    tmp_path: Path, calls: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "val.npz"
    out.touch()
    assert main(["test", "best.ckpt", str(out)]) == 2
    assert "exists already; choose another name, or add --force to overwrite it" in capsys.readouterr().err
    assert calls == []
    assert main(["test", "best.ckpt", str(out), "--force"]) == 0
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["a.ckpt", "out.csv"], "out.csv: the suffix of a results file must be .npz or .safetensors or .pkl or .pt"),
        (["a.ckpt", "out.npz", "--views", "10"], "--views 10: must be CLIPSxCROPS with 1, 3, 5 or 10 crops"),
        (["a.ckpt", "out.npz", "--devices", "0"], "--devices 0: must be a positive number or auto; try --devices 1"),
        (["a.ckpt", "out.npz", "--split", "vall"], "Invalid value for '--split'"),
    ],
)
def test_test_refuses_before_anything_is_loaded(
    arguments: list[str], line: str, calls: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["test", *arguments]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"zoopraxis: error: {line}")
    assert err.count("\n") == 1
    assert calls == []


def test_views_are_read() -> None:
    assert parse_views(None) == (None, None)
    assert parse_views("10x3") == (10, 3)
    for wrong in ("0x1", "2x2", "x", "2X3", "2x3 "):
        with pytest.raises(ConfigError, match="must be CLIPSxCROPS with 1, 3, 5 or 10 crops"):
            parse_views(wrong)


def test_predict_tells_names_and_probabilities(calls: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "best.ckpt", "a.mp4", "--start", "1.5", "--top", "2"]) == 0
    (call,) = calls
    assert call == {
        "checkpoint": "best.ckpt",
        "video": Path("a.mp4"),
        "start_seconds": 1.5,
        "stop_seconds": None,
        "top": 2,
    }
    assert ["open", "75.00"] in [line.split() for line in capsys.readouterr().out.splitlines()]


def test_predict_prints_json_for_programs(calls: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "best.ckpt", "a.mp4", "--json"]) == 0
    assert len(calls) == 1
    printed = json.loads(capsys.readouterr().out)
    assert printed == {"verb": [{"name": "open", "probability": 0.75}, {"name": "close", "probability": 0.25}]}
