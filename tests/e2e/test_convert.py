"""A published checkpoint becomes one of ours on the command line, and stands where a checkpoint is asked for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import torch

from zoopraxis.models import create_model, load_model


def _convert(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "zoopraxis", "convert", *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_a_published_trn_is_converted_and_a_wrong_name_refused(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = create_model("trn", heads={"verb": 97, "noun": 300}, backbone="resnet18", num_segments=3).eval()
    renamed = {"backbone.network.": "base_model.", "projection.": "new_fc.", "relation.": "consensus."}
    state = {}
    for key, tensor in model.state_dict().items():
        ours = next(prefix for prefix in renamed if key.startswith(prefix))
        state[f"model.{renamed[ours]}{key.removeprefix(ours)}"] = tensor
    published, out = tmp_path / "trn.ckpt", tmp_path / "trn.safetensors"
    torch.save({"state_dict": state, "hyper_parameters": {"model": {"type": "MTRN"}, "data": {"frame_count": 3}}}, published)

    done = _convert(published, out, "--architecture", "trn", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["found"] == "a TRN network (resnet18, 3 segments) in the layout of the EPIC baselines"
    assert told["model"]["heads"] == {"verb": 97, "noun": 300}
    clip = torch.randn(1, 3, 3, 32, 32)
    loaded = load_model(out)
    for head, logits in model(clip).items():
        torch.testing.assert_close(loaded(clip)[head], logits)

    refused = _convert(out, tmp_path / "other.safetensors", "--architecture", "tanet")
    held = f"{out} holds a TRN network (resnet18, 3 segments), not a TANet network"
    line = f"{held}; name a checkpoint of one, or leave the name out"
    assert (refused.returncode, refused.stdout, refused.stderr) == (2, "", f"zoopraxis: error: {line}\n")
    assert not (tmp_path / "other.safetensors").exists()
