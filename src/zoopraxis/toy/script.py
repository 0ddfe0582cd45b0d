"""What happens when: participants, their videos, and the actions in each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from zoopraxis.toy.config import ToyConfig

__all__ = ["Action", "Role", "VideoScript", "write_scripts"]

Split = Literal["train", "validation", "test"]
Domain = Literal["source", "target"]
Role = Literal["train", "tuning", "unseen"]

_STREAM_CLASSES, _STREAM_TIMES = 0, 1


@dataclass(frozen=True, slots=True)
class Action:
    """One labelled segment; frames are counted from 0, half-open."""

    verb: int
    noun: int
    start_frame: int
    stop_frame: int
    rest_before: int
    """Frames for which the thing lies still, visible, before the action."""
    rest_after: int
    """The same after it."""
    narrated_at: float
    """When the narrator spoke, seconds."""


@dataclass(frozen=True, slots=True)
class VideoScript:
    """One video's plan; `participant` and `video` are the numbers that seed its random streams."""

    participant: int
    video: int
    domain: Domain
    role: Role
    split: Split
    num_frames: int
    actions: tuple[Action, ...]

    @property
    def participant_id(self) -> str:
        """EPIC's name, such as P01."""
        return f"P{self.participant + 1:02d}"

    @property
    def video_id(self) -> str:
        """EPIC's name: P01_02 for 2018 footage (source), P07_102 for 2020 footage (target)."""
        number = f"{self.video + 1:02d}" if self.domain == "source" else f"{101 + self.video}"
        return f"{self.participant_id}_{number}"


def write_scripts(config: ToyConfig) -> list[VideoScript]:
    """Plan all videos, ordered by participant and video; the same config gives the same plan."""
    slots = [
        (participant, video, *_place(config, participant, video))
        for participant in range(config.num_participants)
        for video in range(config.videos_per_participant)
    ]
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence((config.seed, _STREAM_CLASSES))))
    decks: dict[Split, list[tuple[int, int]]] = {}
    for split in ("train", "validation", "test"):
        num_actions = config.actions_per_video * sum(slot[4] == split for slot in slots)
        decks[split] = _deck(config, num_actions, rng, tail_frequency=config.tail_frequency if split == "train" else 1.0)
    scripts = []
    for participant, video, domain, role, split in slots:
        classes = [decks[split].pop() for _ in range(config.actions_per_video)]
        seed = np.random.SeedSequence((config.seed, _STREAM_TIMES, participant, video))
        actions, num_frames = _timeline(config, classes, np.random.Generator(np.random.PCG64(seed)))
        scripts.append(VideoScript(participant, video, domain, role, split, num_frames, actions))
    return scripts


def _place(config: ToyConfig, participant: int, video: int) -> tuple[Domain, Role, Split]:
    per_domain = config.num_participants_per_domain
    domain: Domain = "source" if participant < per_domain else "target"
    held_out: Split = "validation" if domain == "source" else "test"
    number = participant % per_domain
    if number == per_domain - 1:
        return domain, "unseen", held_out
    role: Role = "tuning" if number >= per_domain - 1 - config.num_tuning_participants else "train"
    is_held_out = video >= config.videos_per_participant - config.num_held_out_videos
    return domain, role, held_out if is_held_out else "train"


def _deck(config: ToyConfig, num_actions: int, rng: np.random.Generator, *, tail_frequency: float) -> list[tuple[int, int]]:
    """(verb, noun) of `num_actions` actions in random order, each class as often as its frequency asks."""
    verbs = _shuffled(config.num_verbs, config.num_tail_verbs, tail_frequency, num_actions, rng)
    nouns = _shuffled(config.num_nouns, config.num_tail_nouns, tail_frequency, num_actions, rng)
    return list(zip(verbs.tolist(), nouns.tolist(), strict=True))


def _shuffled(
    num_classes: int, num_tail: int, tail_frequency: float, num_actions: int, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    weights = np.ones(num_classes)
    weights[num_classes - num_tail :] = tail_frequency
    edges = np.floor(np.cumsum(weights) / weights.sum() * num_actions + 0.5).astype(np.int64)
    classes = np.repeat(np.arange(num_classes), np.diff(edges, prepend=0))
    return rng.permutation(classes)


def _timeline(
    config: ToyConfig, classes: Sequence[tuple[int, int]], rng: np.random.Generator
) -> tuple[tuple[Action, ...], int]:
    """Place actions one after the other, with unlabelled stretches around them; returns them and the video's length."""

    def draw_frames(seconds: tuple[float, float], least: int) -> int:
        return max(least, round(rng.uniform(*seconds) * config.fps))

    actions: list[Action] = []
    free_from, stretch = 0, draw_frames(config.unlabelled_seconds, 1)
    may_overlap = False
    for verb, noun in classes:
        length = draw_frames(config.action_seconds, 4)
        after = draw_frames(config.unlabelled_seconds, 1)
        does_overlap = rng.random() < config.overlap and may_overlap
        before = stretch
        start = free_from + stretch
        if does_overlap:
            previous = actions[-1]
            start = previous.start_frame + max(1, round(rng.uniform(0.3, 0.7) * (previous.stop_frame - previous.start_frame)))
            before = 0
        stop = start + length
        narrated_at = max(0.0, start / config.fps + rng.normal(0, 0.3))
        rest_before, rest_after = (int(rng.integers(0, frames // 2 + 1)) for frames in (before, after))
        actions.append(Action(verb, noun, start, stop, rest_before, rest_after, narrated_at))
        free_from, stretch = max(free_from, stop), after
        may_overlap = not does_overlap
    return tuple(actions), free_from + stretch
