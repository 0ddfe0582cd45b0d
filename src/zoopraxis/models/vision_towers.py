"""CLIP's visual tower under one set of names, whoever published it.

OpenAI's archives and open_clip's files hold it beside the text tower, under `visual.`; timm has it alone, under its own names.

# D features, L tokens, P height and width of a patch, px

Source: Radford et al., Learning Transferable Visual Models From Natural Language Supervision, ICML 2021.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from zoopraxis.errors import CheckpointError

__all__ = ["vision_tower"]

_VISUAL = "visual."
_PAIRS = r"(weight|bias)"
_IGNORED = re.compile(
    r"text\..+|transformer\..+|token_embedding\..+|ln_final\..+|positional_embedding|text_projection|attn_mask"
    r"|logit_scale|logit_bias|input_resolution|context_length|vocab_size"
)
"""Beside `visual.*`: the text tower, what compares both towers, and sizes."""
_OPENAI = (
    (r"(class_embedding|positional_embedding|conv1\.weight|proj|ln_(?:pre|post)\.\w+)", r"\1"),
    (rf"transformer\.resblocks\.(\d+)\.(ln_[12]|attn\.out_proj|mlp\.c_fc|mlp\.c_proj)\.{_PAIRS}", r"layers.\1.\2.\3"),
    (r"transformer\.resblocks\.(\d+)\.attn\.in_proj_(weight|bias)", r"layers.\1.attn.in_proj_\2"),
)
_TIMM = (
    (r"cls_token", "class_embedding"),
    (r"pos_embed", "positional_embedding"),
    (r"patch_embed\.proj\.weight", "conv1.weight"),
    (rf"norm_pre\.{_PAIRS}", r"ln_pre.\1"),
    (rf"norm\.{_PAIRS}", r"ln_post.\1"),
    (rf"blocks\.(\d+)\.norm([12])\.{_PAIRS}", r"layers.\1.ln_\2.\3"),
    (rf"blocks\.(\d+)\.attn\.qkv\.{_PAIRS}", r"layers.\1.attn.in_proj_\2"),
    (rf"blocks\.(\d+)\.attn\.proj\.{_PAIRS}", r"layers.\1.attn.out_proj.\2"),
    (rf"blocks\.(\d+)\.mlp\.fc1\.{_PAIRS}", r"layers.\1.mlp.c_fc.\2"),
    (rf"blocks\.(\d+)\.mlp\.fc2\.{_PAIRS}", r"layers.\1.mlp.c_proj.\2"),
)
_CLASSIFIER = re.compile(r"classifier\..+|head\..+")
"""timm's networks may have a classifier, or CLIP's last map in its place."""
_NEEDED = ("class_embedding", "positional_embedding", "conv1.weight", "ln_pre.weight")


def vision_tower(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A visual tower's tensors as 32-bit floats, under OpenAI's names but for `layers` in place of `transformer.resblocks`.

    The text tower and what belongs to it are left out, and so is a classifier.

    Args:
        tensors: Under OpenAI's, open_clip's or timm's names.

    Returns:
        `class_embedding` (D), `positional_embedding` (L, D), `conv1.weight` (D, 3, P, P), `ln_pre.*`, `layers.N.*`, `ln_post.*`
        and, where OpenAI's names have it, `proj`.

    Raises:
        CheckpointError: If they are of no such tower.
    """
    is_beside_text = any(key.startswith(_VISUAL) for key in tensors)
    known = {key.removeprefix(_VISUAL): tensor for key, tensor in tensors.items() if not _is_ignored(key, is_beside_text)}
    rules = _TIMM if "cls_token" in known else _OPENAI
    tower: dict[str, Tensor] = {}
    for key, tensor in known.items():
        name = _rename(key, rules)
        if name is None:
            raise CheckpointError(
                f"{key} is no part of CLIP's visual tower; name a vision transformer of CLIP, as OpenAI, open_clip or timm "
                "have it"
            )
        tower[name] = tensor.float()
    missing = [name for name in _NEEDED if name not in tower]
    if missing:
        raise CheckpointError(
            f"an image network without {missing[0]} is no visual tower of CLIP; name a vision transformer of CLIP, as OpenAI, "
            "open_clip or timm have it"
        )
    if rules is _TIMM:
        tower["class_embedding"] = tower["class_embedding"].flatten()
        tower["positional_embedding"] = tower["positional_embedding"].flatten(0, 1)
    return tower


def _is_ignored(key: str, is_beside_text: bool) -> bool:
    if is_beside_text:
        return _IGNORED.fullmatch(key) is not None
    return _CLASSIFIER.fullmatch(key) is not None


def _rename(key: str, rules: tuple[tuple[str, str], ...]) -> str | None:
    for pattern, name in rules:
        match = re.fullmatch(pattern, key)
        if match:
            return match.expand(name)
    return None
