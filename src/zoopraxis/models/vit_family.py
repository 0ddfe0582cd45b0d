"""What the video transformers grown from ViT share: their numbers, initial weights of image networks, telling checkpoints.

# t, h, w tubelets along time, height and width; D features
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from zoopraxis.backbones.image import to_clip_kernel
from zoopraxis.backbones.tubelets import resize_frame_positions, resize_grid_positions, resize_time_positions
from zoopraxis.backbones.vivit import FactorizedViViT, JointTransformer
from zoopraxis.errors import CheckpointError, ConfigError, did_you_mean
from zoopraxis.models.base import VideoModel
from zoopraxis.models.build import ModelArguments
from zoopraxis.models.inference import table

__all__ = [
    "TUBELET_INITS",
    "adapt_positions",
    "check_tubelet_init",
    "count_layers",
    "expand_vit",
    "infer_numbers",
    "joint_grid",
    "numbers_of_layers",
    "without_variant",
]

TUBELET_INITS = ("central_frame", "average")
"""How a tubelet's kernel starts from an image patch's: all of it on the frame in the middle, or its share on each frame."""

_PARTS = {
    "norm1": "norm",
    "attn.qkv": "attn.to_qkv",
    "attn.proj": "attn.proj",
    "norm2": "norm_ffn",
    "mlp.fc1": "ffn.net.0",
    "mlp.fc2": "ffn.net.3",
}
"""Parts of a block of timm's ViT to those of a layer."""
_BLOCK = re.compile(r"blocks\.(\d+)\.(.+)\.(weight|bias)")
_PLAIN = {
    "cls_token": "cls_token",
    "norm.weight": "norm.weight",
    "norm.bias": "norm.bias",
    "patch_embed.proj.bias": "stem.conv1.bias",
}
_UNUSED = re.compile(r"(?:classifier|head|fc|pre_logits)\..+")
_IMAGE_SIZE = 224
_HEAD_DIM = 64
_PROBABILITIES = ("drop_path", "attention_dropout", "ffn_dropout")
_CARRIED = {"drop_path": "DROP_PATH", "attention_dropout": "ATTN_DROPOUT", "ffn_dropout": "FF_DROPOUT"}


