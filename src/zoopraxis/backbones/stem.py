"""Changes to the first layers of an image network: other input channels, no max pool."""

from __future__ import annotations

import copy

from torch import Tensor, nn

from zoopraxis.errors import ConfigError

__all__ = ["first_convolution", "inflate_kernel", "remove_stem_pool", "to_clip_kernel", "widen_first_convolution"]

_HALVING_CONVOLUTIONS = {"BasicBlock": "conv1", "Bottleneck": "conv2"}
"""Blocks of timm's ResNets and their layer that halves the resolution where a block does."""


def first_convolution(network: nn.Module) -> tuple[str, nn.Conv2d]:
    """Path and module of the first convolution.

    Raises:
        ConfigError: If there is none.
    """
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            return name, module
    raise ConfigError(f"{type(network).__name__} has no convolution whose input could be widened; choose another backbone")


def inflate_kernel(kernel_OIHW: Tensor, in_channels: int) -> Tensor:
    """A first convolution's kernel for stacked flow: the mean over its input channels, repeated, not rescaled.

    Args:
        kernel_OIHW: Shape (out, in, height, width).
        in_channels: Input channels of the result.

    Returns:
        Shape (out, in_channels, height, width).

    Source: Wang et al., Temporal Segment Networks, ECCV 2016, section 3.2 (cross-modality pre-training).
    """
    return kernel_OIHW.mean(dim=1, keepdim=True).expand(-1, in_channels, -1, -1).contiguous()


def to_clip_kernel(kernel_OIHW: Tensor, *, in_channels: int, num_frames: int) -> Tensor:
    """A first convolution's kernel for clips: all of it on the middle frame, for other input channels by `inflate_kernel`.

    Args:
        kernel_OIHW: Shape (out, in, height, width).
        in_channels: Input channels of the result.
        num_frames: Its frames.

    Returns:
        Shape (out, in_channels, num_frames, height, width).

    Source: Arnab et al., ViViT: A Video Vision Transformer, ICCV 2021, section 3.4 (central frame initialization).
    """
    if kernel_OIHW.shape[1] != in_channels:
        kernel_OIHW = inflate_kernel(kernel_OIHW, in_channels)
    kernel_OITHW = kernel_OIHW.new_zeros(*kernel_OIHW.shape[:2], num_frames, *kernel_OIHW.shape[2:])
    kernel_OITHW[:, :, num_frames // 2] = kernel_OIHW
    return kernel_OITHW


def widen_first_convolution(network: nn.Module, in_channels: int) -> None:
    """Give the network's first convolution another number of input channels by `inflate_kernel`; its bias stays."""
    name, convolution = first_convolution(network)
    widened = copy.deepcopy(convolution)
    widened.in_channels = in_channels
    widened.weight = nn.Parameter(inflate_kernel(convolution.weight.detach(), in_channels))
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, widened)


def remove_stem_pool(network: nn.Module, *, network_name: str) -> None:
    """Take the max pool out of a ResNet's stem and let the first block of its first stage halve the resolution instead.

    The stride goes to the block's spatial convolution and to its shortcut. Where the shortcut is the identity (blocks of two
    convolutions), it becomes a 1x1 convolution with batch norm, `layer1.0.downsample`, which starts from random values. No
    other parameter or name changes, so weights of the plain network load before or after.

    Args:
        network: A `timm.models.resnet.ResNet`; changed in place.
        network_name: For messages.

    Raises:
        ConfigError: If the network is another, or has no max pool in its stem.

    Source: Huang et al., TAda! Temporally-Adaptive Convolutions for Video Understanding, ICLR 2022, the published networks.
    """
    if (type(network).__module__, type(network).__name__) != ("timm.models.resnet", "ResNet"):
        raise ConfigError(f"backbone {network_name!r} is no ResNet whose stem pool could go; choose one of timm's (resnet50)")
    block = network.get_submodule("layer1.0")
    path = _HALVING_CONVOLUTIONS.get(type(block).__name__)
    if path is None or not isinstance(network.maxpool, nn.MaxPool2d):
        raise ConfigError(f"backbone {network_name!r} has no plain max pool in its stem; choose another ResNet (resnet50)")
    network.maxpool = nn.Identity()
    block.stride = 2  # type: ignore[assignment]
    if getattr(block, "downsample", None) is None:
        block.downsample = _shortcut(block)
    _halve(block.get_submodule(path))
    _halve(block.get_submodule("downsample"))


def _halve(layer: nn.Module) -> None:
    """Give a convolution, or the first one in a layer, stride 2."""
    convolution = next(module for module in layer.modules() if isinstance(module, nn.Conv2d))
    convolution.stride = (2, 2)


def _shortcut(block: nn.Module) -> nn.Sequential:
    """A 1x1 convolution with batch norm from the block's input to its output, on the block's device."""
    first, last = block.get_submodule("conv1"), block.get_submodule("conv2")
    assert isinstance(first, nn.Conv2d) and isinstance(last, nn.Conv2d)
    device, dtype = last.weight.device, last.weight.dtype
    convolution = nn.Conv2d(first.in_channels, last.out_channels, 1, bias=False, device=device, dtype=dtype)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(convolution, nn.BatchNorm2d(last.out_channels, device=device, dtype=dtype))
