"""What a network costs: its parameters, its multiply-adds and, on the machine at hand, its speed.

# B clips, T frames, C channels, H height, W width
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
    UnsupportedOperatorException,
)
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from zoopraxis.errors import ConfigError
from zoopraxis.models.base import VideoModel

__all__ = ["ModelCost", "ModelSpeed", "measure_cost", "measure_speed"]

_NEEDS_VALUES = (DataDependentOutputException, DynamicOutputShapeException, UnsupportedOperatorException)


@dataclass(frozen=True, kw_only=True)
class ModelCost:
    """What a network costs by count; the same on every machine.

    Attributes:
        num_parameters: Numbers in its parameters; buffers do not count.
        num_trainable: Of these, those that training changes (`partial_bn` freezes some).
        gmacs: Billions of multiply-adds for one view of one clip: what papers mostly call GFLOPs.
        num_frames: Frames of that view.
        size: Its height and width, px.
    """

    num_parameters: int
    num_trainable: int
    gmacs: float
    num_frames: int
    size: int


@dataclass(frozen=True, kw_only=True)
class ModelSpeed:
    """How fast a network scores clips here and now; numbers of other machines, or of a busy one, do not compare.

    Attributes:
        clips_per_second: Views of one clip, from the median of a few runs.
        peak_memory: Most bytes that the device held during a run, weights included; none where the device does not tell (CPU).
        device: Where it ran.
        batch_size: Clips of one run.
        num_frames: Frames of a view.
        size: Its height and width, px.
    """

    clips_per_second: float
    peak_memory: int | None
    device: str
    batch_size: int
    num_frames: int
    size: int


def measure_cost(model: VideoModel, *, num_frames: int | None = None, size: int | None = None) -> ModelCost:
    """Count a network's parameters and the multiply-adds of one view.

    Counted are convolutions, linear maps and matrix products, wherever the forward pass runs them, so also inside
    `torch.autograd.Function`s; norms, activations, sums and products by element are not, as in published tables. Nothing is
    computed: the pass runs on shapes alone, and a network on the device `meta` is counted, too. Only where a network's course
    hangs on values (`if x.max() > 0`) it runs for real.

    Args:
        model: Any network of ours or of a user's own; it is left as it was.
        num_frames: Frames of the view; none: as many as it was trained with.
        size: Height and width of the view, px; none: as `model.preprocessing` has it.

    Raises:
        ConfigError: If `num_frames` or `size` is below 1.
    """
    shape = _view_shape(model, 1, num_frames, size)
    parameters = list(model.parameters())
    probe = _probe(model)
    counter = FlopCounterMode(display=False)
    with (
        torch.no_grad(),
        sdpa_kernel(SDPBackend.MATH),
    ):  # as matrix products: not every release counts the others on every device
        try:
            with FakeTensorMode(allow_non_fake_inputs=True), counter:
                probe(torch.zeros(shape, device=_device(model)))
        except _NEEDS_VALUES:
            with counter:
                probe(torch.zeros(shape, device=_device(model)))
    return ModelCost(
        num_parameters=sum(parameter.numel() for parameter in parameters),
        num_trainable=sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
        gmacs=counter.get_total_flops() / 2 / 1e9,
        num_frames=shape[1],
        size=shape[-1],
    )


def measure_speed(
    model: VideoModel,
    *,
    num_frames: int | None = None,
    size: int | None = None,
    batch_size: int = 1,
    num_runs: int = 5,
) -> ModelSpeed:
    """Time a network's forward pass where it is, in evaluation mode and its own precision, after one run to warm up.

    Args:
        model: The network; it is left as it was.
        num_frames: Frames of a view; none: as many as it was trained with.
        size: Height and width of a view, px; none: as `model.preprocessing` has it.
        batch_size: Clips of one run.
        num_runs: Runs, of which the median counts.

    Raises:
        ConfigError: If a number is below 1, or the network has no weights (device `meta`).
    """
    if num_runs < 1:
        raise ConfigError(f"num_runs ({num_runs}) must be at least 1")
    device = _device(model)
    if device.type == "meta":
        raise ConfigError("a network on the device 'meta' has no weights and cannot run; build it without torch.device('meta')")
    batch, frames, channels, height, width = _view_shape(model, batch_size, num_frames, size)
    clip_BTHWC = torch.rand((batch, frames, height, width, channels), generator=torch.Generator().manual_seed(0))
    clip_BTCHW = clip_BTHWC.permute(0, 1, 4, 2, 3).to(device)  # channels last, as readers give them
    with _evaluating(model):
        _timed(model, clip_BTCHW)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        seconds = statistics.median(_timed(model, clip_BTCHW) for _ in range(num_runs))
    return ModelSpeed(
        clips_per_second=batch / seconds,
        peak_memory=torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
        device=str(device),
        batch_size=batch,
        num_frames=frames,
        size=height,
    )


def _timed(model: VideoModel, clip_BTCHW: Tensor) -> float:
    """Seconds of one forward pass."""
    start = time.perf_counter()
    model(clip_BTCHW)
    if clip_BTCHW.device.type != "cpu":
        torch.accelerator.synchronize(clip_BTCHW.device)
    return time.perf_counter() - start


def _view_shape(model: VideoModel, batch_size: int, num_frames: int | None, size: int | None) -> tuple[int, int, int, int, int]:
    """The shape (B, T, C, H, W) of a view."""
    frames = model.preprocessing.num_segments if num_frames is None else num_frames
    side = model.preprocessing.size if size is None else size
    for name, value in (("batch_size", batch_size), ("num_frames", frames), ("size", side)):
        if value < 1:
            raise ConfigError(f"{name} ({value}) must be at least 1")
    return batch_size, frames, model.preprocessing.in_channels, side, side


def _probe(model: VideoModel) -> VideoModel:
    """A copy that shares the network's tensors, in evaluation mode and not compiled: what a pass leaves in it goes with it."""
    tensors = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    return copy.deepcopy(model, tensors).eval()


def _device(model: VideoModel) -> torch.device:
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


@contextmanager
def _evaluating(model: VideoModel) -> Iterator[None]:
    """Evaluation mode without gradients inside the block; afterwards each module is in the mode that it was in before."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
