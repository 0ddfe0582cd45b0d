"""How the families of networks over whole clips are told among checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from zoopraxis.registry import Registry

__all__ = ["CLIP_FAMILIES", "ClipFamily", "enter_clip_family", "family_of"]


@dataclass(frozen=True, kw_only=True)
class ClipFamily:
    """One family.

    Attributes:
        model: Its name in `MODELS`.
        tells: Whether tensors under our keys (`backbone.<published key>`) are of this family; they are of no two.
        infer: Called with these tensors and the configuration that the checkpoint carries (empty if it has none); gives
            `backbone`, the variant, and those of the model's own arguments that are not the variant's.
        has_scale_in_256: Whether the configuration's scale of tests is the part that a crop has of the shorter side, in 256,
            and not that side's length.
    """

    model: str
    tells: Callable[[Mapping[str, Tensor]], bool]
    infer: Callable[[Mapping[str, Tensor], Mapping[str, Any]], dict[str, Any]]
    has_scale_in_256: bool = False


CLIP_FAMILIES: Registry[ClipFamily] = Registry("family")


def enter_clip_family(family: ClipFamily) -> ClipFamily:
    """Enter a family into the table under its model's name."""
    return CLIP_FAMILIES.register(family.model)(family)


def family_of(tensors: Mapping[str, Tensor]) -> ClipFamily | None:
    """The family that tensors under our keys are of, if any."""
    families = (CLIP_FAMILIES.get(name) for name in CLIP_FAMILIES.names())
    return next((family for family in families if family.tells(tensors)), None)
