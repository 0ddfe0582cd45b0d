"""TAdaConv's loss of verbs and nouns: plain, smoothed, and on clips and labels that are mixed by the published draws."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoopraxis.training.losses import head_losses, join_losses, soft_targets
from zoopraxis.training.mixing import Mix, cutmix, mix_clips

_LABELS = {"verb": torch.tensor([0, 5, 96, 5]), "noun": torch.tensor([1, 299, 17, 0])}
_NUM_CLASSES = {"verb": 97, "noun": 300}
_MIXUP, _CUTMIX, _SWITCH, _SMOOTHING = 0.2, 1.0, 0.5, 0.2
"""As ViViT was trained on EPIC-KITCHENS-100."""
_WEIGHT = 0.3
"""Of the mixed targets that no seed draws."""
_TARGET = re.compile(r"mixup_target_(verb|noun)")
_DRAW = re.compile(r"mixup_seed(\d+)_(video|verb|noun)")
_LOSS = re.compile(r"(ce|smooth\d+|mixup_lam\d+(?:_smooth\d+)?)_(total|verb|noun)")


def matches(case: Mapping[str, Any]) -> bool:
    return case["case"].startswith("epic_verb_noun_loss") and "ce_total" in case.get("outputs", {})


def check(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], context: Any) -> None:
    logits = {head: context.tensor(f"epicloss_{head}", (4, width), 2.0) for head, width in _NUM_CLASSES.items()}
    clip = context.tensor("epicmix", (4, 3, 2, 16, 16)).transpose(1, 2)
    for name, expected in arrays.items():
        if match := _LOSS.fullmatch(name):
            losses = head_losses(logits, _LABELS, label_smoothing=_decimals(name, "smooth"), mix=_named_mix(name))
            context.assert_close(join_losses(losses, "sum") if match[2] == "total" else losses[match[2]], expected, name)
            assert abs(float(join_losses(losses, "mean")) - float(expected)) > 1e-2, "the case does not see the sum"
        elif match := _TARGET.fullmatch(name):
            context.assert_close(_targets(match[1], Mix(_WEIGHT)), expected, name)
        else:
            match = _DRAW.fullmatch(name)
            assert match is not None, f"the case has {name}, which nobody checks"
            mix = _published_draw(int(match[1]), *clip.shape[-2:])
            actual = mix_clips(clip, mix).transpose(1, 2) if match[2] == "video" else _targets(match[2], mix)
            context.assert_close(actual, expected, name)
            plain = clip.transpose(1, 2) if match[2] == "video" else _targets(match[2], None)
            assert not context.is_close(plain, expected), "the case does not see the mixing"


def _targets(head: str, mix: Mix | None) -> Tensor:
    return soft_targets(_LABELS[head], _NUM_CLASSES[head], label_smoothing=_SMOOTHING, mix=mix)


def _published_draw(seed: int, height: int, width: int) -> Mix:
    """What the published code draws for a batch: whether to mix (always), which way, how much, and where."""
    state = np.random.RandomState(seed)
    state.rand()
    is_cut = state.rand() < _SWITCH
    weight = state.beta(_CUTMIX, _CUTMIX) if is_cut else state.beta(_MIXUP, _MIXUP)
    return cutmix(weight, state.randint(height), state.randint(width), height, width) if is_cut else Mix(weight)


def _named_mix(name: str) -> Mix | None:
    return Mix(_decimals(name, "lam")) if "lam" in name else None


def _decimals(name: str, word: str) -> float:
    """0.3 of `lam03`, 0 without the word."""
    match = re.search(rf"{word}(\d)(\d+)", name)
    return float(f"{match[1]}.{match[2]}") if match else 0.0
