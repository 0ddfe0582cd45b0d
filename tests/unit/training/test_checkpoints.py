from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from zoopraxis.errors import CheckpointError
from zoopraxis.training.checkpoints import SafeCheckpointIO, read_checkpoint


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("was-run",)


def test_what_is_saved_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "last.ckpt"
    SafeCheckpointIO().save_checkpoint({"state_dict": {"w": torch.arange(3)}, "epoch": 2}, path)
    checkpoint = SafeCheckpointIO().load_checkpoint(path)
    assert checkpoint["epoch"] == 2
    assert checkpoint["state_dict"]["w"].tolist() == [0, 1, 2]
    assert [entry.name for entry in path.parent.iterdir()] == ["last.ckpt"]


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {}, "evil": _Evil()}, "evil.ckpt")
    with pytest.raises(CheckpointError, match=r"cannot read the checkpoint evil\.ckpt"):
        read_checkpoint("evil.ckpt")
    assert not Path("was-run").exists()


def test_a_truncated_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    SafeCheckpointIO().save_checkpoint({"state_dict": {"w": torch.zeros(1000)}}, path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(CheckpointError, match=r"cannot read the checkpoint .*remove it to start afresh"):
        read_checkpoint(path)


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        read_checkpoint(tmp_path / "absent.ckpt")


def test_a_file_without_weights_is_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 1}, tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match="it has no state_dict"):
        read_checkpoint(tmp_path / "other.ckpt")
