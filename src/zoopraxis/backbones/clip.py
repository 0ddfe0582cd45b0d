"""What every network over whole clips has in common.

# B clips, T frames, C channels, H height, W width, D features
"""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["ClipBackbone"]


class ClipBackbone(nn.Module):
    """Base of the networks that look at whole clips: (B, T, C, H, W) to features (B, D).

    Args:
        num_features: D.
        in_channels: C.

    Attributes:
        grad_checkpointing: Whether the blocks' activations are computed again in the backward pass instead of being kept.
    """

    def __init__(self, *, num_features: int, in_channels: int) -> None:
        super().__init__()
        self.num_features = num_features
        self.in_channels = in_channels
        self.grad_checkpointing = False

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Trade time for memory in training: see `grad_checkpointing`."""
        self.grad_checkpointing = enable

    def check_clip(self, clip_BTCHW: Tensor) -> None:
        """Refuse what is no clip that the network can take.

        Raises:
            ValueError: If the tensor has another number of axes or channels, or `check_view` refuses its length or size.
        """
        if clip_BTCHW.ndim != 5 or clip_BTCHW.shape[2] != self.in_channels:
            raise ValueError(f"a clip must have shape (B, T, {self.in_channels}, H, W), not {tuple(clip_BTCHW.shape)}")
        self.check_view(clip_BTCHW.shape[1], *clip_BTCHW.shape[3:])

    def check_view(self, num_frames: int, height: int, width: int) -> None:
        """Refuse a length or size that the network cannot take; most take any.

        Raises:
            ValueError: With the value, what it must be and the nearest that is.
        """
