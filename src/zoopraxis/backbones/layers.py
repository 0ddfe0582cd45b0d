"""Which layer of a network a parameter belongs to, counted from the input."""

from __future__ import annotations

import re
from typing import Any

from torch import nn

from zoopraxis.backbones.image import ImageBackbone
from zoopraxis.errors import ConfigError

__all__ = ["number_layers"]

_BLOCK = re.compile(r"(?:layers|stages)\.\d+\.")
_MATCHER: dict[str, Any] = {
    "stem": r"conv1\.|ln_pre\.|stem\.|downsample_layers\.0\.|\w+_embedding$|pos_embd$|cls_token$",
    "blocks": [
        (r"layers\.(\d+)\.", None),
        (r"stages\.(\d+)\.(\d+)\.", None),
        (r"downsample_layers\.(\d+)\.", (0,)),
    ],
}
"""The published names of networks over whole clips, as timm's `group_matcher` writes such a table."""
_SECOND_ENCODER: dict[str, Any] = {
    "temporal": [(r"layers_temporal\.(\d+)\.", None), (r"norm\.|cls_token_out$|temp_embd$", (0,))]
}
"""Of ViViT's factorized encoder: what stands between its two encoders learns as fast as the first layer of the second."""


def number_layers(backbone: nn.Module) -> tuple[dict[str, int], int]:
    """Number the layers of a network from its input to its output.

    - TAdaFormer, as published: the patch embedding, the embeddings and `ln_pre` are 0, block i is i + 1, `ln_post` the last.
    - ViViT and TimeSformer likewise; in ViViT's factorized encoder the temporal layers come after the spatial ones.
    - TAdaConvNeXtV2: the stem is 0, then each block, the first of a stage together with the downsampling before it; the norm is
      the last.
    - Image networks as their own `group_matcher` says, which a network over whole clips may have, too. A temporal module
      belongs to the block that it is in.

    Args:
        backbone: An image network or one over whole clips.

    Returns:
        The number of each parameter by its name in the backbone, and that of the last layer, to which the heads belong.

    Raises:
        ConfigError: If nothing tells the order of its layers.

    Differs: the published code numbers the layers of TAdaFormer only; for TAdaConvNeXtV2 it calls a function that is not there.

    Source: TAdaConv, `get_num_layer_for_vit`; Bao et al., BEiT, ICLR 2022; timm, `group_with_matcher`.
    """
    from timm.models._manipulate import group_with_matcher

    is_image = isinstance(backbone, ImageBackbone)
    prefix, network = ("network.", backbone.network) if isinstance(backbone, ImageBackbone) else ("", backbone)
    names = [name.removeprefix(prefix) for name, _ in backbone.named_parameters()]
    own = getattr(network, "group_matcher", None)
    if own is not None:
        matcher = own(coarse=False)
    elif not is_image and any(_BLOCK.match(name) for name in names):
        has_second = any(name.startswith("layers_temporal.") for name in names)
        matcher = {**_MATCHER, **_SECOND_ENCODER} if has_second else _MATCHER
    else:
        raise ConfigError(
            f"optim.groups=layer_decay needs to know the order of the layers, and {type(network).__name__} does not tell it; "
            "set optim.groups=tadaconv, or choose a transformer or a ConvNeXt"
        )
    numbers = group_with_matcher([(name, None) for name in (*names, _HEAD)], matcher, reverse=True)
    last = numbers.pop(_HEAD)
    return {f"{prefix}{name}": number for name, number in numbers.items()}, last


_HEAD = "the head"
"""A name that no table of layers knows, and so of the last layer."""
