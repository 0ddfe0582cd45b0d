"""Kitchens: a participant's worktop, light and camera, and how the two domains differ.

H and W are the rows and columns of a frame, M the margin of worktop around it that the camera's jitter brings into view.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Camera", "Kitchen", "draw_camera", "draw_kitchen", "paint_worktop"]

FloatArray = npt.NDArray[np.float32]

MARGIN_PX = 4
_JITTER_WAVES = 3


@dataclass(frozen=True, slots=True)
class Kitchen:
    """One participant's kitchen."""

    base: tuple[float, float, float]
    """The worktop's color, RGB, 0 to 255."""
    stripes: float
    """Contrast of its stripes, gray levels."""
    stripe_period: float
    """px."""
    stripe_angle: float
    """Radians."""
    tiles: float
    """Contrast of its tiles, gray levels; 0 in the source domain."""
    tile_period: float
    """px."""
    gain: tuple[float, float, float]
    """Light and color cast: what each channel is multiplied by."""
    haze: float
    """Gray levels added to every pixel."""
    noise: float
    """Standard deviation of the sensor's noise, gray levels."""
    jitter: float
    """Largest displacement by the camera's shaking, px, at most MARGIN_PX."""
    thing_scale: float
    """How large things look."""


@dataclass(frozen=True, slots=True)
class Camera:
    """How a video's camera shakes and its light flickers: sums of slow sines."""

    amplitudes: npt.NDArray[np.float64]
    """Shape (3, waves): px down, px right, share of the light."""
    frequencies: npt.NDArray[np.float64]
    """Hz, the same shape."""
    phases: npt.NDArray[np.float64]
    """Radians, the same shape."""

    def at(self, seconds: float) -> tuple[float, float, float]:
        """Displacement down and right, px, and the factor of the light."""
        values = (self.amplitudes * np.sin(2 * math.pi * self.frequencies * seconds + self.phases)).sum(axis=1)
        return float(values[0]), float(values[1]), 1 + float(values[2])


def draw_kitchen(rng: np.random.Generator, *, shift: float) -> Kitchen:
    """Choose a participant's kitchen.

    Args:
        rng: Where the choice comes from; the number of draws does not depend on `shift`.
        shift: 0 in the source domain; in the target domain how far light, color cast, worktop, noise and scale lie from there.
    """
    gray, tint = rng.uniform(35, 75), rng.uniform(-14, 14, size=3)
    light, cast = rng.uniform(0.9, 1.1), rng.uniform(-0.06, 0.06, size=3)
    stripes, tiles = rng.uniform(3, 8), rng.uniform(6, 12)
    target_light, target_cast = 1 - 0.2 * shift, np.array([-0.18, 0.0, 0.18]) * shift
    base = np.clip(gray + tint + 15 * shift, 0, 255)
    gain = np.clip(light * target_light * (1 + cast + target_cast), 0.2, 2.0)
    return Kitchen(
        base=(float(base[0]), float(base[1]), float(base[2])),
        stripes=stripes,
        stripe_period=rng.uniform(7, 16),
        stripe_angle=rng.uniform(0, math.pi),
        tiles=tiles * shift,
        tile_period=rng.uniform(9, 15),
        gain=(float(gain[0]), float(gain[1]), float(gain[2])),
        haze=10 * shift,
        noise=rng.uniform(1.5, 3.0) * (1 + shift),
        jitter=rng.uniform(0.2, 0.7),
        thing_scale=rng.uniform(0.92, 1.08) * max(0.5, 1 - 0.1 * shift),
    )


def draw_camera(rng: np.random.Generator, kitchen: Kitchen) -> Camera:
    """Choose how one video's camera shakes."""
    shares = rng.dirichlet(np.ones(_JITTER_WAVES), size=3)
    strengths = np.array([kitchen.jitter, kitchen.jitter, 0.03])
    return Camera(
        amplitudes=shares * strengths[:, None],
        frequencies=rng.uniform(0.1, 0.9, size=(3, _JITTER_WAVES)),
        phases=rng.uniform(-math.pi, math.pi, size=(3, _JITTER_WAVES)),
    )


def paint_worktop(rng: np.random.Generator, kitchen: Kitchen, resolution: tuple[int, int]) -> FloatArray:
    """Paint what one video shows when nothing happens: the worktop, and gray clutter on it.

    Returns:
        Shape (H + 2M, W + 2M, 3), float32, RGB, 0 to 255.
    """
    height, width = (side + 2 * MARGIN_PX for side in resolution)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    along = x * np.float32(math.cos(kitchen.stripe_angle)) + y * np.float32(math.sin(kitchen.stripe_angle))
    texture = kitchen.stripes * np.sin(2 * math.pi / kitchen.stripe_period * along)
    grid = np.cos(2 * math.pi / kitchen.tile_period * x) * np.cos(2 * math.pi / kitchen.tile_period * y)
    texture = texture + kitchen.tiles * np.clip(4 * grid, -1, 1) + rng.normal(0, 4, size=(height, width))
    worktop = np.asarray(kitchen.base, dtype=np.float32) + texture[..., None]
    for _ in range(rng.integers(2, 5)):
        top, left = rng.uniform(0, height), rng.uniform(0, width)
        half_height, half_width = rng.uniform(3, 10, size=2)
        shade = rng.uniform(-20, 20)
        distance = np.maximum(np.abs(y - top) - half_height, np.abs(x - left) - half_width)
        worktop = worktop + (shade * np.clip(0.5 - distance, 0, 1))[..., None]
    painted: FloatArray = np.clip(worktop, 0, 255).astype(np.float32)
    return painted
