"""Where the blocks of image backbones can host a temporal module.

A block is known by its module and class name, since "Bottleneck" names another class in several files of timm.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from zoopraxis.errors import ConfigError
from zoopraxis.temporal import Layout, Site

__all__ = ["SITES", "Block", "BlockSites", "block_names", "find_blocks"]


@dataclass(frozen=True)
class BlockSites:
    """The layers of a kind of block, by their path in it, before which a temporal module can stand.

    Attributes:
        branch_input: The first layer of the residual branch; of several paths the first that leads to a layer counts.
        spatial_conv: The layer that mixes positions; likewise, and a block that has none of them hosts no module there.
        layout: What these layers take: `map`, shape (N, C, H, W), or `tokens`, shape (N, tokens, C).
        spatial_norm: The norm behind the spatial layer, where it stands alone (a network can be built with other norms); none
            where it is fused with its activation or is no batch norm.
        needs_shortcut: The sites that count only in blocks with a shortcut (`has_skip`), for kinds of block that come without.
        networks: The classes of networks that count, where others hold the same block but pass it something else than one
            image at each place of the batch, or mix it with blocks that are not known; none: all.
    """

    branch_input: tuple[str, ...]
    spatial_conv: tuple[str, ...]
    layout: Layout = "map"
    spatial_norm: str | None = None
    needs_shortcut: tuple[Site, ...] = ()
    networks: tuple[str, ...] = ()


_MOBILE = ("EfficientNet", "MobileNetV3")
_BRANCH: tuple[Site, ...] = ("branch_input",)
_BOTH: tuple[Site, ...] = ("branch_input", "spatial_conv")

SITES: dict[tuple[str, str], BlockSites] = {
    ("timm.models.resnet", "BasicBlock"): BlockSites(("conv1",), ("conv1",), spatial_norm="bn1"),
    ("timm.models.resnet", "Bottleneck"): BlockSites(("conv1",), ("conv2",), spatial_norm="bn2"),
    ("timm.models.resnetv2", "Bottleneck"): BlockSites(("conv1",), ("conv2",)),
    ("timm.models.resnetv2", "PreActBasic"): BlockSites(("conv1",), ("conv1",)),
    ("timm.models.resnetv2", "PreActBottleneck"): BlockSites(("conv1",), ("conv2",)),
    ("timm.models.regnet", "Bottleneck"): BlockSites(("conv1.conv",), ("conv2.conv",)),
    ("timm.models.regnet", "PreBottleneck"): BlockSites(("conv1",), ("conv2",)),
    ("timm.models.convnext", "ConvNeXtBlock"): BlockSites(("conv_dw",), ("conv_dw",)),
    ("timm.models._efficientnet_blocks", "ConvBnAct"): BlockSites(("conv",), ("conv",), needs_shortcut=_BOTH, networks=_MOBILE),
    ("timm.models._efficientnet_blocks", "DepthwiseSeparableConv"): BlockSites(
        ("conv_dw",), ("conv_dw",), needs_shortcut=_BRANCH, networks=_MOBILE
    ),
    ("timm.models._efficientnet_blocks", "InvertedResidual"): BlockSites(
        ("conv_pw",), ("conv_dw",), needs_shortcut=_BRANCH, networks=_MOBILE
    ),
    ("timm.models._efficientnet_blocks", "CondConvResidual"): BlockSites(
        ("conv_pw",), ("conv_dw",), needs_shortcut=_BRANCH, networks=_MOBILE
    ),
    ("timm.models._efficientnet_blocks", "EdgeResidual"): BlockSites(
        ("conv_exp",), ("conv_exp",), needs_shortcut=_BRANCH, networks=_MOBILE
    ),
    ("timm.models._efficientnet_blocks", "UniversalInvertedResidual"): BlockSites(
        ("dw_start.conv", "pw_exp.conv"), ("dw_mid.conv", "dw_start.conv"), needs_shortcut=_BRANCH, networks=_MOBILE
    ),
    ("timm.models._efficientnet_blocks", "MobileAttention"): BlockSites(
        ("norm",), ("attn",), needs_shortcut=_BRANCH, networks=_MOBILE
    ),
    ("timm.models.vision_transformer", "Block"): BlockSites(
        ("attn",), ("attn",), layout="tokens", networks=("VisionTransformer",)
    ),
}


@dataclass(frozen=True)
class Block:
    """One residual block of a network.

    Attributes:
        name: Its path in the network.
        module: The block.
        family: The file of timm that defines it, as a dotted name.
        stage: The path of the module that holds it and its neighbors.
        position: Its number among the blocks of its stage, from 0.
        sites: Where it can host a temporal module.
    """

    name: str
    module: nn.Module
    family: str
    stage: str
    position: int
    sites: BlockSites

    def host(self, site: Site) -> str | None:
        """The path in the block of the layer that hosts a module of one kind of site, if there is one."""
        if site in self.sites.needs_shortcut and not getattr(self.module, "has_skip", False):
            return None
        paths = self.sites.branch_input if site == "branch_input" else self.sites.spatial_conv
        layers = {name for name, _ in self.module.named_modules()}
        return next((path for path in paths if path in layers), None)


def find_blocks(network: nn.Module, *, network_name: str) -> list[Block]:
    """The blocks of a network that can host a temporal module, from input to output.

    Raises:
        ConfigError: If none of its blocks is known; the message lists those that are.
    """
    classes = {parent.__name__ for parent in type(network).__mro__}
    blocks: list[Block] = []
    num_in_stage: dict[str, int] = {}
    for name, module in network.named_modules():
        family = type(module).__module__
        sites = SITES.get((family, type(module).__name__))
        if sites is None or (sites.networks and classes.isdisjoint(sites.networks)):
            continue
        stage = name.rpartition(".")[0]
        position = num_in_stage.get(stage, 0)
        num_in_stage[stage] = position + 1
        blocks.append(Block(name, module, family, stage, position, sites))
    if not blocks:
        raise ConfigError(
            f"backbone {network_name!r} has no block that can host a temporal module; "
            f"choose one built of these blocks: {', '.join(block_names(SITES))}"
        )
    return blocks


def block_names(kinds: Iterable[tuple[str, str]]) -> list[str]:
    """Kinds of blocks as messages have them: file of timm and class."""
    return [f"{family.rpartition('.')[2].lstrip('_')}.{name}" for family, name in kinds]
