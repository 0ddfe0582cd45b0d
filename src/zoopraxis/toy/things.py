"""The nouns: things told by shape and color, drawn by signed distance.

P and Q are the rows and columns of the patch of pixels that a thing touches.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["NOUNS", "Noun", "Pose", "draw_thing"]

FloatArray = npt.NDArray[np.float32]
Shape = Callable[[FloatArray, FloatArray], FloatArray]

_RIM_PX = 1.0
_RIM_SHADE = 0.5
_MARK_CENTER = 0.5
_MARK_RADIUS = 0.16


@dataclass(frozen=True, slots=True)
class Pose:
    """Where and how a thing is at one moment: all that a verb can change."""

    x: float
    """Center, px to the right of the frame's center."""
    y: float
    """Center, px below the frame's center."""
    angle: float = 0.0
    """Radians, growing clockwise as the viewer sees it."""
    scale: float = 1.0
    """Size relative to the thing's own."""
    gap: float = 0.0
    """Distance between the thing's two halves, in radii; 0: the thing is whole."""


@dataclass(frozen=True, slots=True)
class Noun:
    """A thing's name and look."""

    name: str
    shape: Shape
    color: tuple[int, int, int]
    """RGB, 0 to 255."""
    category: str


def _length(u: FloatArray, v: FloatArray) -> FloatArray:
    length: FloatArray = np.hypot(u, v)
    return length


def _disc(u: FloatArray, v: FloatArray) -> FloatArray:
    return _length(u, v) - np.float32(0.9)


def _ring(u: FloatArray, v: FloatArray) -> FloatArray:
    distance: FloatArray = np.abs(_length(u, v) - np.float32(0.7)) - np.float32(0.27)
    return distance


def _bowl(u: FloatArray, v: FloatArray) -> FloatArray:
    distance: FloatArray = np.maximum(_length(u, v + np.float32(0.35)) - np.float32(1.0), -v - np.float32(0.35))
    return distance


def _box(half_width: float, half_height: float) -> Shape:
    def distance(u: FloatArray, v: FloatArray) -> FloatArray:
        edge: FloatArray = np.maximum(np.abs(u) - np.float32(half_width), np.abs(v) - np.float32(half_height))
        return edge

    return distance


def _cross(u: FloatArray, v: FloatArray) -> FloatArray:
    return np.minimum(_box(1.0, 0.32)(u, v), _box(0.32, 1.0)(u, v))


def _star(points: int, inner: float) -> Shape:
    """A star with its points at radius 1 and its notches at radius `inner`; `inner = cos(pi / points)` is a regular polygon."""
    half = math.pi / points
    notch_u, notch_v = inner * math.cos(half), inner * math.sin(half)
    length = math.hypot(notch_u - 1, notch_v)
    normal_u, normal_v = notch_v / length, (1 - notch_u) / length

    def distance(u: FloatArray, v: FloatArray) -> FloatArray:
        radius = _length(u, v)
        folded = np.abs(np.mod(np.arctan2(v, u) + np.float32(half), np.float32(2 * half)) - np.float32(half))
        along = radius * np.cos(folded) - np.float32(1)
        edge: FloatArray = along * np.float32(normal_u) + radius * np.sin(folded) * np.float32(normal_v)
        return edge

    return distance


_square, _bar = _box(0.8, 0.8), _box(1.05, 0.36)
_triangle, _five_points = _star(3, 0.5), _star(5, 0.42)

NOUNS: tuple[Noun, ...] = (
    Noun("tomato", _disc, (250, 92, 84), "vegetables"),
    Noun("box", _square, (120, 150, 255), "storage"),
    Noun("plate", _ring, (246, 246, 250), "crockery"),
    Noun("cucumber", _bar, (96, 220, 110), "vegetables"),
    Noun("carrot", _triangle, (255, 168, 70), "vegetables"),
    Noun("bowl", _bowl, (206, 120, 250), "crockery"),
    Noun("tap", _cross, (110, 230, 240), "appliances"),
    Noun("star:anise", _five_points, (255, 240, 90), "spices and herbs and sauces"),
    Noun("cheese", _triangle, (255, 240, 90), "dairy and eggs"),
    Noun("sponge", _square, (255, 160, 215), "cleaning equipment and material"),
    Noun("lid", _ring, (250, 92, 84), "cookware"),
    Noun("spoon", _bar, (246, 246, 250), "cutlery"),
    Noun("plum", _disc, (206, 120, 250), "fruits and nuts"),
    Noun("pan", _bowl, (120, 150, 255), "cookware"),
    Noun("biscuit", _five_points, (255, 168, 70), "baked goods and grains"),
    Noun("rack", _cross, (96, 220, 110), "furniture"),
)


def draw_thing(frame: FloatArray, noun: Noun, pose: Pose, radius: float) -> None:
    """Draw a thing onto a frame in place, antialiased, clipped at the frame's edge.

    Args:
        frame: Shape (height, width, 3), float32, RGB, 0 to 255.
        noun: What is drawn.
        pose: Where it is.
        radius: The thing's own radius, px.
    """
    height, width = frame.shape[:2]
    size = radius * pose.scale
    center_x, center_y = width / 2 + pose.x, height / 2 + pose.y
    reach = size * (1.2 + pose.gap / 2) + 2
    left, right = max(0, math.floor(center_x - reach)), min(width, math.ceil(center_x + reach))
    top, bottom = max(0, math.floor(center_y - reach)), min(height, math.ceil(center_y + reach))
    if left >= right or top >= bottom:
        return
    x = (np.arange(left, right, dtype=np.float32) + np.float32(0.5 - center_x))[None, :] / np.float32(size)
    y = (np.arange(top, bottom, dtype=np.float32) + np.float32(0.5 - center_y))[:, None] / np.float32(size)
    cosine, sine = np.float32(math.cos(pose.angle)), np.float32(math.sin(pose.angle))
    distance_PQ, mark_PQ = _distances(noun.shape, x * cosine + y * sine, y * cosine - x * sine, pose.gap)
    distance_PQ, mark_PQ = distance_PQ * np.float32(size), mark_PQ * np.float32(size)
    inside = np.clip(np.float32(0.5) - distance_PQ, 0, 1)
    lit = np.clip(np.float32(0.5 - _RIM_PX) - distance_PQ, 0, 1) * np.clip(mark_PQ + np.float32(0.5), 0, 1)
    shade = np.float32(_RIM_SHADE) + np.float32(1 - _RIM_SHADE) * lit
    patch = frame[top:bottom, left:right]
    patch += inside[..., None] * (shade[..., None] * np.asarray(noun.color, dtype=np.float32) - patch)


def _distances(shape: Shape, u: FloatArray, v: FloatArray, gap: float) -> tuple[FloatArray, FloatArray]:
    """Signed distances to the thing and to the dark mark on it (negative inside), in radii, each of shape (P, Q)."""
    if gap == 0:
        return shape(u, v), _mark(u, v)
    half = np.float32(gap / 2)
    right, left = u - half, u + half
    distance = np.minimum(np.maximum(shape(right, v), -right), np.maximum(shape(left, v), left))
    return distance, _mark(right, v)


def _mark(u: FloatArray, v: FloatArray) -> FloatArray:
    return _length(u - np.float32(_MARK_CENTER), v) - np.float32(_MARK_RADIUS)
