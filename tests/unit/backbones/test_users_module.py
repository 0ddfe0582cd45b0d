"""A temporal module from a user's own package: one short file and an entry point."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

MODULE = """
import torch
from torch import Tensor, nn

from zoopraxis.temporal import TEMPORAL, TemporalKind


class Blend(nn.Module):
    \"\"\"Blends each channel with itself one frame earlier and later; the identity at birth.\"\"\"

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.zeros(channels, 2))

    def forward(self, features: Tensor) -> Tensor:
        before, after = self.mix.view(-1, 2, *[1] * (features.ndim - 3)).unbind(1)
        earlier = torch.cat([torch.zeros_like(features[:, :1]), features[:, :-1]], dim=1)
        later = torch.cat([features[:, 1:], torch.zeros_like(features[:, :1])], dim=1)
        return features + before * earlier + after * later


TEMPORAL.register("blend")(TemporalKind(build=lambda channels, num_frames: Blend(channels), site="branch_input"))
"""
USE = """
import torch

from zoopraxis import create_model
from zoopraxis.temporal import TEMPORAL

for backbone in ("test_convnext2", "test_vit"):
    args = {"img_size": 32} if backbone == "test_vit" else {}
    options = {"backbone": backbone, "heads": {"label": 5}, "backbone_args": args}
    torch.manual_seed(0)
    plain = create_model("tsn", **options).eval()
    torch.manual_seed(0)
    blend = create_model("tsn", temporal="blend", **options).eval()
    clips = torch.rand(1, 4, 3, 32, 32)
    assert torch.equal(blend(clips)["label"], plain(clips)["label"])
    print(len(blend.backbone.hosts), sum(key.endswith(".temporal.mix") for key in blend.state_dict()))
print("blend" in TEMPORAL.names(), blend.architecture["temporal"])
"""


def _run(program: str, path: Path) -> str:
    source = Path(__file__).parents[3] / "src"
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(path), str(source)])}
    result = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder as an installer leaves it: the module, and metadata with the entry point."""
    (tmp_path / "my_blend.py").write_text(MODULE, encoding="utf-8")
    info = tmp_path / "my_blend-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-blend\nVersion: 0.1\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[zoopraxis.temporal]\nblend = my_blend\n", encoding="utf-8")
    return tmp_path


def test_a_module_in_under_forty_lines_registers_by_an_entry_point(installed: Path) -> None:
    assert len(MODULE.strip().splitlines()) < 40
    assert _run(USE, installed).splitlines() == ["4 4", "6 6", "True blend"]