def numbers_of_layers(arguments: ModelArguments, variant: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """A backbone's arguments: the variant's numbers, but for those that are given (not None).

    Raises:
        ConfigError: If one is out of range or does not fit another.
    """
    numbers = {**variant, **{name: value for name, value in given.items() if value is not None}}
    numbers["num_frames"] = arguments.num_segments
    numbers["in_channels"] = arguments.preprocessing.in_channels
    numbers.setdefault("image_size", arguments.preprocessing.size)
    for name, value in numbers.items():
        if name in _PROBABILITIES:
            if not 0 <= value < 1:
                raise ConfigError(f"{name} ({value}) must be at least 0 and below 1; the published networks have up to 0.2")
        elif value <= 0 or (name != "mlp_ratio" and value != int(value)):
            raise ConfigError(f"{name} ({value}) must be a whole number above 0; try {variant.get(name, 1)}")
    dim, num_heads = numbers["dim"], numbers["num_heads"]
    if "head_dim" not in numbers and dim % num_heads:
        raise ConfigError(
            f"dim ({dim}) must be divisible by num_heads ({num_heads}); try dim={dim - dim % num_heads + num_heads}"
        )
    return numbers


def check_tubelet_init(name: str) -> None:
    """Raise `ConfigError` if there is no such way."""
    if name not in TUBELET_INITS:
        raise ConfigError(f"unknown tubelet_init {name!r}; {did_you_mean(name, TUBELET_INITS)}")


def expand_vit(model: VideoModel, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Initial weights from those of an image ViT in timm's keys: its blocks for the layers over space.

    The patches' kernel becomes the tubelets' as the builder's `tubelet_init` has it. Positions are resized bilinearly where
    the sizes differ, and repeated at all moments where the model learns them for a whole clip.

    Raises:
        CheckpointError: If the weights are of another kind of network, or of another size.

    Source: the published code of TAdaConv's authors, and Arnab et al., ViViT, ICCV 2021, section 3.4.
    """
    expected = {key.removeprefix("backbone."): tensor for key, tensor in model.state_dict().items()}
    expanded: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        match = _BLOCK.fullmatch(key)
        if match and match[2] in _PARTS:
            expanded[f"layers.{match[1]}.{_PARTS[match[2]]}.{match[3]}"] = tensor
        elif key in _PLAIN:
            expanded[_PLAIN[key]] = tensor
        elif key == "patch_embed.proj.weight" and tensor.ndim == 4:
            expanded["stem.conv1.weight"] = _tubelet_kernel(tensor, expected["stem.conv1.weight"], _tubelet_init(model))
        elif key == "pos_embed" and tensor.ndim == 3:
            expanded["pos_embd"] = _positions(tensor, model, key)
        elif not _UNUSED.fullmatch(key):
            raise CheckpointError(f"{key} is not of a plain ViT of timm; name weights of one, e.g. vit_base_patch16_224")
    _refuse_other_size(expanded, expected)
    return {f"backbone.{key}": tensor for key, tensor in expanded.items()}


def adapt_positions(model: VideoModel, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of the same kind of network with positions for this one's number of frames and size of input.

    Source: the published code of TAdaConv's authors, whose name for it is super-resolution.
    """
    adapted = dict(tensors)
    positions, times = adapted.get("backbone.pos_embd"), adapted.get("backbone.temp_embd")
    length, height, width = _grid(model)
    if times is not None:
        adapted["backbone.temp_embd"] = resize_time_positions(times, length)
        if positions is not None and _is_square(positions.shape[1] - 1):
            adapted["backbone.pos_embd"] = resize_frame_positions(positions, (height, width))
    elif positions is not None:
        grid = joint_grid(positions.shape[1] - 1, length=length, side=height)
        if grid is not None:
            adapted["backbone.pos_embd"] = resize_grid_positions(positions, grid, (length, height, width))
    return adapted


def joint_grid(num_positions: int, *, length: int, side: int) -> tuple[int, int, int] | None:
    """The (t, h, w) of which positions of a whole clip are, if h = w; their number alone leaves a choice.

    Args:
        num_positions: Without the class token's.
        length: t, if that is possible.
        side: h = w, if that is possible and `length` is not.
    """
    lengths = [count for count in range(1, num_positions + 1) if not num_positions % count]
    grids = [(count, math.isqrt(num_positions // count)) for count in lengths if _is_square(num_positions // count)]
    if not grids:
        return None
    count, found = min(grids, key=lambda grid: (grid[0] != length, grid[1] != side, abs(grid[0] - length)))
    return count, found, found


def infer_numbers(tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The builder's arguments that tensors under our keys, and the configuration beside them, tell.

    Keys do not tell the number of heads: without a configuration it is taken that each has 64 features. Nor do they tell the
    length of a clip whose positions are learned for all of it: without a configuration that of frames of 224 px is taken.
    """
    backbone, data = table(table(settings.get("VIDEO")).get("BACKBONE")), table(settings.get("DATA"))
    kernel, to_qkv = tensors["backbone.stem.conv1.weight"], tensors["backbone.layers.0.attn.to_qkv.weight"]
    dim, tubelet_size, patch_size = int(kernel.shape[0]), int(kernel.shape[2]), int(kernel.shape[3])
    numbers: dict[str, Any] = {
        "dim": dim,
        "depth": count_layers(tensors, "layers"),
        "num_heads": backbone.get("NUM_HEADS") or max(1, dim // _HEAD_DIM),
        "mlp_ratio": tensors["backbone.layers.0.ffn.net.0.weight"].shape[0] / dim,
        "patch_size": patch_size,
        "tubelet_size": tubelet_size,
        "has_pre_logits": any(key.startswith("pre_logits.") for key in tensors),
    }
    if to_qkv.shape[0] != 3 * dim:
        numbers["head_dim"] = int(to_qkv.shape[0]) // 3 // numbers["num_heads"]
    numbers |= {name: backbone[key] for name, key in _CARRIED.items() if backbone.get(key) is not None}
    num_positions = int(tensors["backbone.pos_embd"].shape[1]) - 1
    if "backbone.temp_embd" in tensors:
        length, side = int(tensors["backbone.temp_embd"].shape[1]) - 1, math.isqrt(num_positions)
    else:
        frames = data.get("NUM_INPUT_FRAMES")
        wanted = -1 if frames is None else frames // tubelet_size
        grid = joint_grid(num_positions, length=wanted, side=_IMAGE_SIZE // patch_size)
        length, side, _ = grid or (num_positions, 1, 1)
    return numbers | {"num_segments": length * tubelet_size, "image_size": side * patch_size}


def without_variant(numbers: Mapping[str, Any], variant: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a builder's arguments that the variant does not imply."""
    implied = {"has_pre_logits": False, **variant}
    return {name: value for name, value in numbers.items() if name not in implied or implied[name] != value}


def count_layers(tensors: Mapping[str, Tensor], name: str) -> int:
    """The layers in one of the backbone's lists of them, under our keys."""
    pattern = re.compile(rf"backbone\.{name}\.(\d+)\..+")
    return len({match[1] for key in tensors if (match := pattern.fullmatch(key))})


def _is_square(number: int) -> bool:
    return math.isqrt(number) ** 2 == number


def _grid(model: VideoModel) -> tuple[int, int, int]:
    backbone = model.backbone
    assert isinstance(backbone, FactorizedViViT | JointTransformer)
    return backbone.grid


def _tubelet_init(model: VideoModel) -> str:
    return str(model.architecture.get("tubelet_init", TUBELET_INITS[0]))


def _tubelet_kernel(kernel_DChw: Tensor, expected_DCthw: Tensor, way: str) -> Tensor:
    """A patch's kernel as a tubelet's, for as many channels as the network has."""
    in_channels, tubelet_size = int(expected_DCthw.shape[1]), int(expected_DCthw.shape[2])
    if way == "average":
        kernel_DC1hw = to_clip_kernel(kernel_DChw, in_channels=in_channels, num_frames=1)
        return kernel_DC1hw.repeat(1, 1, tubelet_size, 1, 1) / tubelet_size
    return to_clip_kernel(kernel_DChw, in_channels=in_channels, num_frames=tubelet_size)


def _positions(positions_1LD: Tensor, model: VideoModel, key: str) -> Tensor:
    """An image's positions as a frame's, or at all moments of a clip."""
    length, height, width = _grid(model)
    if not _is_square(positions_1LD.shape[1] - 1):
        raise CheckpointError(
            f"{key} has {positions_1LD.shape[1]} positions, not those of a class token and a square of patches; "
            "name weights of a plain ViT, e.g. vit_base_patch16_224"
        )
    resized_1LD = resize_frame_positions(positions_1LD, (height, width))
    if isinstance(model.backbone, FactorizedViViT):
        return resized_1LD
    return torch.cat([resized_1LD[:, :1], resized_1LD[:, 1:].repeat(1, length, 1)], dim=1)


def _refuse_other_size(expanded: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Raise `CheckpointError` if initial weights are missing, too many, or of another shape."""
    started = [key for key in expected if re.match(r"(?:layers|norm|stem)\.", key) and "_temporal." not in key]
    missing = [key for key in (*started, "cls_token", "pos_embd") if key not in expanded]
    if missing:
        raise CheckpointError(f"the image network has nothing for {missing[0]}; name weights of a ViT of as many blocks")
    for key, tensor in expanded.items():
        if key not in expected:
            raise CheckpointError(
                f"the image network has more than the video network takes ({key}); name one of as many blocks"
            )
        if tensor.shape != expected[key].shape:
            raise CheckpointError(
                f"{key} is {tuple(tensor.shape)} where {tuple(expected[key].shape)} is needed; name weights of a ViT of the "
                "same width and patch size"
            )
