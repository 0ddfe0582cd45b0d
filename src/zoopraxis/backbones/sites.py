"""Where the blocks of image backbones can host a temporal module.

A block is known by its module and class name, since "Bottleneck" names another class in several files of timm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

from zoopraxis.errors import ConfigError
from zoopraxis.temporal import Site

__all__ = ["SITES", "Block", "BlockSites", "find_blocks"]


@dataclass(frozen=True)
class BlockSites:
    """The layers of a block, by their path in it, before which a temporal module can stand.

    Attributes:
        branch_input: The first layer of the residual branch.
        spatial_conv: The layer that mixes positions.
        layout: What these layers take: `map`, shape (N, C, H, W), or `tokens`, shape (N, tokens, C).
    """

    branch_input: str
    spatial_conv: str
    layout: Literal["map", "tokens"] = "map"

    def path(self, site: Site) -> str:
        """The layer of one kind of site."""
        return self.branch_input if site == "branch_input" else self.spatial_conv


SITES: dict[tuple[str, str], BlockSites] = {
    ("timm.models.resnet", "BasicBlock"): BlockSites("conv1", "conv1"),
    ("timm.models.resnet", "Bottleneck"): BlockSites("conv1", "conv2"),
    ("timm.models.resnetv2", "PreActBasic"): BlockSites("conv1", "conv1"),
    ("timm.models.resnetv2", "PreActBottleneck"): BlockSites("conv1", "conv2"),
    ("timm.models.regnet", "Bottleneck"): BlockSites("conv1.conv", "conv2.conv"),
    ("timm.models.convnext", "ConvNeXtBlock"): BlockSites("conv_dw", "conv_dw"),
    ("timm.models.vision_transformer", "Block"): BlockSites("attn", "attn", layout="tokens"),
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


def find_blocks(network: nn.Module, *, network_name: str) -> list[Block]:
    """The blocks of a network that can host a temporal module, from input to output.

    Raises:
        ConfigError: If none of its blocks is known; the message lists those that are.
    """
    blocks: list[Block] = []
    num_in_stage: dict[str, int] = {}
    for name, module in network.named_modules():
        kind = (type(module).__module__, type(module).__name__)
        if kind not in SITES:
            continue
        stage = name.rpartition(".")[0]
        position = num_in_stage.get(stage, 0)
        num_in_stage[stage] = position + 1
        blocks.append(Block(name, module, kind[0], stage, position, SITES[kind]))
    if not blocks:
        known = ", ".join(f"{family.rpartition('.')[2]}.{name}" for family, name in SITES)
        raise ConfigError(
            f"backbone {network_name!r} has no block that can host a temporal module; choose one built of these blocks: {known}"
        )
    return blocks
