"""What EPIC-KITCHENS-100 calls things: verbs and nouns by number, and how the ids of clips, videos and participants are built.

The names of the classes are not shipped (their licence is CC BY-NC): they are read from the user's own
`EPIC_100_verb_classes.csv` and `EPIC_100_noun_classes.csv` where those lie beside the annotations; else classes go by number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

__all__ = [
    "HEADS",
    "NOUNS",
    "NUM_NOUNS",
    "NUM_VERBS",
    "SPLITS",
    "UDA_SPLITS",
    "VERBS",
    "action_id",
    "is_2020",
    "participant_of",
    "split_action_id",
    "video_of",
]

Ids = TypeVar("Ids", int, npt.NDArray[np.int64])

NUM_VERBS = 97
NUM_NOUNS = 300
HEADS = {"verb": NUM_VERBS, "noun": NUM_NOUNS}
"""Classes a head, as the challenges have them."""

VERBS = tuple(str(verb) for verb in range(NUM_VERBS))
NOUNS = tuple(str(noun) for noun in range(NUM_NOUNS))
"""Names of the classes where the user's class files are not at hand: their numbers."""

SPLITS = ("train", "val", "test")
"""Splits of the recognition and detection challenges; the files call the second `validation`."""

UDA_SPLITS = ("source_train", "target_train", "source_val", "target_val", "source_test", "target_test")
"""Splits of the domain-adaptation challenge: source videos are of 2018, target videos of 2020."""

_ACTION_BASE = 1000


def action_id(verb: Ids, noun: Ids) -> Ids:
    """The recognition challenge's number of an action: verb * 1000 + noun. Takes numbers, or arrays of one shape."""
    return verb * _ACTION_BASE + noun


def split_action_id(action: Ids) -> tuple[Ids, Ids]:
    """The verb and the noun of `action_id`."""
    return action // _ACTION_BASE, action % _ACTION_BASE


def participant_of(video_id: str) -> str:
    """The participant of a video, or of a clip: `P01` of `P01_11` and of `P01_11_0`."""
    return video_id.partition("_")[0]


def video_of(narration_id: str) -> str:
    """The video of a clip: `P01_11` of `P01_11_0`."""
    return narration_id.rpartition("_")[0]


def is_2020(video_ids: Sequence[str] | npt.NDArray[np.str_]) -> npt.NDArray[np.bool_]:
    """Which videos were filmed in 2020, at 50 frames a second: those whose last underscore field has three characters.

    The others are of 2018, most of them at 60 frames a second, and their flow was computed from every second frame.

    Returns:
        Shape (N,).
    """
    return np.fromiter((len(video_id.rpartition("_")[2]) == 3 for video_id in video_ids), np.bool_, count=len(video_ids))
