"""`zoopraxis convert`: what it writes, what it prints, what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from zoopraxis.cli import main
from zoopraxis.models import VideoModel, create_model, load_model, model_record


@pytest.fixture
def published(tmp_path: Path) -> tuple[VideoModel, Path]:
    """A TSN with its heads in one linear map, as the EPIC baselines name it."""
    torch.manual_seed(0)
    model = create_model("tsn", heads={"verb": 2, "noun": 3}, backbone="resnet18").eval()
    state = {f"model.base_model.{key}": tensor for key, tensor in model.backbone.network.state_dict().items()}
    for part in ("weight", "bias"):
        state[f"model.new_fc.{part}"] = torch.cat([getattr(c, part).detach() for c in model.classifiers.values()])
    path = tmp_path / "tsn.ckpt"
    torch.save({"state_dict": state}, path)
    return model, path


def _says(capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    captured = capsys.readouterr()
    return captured.out, captured.err


def test_a_published_file_becomes_one_of_ours(
    published: tuple[VideoModel, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, path = published
    out = tmp_path / "deep" / "tsn.safetensors"
    hints = ["--architecture", "heads={verb: 2, noun: 3}", "--architecture", "num_segments=3"]
    assert main(["convert", str(path), str(out), *hints]) == 0
    assert _says(capsys)[0].splitlines() == [
        "found a TSN network (resnet18, 3 segments) in the layout of the EPIC baselines; 11.18M parameters, "
        "classes: 2 of verb, 3 of noun",
        f"weights with their record: {out}",
    ]
    loaded, direct = load_model(out), load_model(path, architecture={"heads": {"verb": 2, "noun": 3}, "num_segments": 3})
    assert loaded.preprocessing == direct.preprocessing
    assert loaded.architecture == direct.architecture
    clip = torch.randn(1, 2, 3, 32, 32)
    for head, logits in model(clip).items():
        torch.testing.assert_close(loaded(clip)[head], logits)


def test_a_program_is_told_in_one_line(
    published: tuple[VideoModel, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "tsn.safetensors"
    assert main(["convert", str(published[1]), str(out), "--architecture", "tsn", "--json"]) == 0
    told = json.loads(_says(capsys)[0])
    assert told["weights"] == str(out)
    assert told["found"] == "a TSN network (resnet18, 8 segments) in the layout of the EPIC baselines"
    assert (told["model"]["name"], told["model"]["heads"], told["preprocessing"]["size"]) == ("tsn", {"label": 5}, 224)
    assert told["parameters"] == sum(tensor.numel() for tensor in published[0].parameters())


def test_of_a_training_checkpoint_the_averaged_weights_and_class_names_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = create_model("tsm", heads={"label": 2}, backbone="test_resnet")
    state: dict[str, Any] = {f"model.{key}": tensor for key, tensor in model.state_dict().items()}
    state |= {key.replace("model.", "ema.", 1): tensor + 1 for key, tensor in state.items()}
    record = model_record(model, class_names={"label": ["open", "close"]}, config={"seed": 7})
    torch.save({"state_dict": state, "zoopraxis": record, "optimizer_states": [{}]}, tmp_path / "last.ckpt")
    assert main(["convert", str(tmp_path / "last.ckpt"), str(tmp_path / "tsm.safetensors")]) == 0
    loaded = load_model(tmp_path / "tsm.safetensors")
    assert loaded.class_names == {"label": ("open", "close")}
    assert loaded.record["config"] == {"seed": 7}
    torch.testing.assert_close(loaded.classifiers.label.bias, model.classifiers.label.bias + 1)
    assert "in the layout of Zoopraxis" in _says(capsys)[0]
    assert main(["convert", str(tmp_path / "last.ckpt"), str(tmp_path / "plain.safetensors"), "--last"]) == 0
    plain = load_model(tmp_path / "plain.safetensors")
    torch.testing.assert_close(plain.classifiers.label.bias, model.classifiers.label.bias)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{path}", "{folder}/out.pth"], "out.pth: the suffix of converted weights must be .safetensors"),
        (["{folder}/no.ckpt", "{folder}/out.safetensors"], "there is no checkpoint"),
        (["{path}", "{folder}/there.safetensors"], "there.safetensors exists already; choose another name, or add --force"),
        (["{path}", "{folder}/out.safetensors", "--architecture", "tsm"], "holds a TSN network (resnet18) in the layout of"),
        (
            ["{path}", "{folder}/out.safetensors", "--architecture", "shift=4"],
            "model 'tsn' has no argument 'shift'; known: backbone_args, temporal_args",
        ),
        (
            ["{path}", "{folder}/out.safetensors", "--architecture", "heads=verb"],
            "the architecture's heads ('verb') must be a table of numbers of classes, e.g. {verb: 97, noun: 300}",
        ),
        (
            ["{path}", "{folder}/out.safetensors", "--architecture", "heads={"],
            "--architecture heads={: the value is not readable; try --architecture num_segments=16",
        ),
    ],
)
def test_bad_input_is_met_with_one_line_and_no_file(
    published: tuple[VideoModel, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    there = tmp_path / "there.safetensors"
    there.write_bytes(b"mine")
    assert (
        main(["convert", *(text.replace("{path}", str(published[1])).replace("{folder}", str(tmp_path)) for text in arguments)])
        == 2
    )
    out, err = _says(capsys)
    assert out == ""
    assert err.count("\n") == 1
    assert message in err
    assert not (tmp_path / "out.safetensors").exists()
    assert there.read_bytes() == b"mine"
    assert main(["convert", str(published[1]), str(there), "--force"]) == 0
    assert load_model(there).heads == {"label": 5}
