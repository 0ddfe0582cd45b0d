"""The settings of a toy kitchen."""

from __future__ import annotations

import math
from dataclasses import dataclass

from zoopraxis.errors import ConfigError
from zoopraxis.toy.motions import VERBS
from zoopraxis.toy.things import NOUNS

__all__ = ["ToyConfig"]


@dataclass(frozen=True)
class ToyConfig:
    """Everything that decides the bytes of a toy kitchen.

    The first half of the participants is the source domain (2018 footage, video ids like P01_02), the second half the target
    domain (2020 footage, P07_102). The last participant of each domain is unseen: all videos are held out. The last quarter (at
    least one) of the others are the tuning participants of the adaptation challenge.

    Raises:
        ConfigError: If a value is out of its range; the message names it, its bound and a cure.
    """

    seed: int = 0
    resolution: tuple[int, int] = (48, 64)
    """Height and width, px, even."""
    fps: float = 20.0
    """Frames per second, at most 100 (timestamps have two decimals)."""
    num_participants: int = 12
    videos_per_participant: int = 5
    actions_per_video: int = 16
    num_verbs: int = 8
    """Verbs come in pairs of which one is the other played backwards."""
    num_nouns: int = 8
    num_tail_verbs: int = 2
    """The last verbs, in whole pairs, that are rarer in training."""
    num_tail_nouns: int = 2
    """The last nouns that are rarer in training."""
    tail_frequency: float = 0.6
    """How often a tail class occurs in training, relative to one that is not."""
    action_seconds: tuple[float, float] = (1.3, 1.7)
    """Shortest and longest action."""
    unlabelled_seconds: tuple[float, float] = (0.3, 0.9)
    """Shortest and longest stretch before, between and after actions."""
    overlap: float = 0.0
    """Probability that an action starts before the previous one ends; never two in a row."""
    domain_shift: float = 0.5
    """How far the target's light, color cast, worktops, noise and scale lie from the source's; 0: one distribution for both."""
    held_out: float = 0.2
    """Share of a seen participant's videos that are held out: for validation (source) or test (target)."""

    def __post_init__(self) -> None:
        self._check_footage()
        self._check_classes()
        self._check_times()

    @property
    def num_participants_per_domain(self) -> int:
        """Participants of one domain, the unseen one included."""
        return self.num_participants // 2

    @property
    def num_tuning_participants(self) -> int:
        """Seen participants of one domain whose training videos tune the adaptation challenge instead of training it."""
        return max(1, (self.num_participants_per_domain - 1) // 4)

    @property
    def num_held_out_videos(self) -> int:
        """Held-out videos of a seen participant, at least one, and at least one is left for training."""
        return min(max(1, round(self.held_out * self.videos_per_participant)), self.videos_per_participant - 1)

    def _check_footage(self) -> None:
        if self.seed < 0:
            raise ConfigError(f"toy seed ({self.seed}) must not be negative; try seed={-self.seed}")
        height, width = self.resolution
        if min(height, width) < 32 or height % 2 or width % 2:
            raise ConfigError(
                f"toy resolution ({height}, {width}) must be even and at least 32 px a side; try resolution=(48, 64)"
            )
        if not 1 <= self.fps <= 100:
            raise ConfigError(f"toy fps ({self.fps}) must lie in [1, 100]; try fps=20")
        if not 6 <= self.num_participants <= 98 or self.num_participants % 2:
            raise ConfigError(
                f"toy num_participants ({self.num_participants}) must be even and in [6, 98], with a training, a tuning "
                "and an unseen one per domain; try num_participants=6"
            )
        if not 2 <= self.videos_per_participant <= 98:
            raise ConfigError(f"toy videos_per_participant ({self.videos_per_participant}) must lie in [2, 98]; try 2")
        if self.domain_shift < 0:
            raise ConfigError(f"toy domain_shift ({self.domain_shift}) must not be negative; try domain_shift=1")

    def _check_classes(self) -> None:
        if not 2 <= self.num_verbs <= len(VERBS) or self.num_verbs % 2:
            raise ConfigError(f"toy num_verbs ({self.num_verbs}) must be even and in [2, {len(VERBS)}]; try num_verbs=8")
        if not 2 <= self.num_nouns <= len(NOUNS):
            raise ConfigError(f"toy num_nouns ({self.num_nouns}) must lie in [2, {len(NOUNS)}]; try num_nouns=8")
        if not 0 <= self.num_tail_verbs < self.num_verbs or self.num_tail_verbs % 2:
            raise ConfigError(
                f"toy num_tail_verbs ({self.num_tail_verbs}) must be even and less than num_verbs ({self.num_verbs}); "
                "try num_tail_verbs=0"
            )
        if not 0 <= self.num_tail_nouns < self.num_nouns:
            raise ConfigError(
                f"toy num_tail_nouns ({self.num_tail_nouns}) must be in [0, num_nouns = {self.num_nouns}); try num_tail_nouns=0"
            )
        for name in ("tail_frequency", "overlap", "held_out"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ConfigError(f"toy {name} ({value}) must lie in [0, 1]; try {name}=0.5")

    def _check_times(self) -> None:
        if self.actions_per_video < 1:
            raise ConfigError(f"toy actions_per_video ({self.actions_per_video}) must be at least 1; try 16")
        for name in ("action_seconds", "unlabelled_seconds"):
            shortest, longest = getattr(self, name)
            if not 0 < shortest <= longest:
                raise ConfigError(f"toy {name} ({shortest}, {longest}) must be positive and ascending; try {name}=(1, 2)")
        if self.action_seconds[0] * self.fps < 4:
            least = math.ceil(4 / self.action_seconds[0])
            raise ConfigError(
                f"toy actions of {self.action_seconds[0]} s at {self.fps} fps have fewer than 4 frames; try fps={least}"
            )
