"""Checkpoints on disk: whole or not there, and read without running what they hold."""

from __future__ import annotations

import io
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from zoopraxis.errors import CheckpointError
from zoopraxis.files import write_bytes

__all__ = ["SafeCheckpointIO", "read_checkpoint"]


class SafeCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint in one step (temporary file, fsync, rename) and reads tensors and plain values only."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        write_bytes(path, buffer.getvalue())

    def load_checkpoint(
        self, path: str | Path, map_location: Any | None = "cpu", weights_only: bool | None = True
    ) -> dict[str, Any]:
        return read_checkpoint(path)


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The contents of a training checkpoint, on the CPU.

    Raises:
        CheckpointError: If the file is missing, broken, or holds more than tensors and plain values.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"there is no checkpoint {path}") from None
    except (RuntimeError, OSError, EOFError, ValueError, UnpicklingError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"cannot read the checkpoint {path}: {reason}; remove it to start afresh") from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise CheckpointError(f"{path} is no training checkpoint: it has no state_dict")
    return checkpoint
