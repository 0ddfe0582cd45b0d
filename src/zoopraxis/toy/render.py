"""From a video's script to its frames. H and W are a frame's rows and columns."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from zoopraxis.toy.config import ToyConfig
from zoopraxis.toy.kitchens import MARGIN_PX, FloatArray, Kitchen, draw_camera, draw_kitchen, paint_worktop
from zoopraxis.toy.motions import VERBS, Motion, draw_motion, pose_at
from zoopraxis.toy.script import Action, VideoScript
from zoopraxis.toy.things import NOUNS, Pose, draw_thing

__all__ = ["kitchen_of", "pose_in_frame", "render_video"]

UInt8Array = npt.NDArray[np.uint8]

_STREAM_KITCHEN, _STREAM_VIDEO = 2, 3
_THING_RADIUS = 0.16


def kitchen_of(config: ToyConfig, script: VideoScript) -> Kitchen:
    """The kitchen of a video's participant, the same in all of the participant's videos."""
    seed = np.random.SeedSequence((config.seed, _STREAM_KITCHEN, script.participant))
    shift = config.domain_shift if script.domain == "target" else 0.0
    return draw_kitchen(np.random.Generator(np.random.PCG64(seed)), shift=shift)


def render_video(config: ToyConfig, script: VideoScript) -> Iterator[UInt8Array]:
    """Yield a video's frames in order, each of shape (H, W, 3), uint8, RGB; they depend on the config and the script alone."""
    height, width = config.resolution
    kitchen = kitchen_of(config, script)
    seed = np.random.SeedSequence((config.seed, _STREAM_VIDEO, script.participant, script.video))
    rng = np.random.Generator(np.random.PCG64(seed))
    camera = draw_camera(rng, kitchen)
    worktop = paint_worktop(rng, kitchen, config.resolution)
    side = min(height, width)
    radius = _THING_RADIUS * side * kitchen.thing_scale
    motions = [draw_motion(VERBS[action.verb], rng, side=side, radius=radius) for action in script.actions]
    gain, haze = np.asarray(kitchen.gain, dtype=np.float32), np.float32(kitchen.haze)
    for number in range(script.num_frames):
        down, right, light = camera.at(number / config.fps)
        frame = _view(worktop, down, right, config.resolution)
        for action, motion in zip(script.actions, motions, strict=True):
            pose = pose_in_frame(action, motion, number)
            if pose is not None:
                shaken = Pose(pose.x + right, pose.y + down, pose.angle, pose.scale, pose.gap)
                draw_thing(frame, NOUNS[action.noun], shaken, radius)
        noise = rng.standard_normal((height, width, 3), dtype=np.float32) * np.float32(kitchen.noise)
        lit = frame * (gain * np.float32(light)) + haze + noise
        yield np.clip(lit + np.float32(0.5), 0, 255).astype(np.uint8)


def pose_in_frame(action: Action, motion: Motion, number: int) -> Pose | None:
    """The pose of an action's thing in one frame (counted from 0), or None where it is out of sight."""
    if not action.start_frame - action.rest_before <= number < action.stop_frame + action.rest_after:
        return None
    last = action.stop_frame - action.start_frame - 1
    phase = min(max(number - action.start_frame, 0), last) / last
    return pose_at(VERBS[action.verb], motion, phase)


def _view(worktop: FloatArray, down: float, right: float, resolution: tuple[int, int]) -> FloatArray:
    """The worktop as the camera sees it, displaced by less than MARGIN_PX, bilinear; shape (H, W, 3)."""
    height, width = resolution
    top, left = MARGIN_PX - down, MARGIN_PX - right
    row, column = int(top), int(left)
    below, beside = top - row, left - column
    corners: list[tuple[int, int, float]] = [
        (row, column, (1 - below) * (1 - beside)),
        (row, column + 1, (1 - below) * beside),
        (row + 1, column, below * (1 - beside)),
        (row + 1, column + 1, below * beside),
    ]
    view = np.zeros((height, width, 3), dtype=np.float32)
    for y, x, weight in corners:
        view += worktop[y : y + height, x : x + width] * np.float32(weight)
    return view
