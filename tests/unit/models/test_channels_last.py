"""Channels stay innermost in memory from the loader's clip to the heads, and back: the copies that change that are counted.

# B clips, T frames, N = B * T frames in a batch, C channels, H height, W width
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from zoopraxis.models.build import MODELS, create_model, load_families
from zoopraxis.models.preprocessing import normalize

NUM_CLIPS, NUM_FRAMES, SIZE = 2, 5, 48
FLAT = [(SIZE // stride) ** 2 for stride in (2, 4, 8, 16)]
"""Pixels of the feature maps of a ResNet but the last, whose 4 could be anything."""

load_families()


class LayoutCopies(TorchDispatchMode):
    """Counts, by operator, features that are written anew with other than channels innermost, or so enter a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = {t.untyped_storage().data_ptr() for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        made = [t for t in tree_leaves(result) if isinstance(t, Tensor) and t.untyped_storage().data_ptr() not in given]
        name = func.name()
        if "convolution" in name:
            made += args[: 2 if "backward" in name else 1]
        self.counts[name] += sum(not _is_channels_last(tensor) for tensor in made)
        return result

    def total(self) -> int:
        return sum(self.counts.values())


def _is_channels_last(tensor: Tensor) -> bool:
    """True also of all but square feature maps: (N, C, H, W), (B, T, C, H, W) and (B, T, C, H * W)."""
    leading, sides = tuple(tensor.shape[:2]), tuple(tensor.shape[-2:])
    is_square = tensor.ndim > 2 and sides[0] == sides[1] > 1
    if tensor.ndim == 4 and leading[0] == NUM_CLIPS * NUM_FRAMES and is_square:
        return tensor.stride(1) == 1
    if leading == (NUM_CLIPS, NUM_FRAMES) and ((tensor.ndim == 5 and is_square) or (tensor.ndim == 4 and sides[1] in FLAT)):
        return tensor.stride(2) == 1
    return True


def _loaded_clip() -> Tensor:
    """A batch as the loader gives it: uint8, seen as (B, T, C, H, W), channels innermost."""
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (NUM_CLIPS, NUM_FRAMES, SIZE, SIZE, 3), dtype=torch.uint8, generator=generator)
    return frames.movedim(-1, -3)


def _count(model: Any, clip: Tensor) -> tuple[LayoutCopies, LayoutCopies]:
    with LayoutCopies() as forward:
        scores = model(normalize(clip, model.preprocessing))["label"]
    with LayoutCopies() as backward:
        if model.training:
            scores.square().sum().backward()
    return forward, backward


@pytest.mark.parametrize("backbone", ["resnet26", "resnet18"])
@pytest.mark.parametrize("name", [name for name in MODELS.names() if not MODELS.get(name).variants])
def test_no_features_are_copied_into_another_layout(name: str, backbone: str) -> None:
    """Backward one is: the gradient of the mean over positions before the heads, the smallest features of all."""
    model = create_model(name, backbone=backbone, num_segments=NUM_FRAMES, heads={"label": 5})
    forward, _ = _count(model.eval(), _loaded_clip())
    assert forward.total() == 0, forward.counts
    forward, backward = _count(model.train(), _loaded_clip())
    assert forward.total() == 0, forward.counts
    assert backward.total() <= 1, backward.counts


def test_a_temporal_pool_copies_nothing() -> None:
    model = create_model("tsm", backbone="resnet18", num_segments=NUM_FRAMES, temporal_pool=True, heads={"label": 5})
    forward, backward = _count(model.train(), _loaded_clip())
    assert forward.total() == 0, forward.counts
    assert backward.total() <= 1, backward.counts


def test_a_copy_is_seen() -> None:
    model = create_model("tsn", backbone="resnet18", num_segments=NUM_FRAMES, heads={"label": 5})
    model.backbone.network.layer2.register_forward_hook(lambda _, inputs, maps: maps.contiguous())
    forward, _ = _count(model.eval(), _loaded_clip())
    assert forward.counts["aten::clone"] == 1
    assert forward.counts["aten::convolution"] == 20  # it spreads: in and out of the ten convolutions behind it


def test_the_plain_layout_stays_too() -> None:
    """A clip with channels outermost is worked on as it is: nothing is converted behind the user's back."""
    model = create_model("tsm", backbone="resnet18", num_segments=NUM_FRAMES, heads={"label": 5}).eval()
    seen: list[Tensor] = []
    convolution = model.backbone.network.get_submodule("layer4.1.conv2")
    assert isinstance(convolution, nn.Conv2d)
    convolution.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(torch.rand(NUM_CLIPS, NUM_FRAMES, 3, SIZE, SIZE))
    assert seen[0].is_contiguous()
