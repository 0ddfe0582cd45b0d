"""TorchScript archives: their tensors are read, their code and what else they name is not."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from zoopraxis.errors import CheckpointError
from zoopraxis.models.archives import choose_weights, read_archive

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.*` is deprecated:FutureWarning")


class _Tower(nn.Module):
    """Has what such archives hold: modules in modules, buffers, plain values, lists of one type, and code."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 2, bias=False)
        self.layers = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))
        self.register_buffer("scale", torch.tensor(0.5))
        self.sizes = torch.jit.Attribute([2, 3], list[int])
        self.name = "tower"

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.layers(self.conv1(images).mean((2, 3))) * self.scale * self.sizes[0]
        return features


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_tensors_of_modules_are_read(dtype: torch.dtype, tmp_path: Path) -> None:
    scripted = torch.jit.script(_Tower().to(dtype))
    scripted.save(tmp_path / "tower.pt")
    tensors = read_archive(tmp_path / "tower.pt")["state_dict"]
    expected = scripted.state_dict()
    assert tensors.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(tensors[name], tensor, rtol=0, atol=0, check_dtype=dtype != torch.bfloat16)


def test_what_could_run_code_is_refused_unread(tmp_path: Path) -> None:
    path, mark = tmp_path / "evil.pt", tmp_path / "was_here"
    for program in (
        f"cos\nsystem\n(Vtouch {mark}\ntR.",
        f"c__torch__.os\nsystem\n(Vtouch {mark}\ntR.",
        f"ctorch\nhub\n(Vtouch {mark}\ntR.",
    ):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("evil/data.pkl", program)
            archive.writestr("evil/constants.pkl", f"cos\nsystem\n(Vtouch {mark}\ntR.")
            archive.writestr("evil/code/__torch__.py", f"import os; os.system('touch {mark}')")
        with pytest.raises(CheckpointError, match=r"^cannot read the TorchScript archive: .*evil\.pt is "):
            read_archive(path)
        assert not mark.exists()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("evil/data.pkl", "cos\nsystem\n(Vtouch\ntR.")
        archive.writestr("evil/constants.pkl", "")
    with pytest.raises(CheckpointError, match=r"evil\.pt is refused: it calls for os\.system, .* nothing was run"):
        read_archive(path)


def test_an_archive_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    whole = tmp_path / "tower.pt"
    torch.jit.script(_Tower()).save(whole)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(tmp_path / "cut.pt", "w") as target:
        for name in source.namelist():
            if not name.endswith("data/0"):
                target.writestr(name, source.read(name))
    with pytest.raises(CheckpointError, match=r"cannot read the TorchScript archive: .*cut\.pt is not a readable pickle"):
        read_archive(tmp_path / "cut.pt")


def test_an_archive_whose_table_of_contents_is_broken_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tower.pt"
    torch.jit.script(_Tower()).save(path)
    path.write_bytes(path.read_bytes().replace(b"PK\1\2", b"XXXX", 1))
    with pytest.raises(CheckpointError, match=r"cannot read the checkpoint .*tower\.pt: .* is the file whole\?"):
        read_archive(path)


@pytest.mark.parametrize("average", [None, {}, "none"])
def test_a_file_whose_averaged_weights_are_none_has_none(average: object, tmp_path: Path) -> None:
    path = tmp_path / "last.pth"
    torch.save({"model_state": {"w": torch.ones(2)}, "model_ema_state": average}, path)
    archive = read_archive(path)
    assert choose_weights(archive, path, averaged=None) == (archive["state_dict"], "")
    with pytest.raises(CheckpointError, match=r"last\.pth holds no averaged weights; leave averaged out, or name a file"):
        choose_weights(archive, path, averaged=True)
