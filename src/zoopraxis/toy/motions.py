"""The verbs: motions that a single frame cannot tell from the same motion played backwards."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from zoopraxis.toy.things import Pose

__all__ = ["VERBS", "Motion", "Verb", "Way", "draw_motion", "pose_at"]

_WIDEST_GAP = 2.6
"""Radii."""


@dataclass(frozen=True, slots=True)
class Motion:
    """What chance decides about one action; drawn in the same way for a verb and for its partner."""

    x: float
    """Middle of the way, px to the right of the frame's center."""
    y: float
    """Middle of the way, px below the frame's center."""
    span: float
    """Length of the way, or radius of the orbit, px."""
    turn: float
    """How far an orbit goes, radians."""
    start: float
    """Where an orbit begins, radians."""
    angle: float
    """How the thing lies, radians."""


@dataclass(frozen=True, slots=True)
class Way:
    """What the two verbs of a pair have in common."""

    pose: Callable[[Motion, float], Pose]
    """The pose at a phase, 0 to 1."""
    reach: Callable[[float, float], tuple[float, float]]
    """From span and radius, px, to how far the thing's center goes from the middle of the way, px right and down."""
    shortest: float = 0.52
    """Least span, as a share of the central square's side."""
    longest: float = 0.66


@dataclass(frozen=True, slots=True)
class Verb:
    """One of a pair of motions."""

    name: str
    category: str
    way: Way
    is_backwards: bool


def _across(motion: Motion, phase: float) -> Pose:
    return Pose(motion.x + (phase - 0.5) * motion.span, motion.y, motion.angle)


def _downwards(motion: Motion, phase: float) -> Pose:
    return Pose(motion.x, motion.y + (phase - 0.5) * motion.span, motion.angle)


def _around(motion: Motion, phase: float) -> Pose:
    direction = motion.start + phase * motion.turn
    return Pose(motion.x + motion.span * math.cos(direction), motion.y + motion.span * math.sin(direction), motion.angle)


def _apart(motion: Motion, phase: float) -> Pose:
    return Pose(motion.x, motion.y, motion.angle, gap=_WIDEST_GAP * phase)


def _nearer(motion: Motion, phase: float) -> Pose:
    return Pose(motion.x, motion.y, motion.angle, scale=0.6 + 0.9 * phase)


def _slantwise(motion: Motion, phase: float) -> Pose:
    offset = (phase - 0.5) * motion.span * math.sqrt(0.5)
    return Pose(motion.x + offset, motion.y + offset, motion.angle)


def _pair(way: Way, category: str, forwards: str, backwards: str) -> tuple[Verb, Verb]:
    return Verb(forwards, category, way, False), Verb(backwards, category, way, True)


VERBS: tuple[Verb, ...] = (
    *_pair(Way(_across, lambda span, radius: (span / 2, 0)), "move", "move-right", "move-left"),
    *_pair(Way(_downwards, lambda span, radius: (0, span / 2)), "lift", "lower", "lift"),
    *_pair(Way(_around, lambda span, radius: (span, span), 0.2, 0.26), "stir", "stir-clockwise", "stir-anticlockwise"),
    *_pair(Way(_apart, lambda span, radius: (radius * _WIDEST_GAP / 2, radius)), "access", "open", "close"),
    *_pair(Way(_nearer, lambda span, radius: (radius / 2, radius / 2)), "reach", "bring-near", "push-away"),
    *_pair(Way(_slantwise, lambda span, radius: (0.36 * span, 0.36 * span)), "slide", "slide-down", "slide-up"),
)
"""In pairs: VERBS[i] is VERBS[i ^ 1] played backwards."""


def draw_motion(verb: Verb, rng: np.random.Generator, *, side: float, radius: float) -> Motion:
    """Choose where and how far a motion goes, so that the thing stays about inside the frame's central square.

    The choice depends on the way, never on the direction: the same generator state gives both verbs of a pair the same motion.

    Args:
        verb: The motion.
        rng: Where the choice comes from.
        side: Side of the central square, px.
        radius: The thing's radius, px.
    """
    span = side * rng.uniform(verb.way.shortest, verb.way.longest)
    x, y = (rng.uniform(-1, 1) * max(0.0, side / 2 - radius - reach) for reach in verb.way.reach(span, radius))
    turn, start = rng.uniform(1.2, 1.6) * math.pi, rng.uniform(-math.pi, math.pi)
    return Motion(x=x, y=y, span=span, turn=turn, start=start, angle=rng.uniform(-0.5, 0.5))


def pose_at(verb: Verb, motion: Motion, phase: float) -> Pose:
    """The thing's pose at `phase`, 0 where the action starts and 1 where it ends."""
    return verb.way.pose(motion, 1 - phase if verb.is_backwards else phase)
