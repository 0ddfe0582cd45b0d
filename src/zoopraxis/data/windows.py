"""Windows along long videos: where they lie, which features fall into them, which segments they show.

A window is what a network of localization sees of a video: T steps of it. Features lie at moments of the video, evenly spaced;
`features_per_step` of them become one step. Every `features_per_step`-th feature of a video is a step of the video's grid, on
which the maps of its windows are put together.

The published code counts moments in single precision, and at a window's edge that decides. So do we.

# W windows, N features of a video, R rows of a window, C numbers of a feature, T steps, G segments
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["centers", "grid_steps", "inside", "resample", "rows_in_window", "sliding_windows", "window_features"]

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

_MIN_REST_SECONDS = 0.2
"""A window that begins so shortly before the end of its video, or later, is left out."""


def sliding_windows(duration: float, *, num_steps: int, step_seconds: float, stride: int) -> FloatArray:
    """Windows that cover a video, one every `stride` steps from its beginning; the last ones reach past its end.

    Args:
        duration: Of the video, seconds.
        num_steps: Steps of a window, T.
        step_seconds: From step to step.
        stride: Steps from one window to the next.

    Returns:
        Start and stop of each window in seconds, shape (W, 2), at least one; the numbers are of single precision.

    Raises:
        ValueError: If a number is not positive.

    Source: Qing et al., A Stronger Baseline for Ego-Centric Action Detection, 2021; its published code.

    Differs: a video of less than 0.2 seconds has one window; the published code leaves it out. Of videos with 16 windows or
        more the published starts are off by one in the last place here and there, according to the processor that counts them.
    """
    if not (duration > 0 and step_seconds > 0 and num_steps > 0 and stride > 0):
        raise ValueError(
            f"duration ({duration}), num_steps ({num_steps}), step_seconds ({step_seconds}) and stride ({stride}) "
            "must be positive"
        )
    spacing = stride * step_seconds
    starts_W = (spacing * np.arange(np.ceil(duration / spacing))).astype(np.float32)
    if len(starts_W) > 1 and np.float32(duration) - starts_W[-1] < _MIN_REST_SECONDS:
        starts_W = starts_W[:-1]
    return np.stack([starts_W, starts_W + np.float32(num_steps * step_seconds)], axis=1).astype(np.float64)


def centers(num_features: int, spacing: float, first: float | None = None) -> FloatArray:
    """The moments of evenly spaced features, shape (N,), seconds.

    Args:
        num_features: N.
        spacing: Seconds from one feature to the next.
        first: Of the first feature; none: half of `spacing`, as of features that share out the video between them.
    """
    return (spacing / 2 if first is None else first) + spacing * np.arange(num_features, dtype=np.float64)


def rows_in_window(seconds_N: npt.ArrayLike, window: npt.ArrayLike) -> slice:
    """The features whose moment lies in a window, both ends included.

    Args:
        seconds_N: Moments of the features, ascending, shape (N,).
        window: Start and stop, seconds.

    Returns:
        Their rows, which follow one another; may be empty.
    """
    moments_N = np.asarray(seconds_N, dtype=np.float32)
    start, stop = np.asarray(window, dtype=np.float32)
    return slice(int(np.searchsorted(moments_N, start, "left")), int(np.searchsorted(moments_N, stop, "right")))


def window_features(
    features_NC: npt.NDArray[np.floating], seconds_N: npt.ArrayLike, window: npt.ArrayLike, *, num_rows: int, num_steps: int
) -> Float32Array:
    """What a network sees of a window: the features in it, filled up with zeros where the video ends, brought to T steps.

    Args:
        features_NC: Of the video, or of a part of it that has all features in the window, shape (N, C).
        seconds_N: Their moments, ascending, shape (N,).
        window: Start and stop, seconds.
        num_rows: Features that a window inside the video has, R; what goes beyond is left out.
        num_steps: T.

    Returns:
        Shape (C, T), float32; zeros throughout if no feature lies in the window.

    Raises:
        ValueError: If features and moments are not as many.

    Source: the published code of `sliding_windows`.
    """
    if len(features_NC) != len(np.atleast_1d(seconds_N)):
        raise ValueError(f"{len(features_NC)} features and {len(np.atleast_1d(seconds_N))} moments must be as many")
    found_RC = features_NC[rows_in_window(seconds_N, window)][:num_rows]
    if len(found_RC) < num_rows:
        filling = np.zeros((num_rows - len(found_RC), features_NC.shape[1]), np.float32)
        found_RC = np.concatenate([found_RC.astype(np.float32, copy=False), filling])
    return resample(found_RC, num_steps)


def resample(features_NC: npt.NDArray[np.floating], num_steps: int) -> Float32Array:
    """Features brought to T steps: linear between neighbors, the first and the last stay where they are.

    Args:
        features_NC: Shape (N, C), N at least 1.
        num_steps: T.

    Returns:
        Shape (C, T), float32, contiguous.

    Raises:
        ValueError: If there is no feature, or T is not positive.
    """
    num_features = len(features_NC)
    if num_features == 0 or num_steps < 1:
        raise ValueError(f"{num_features} features cannot be brought to {num_steps} steps; both must be at least 1")
    features_NC = features_NC.astype(np.float32, copy=False)
    if num_features == num_steps:
        return np.ascontiguousarray(features_NC.T)
    places_T = np.arange(num_steps, dtype=np.float32) * np.float32((num_features - 1) / max(num_steps - 1, 1))
    left_T = np.minimum(places_T.astype(np.int64), num_features - 1)
    right_T = np.minimum(left_T + 1, num_features - 1)
    part_T1 = (places_T - left_T.astype(np.float32))[:, None]
    steps_TC = features_NC[left_T] * (1 - part_T1)
    steps_TC += features_NC[right_T] * part_T1
    return np.ascontiguousarray(steps_TC.T)


def grid_steps(seconds_N: npt.ArrayLike, window: npt.ArrayLike, *, features_per_step: int, num_steps: int) -> IntArray:
    """Where the first steps of a window lie on the grid of its video.

    Args:
        seconds_N: Moments of all features of the video, ascending, shape (N,); the grid has ceil(N / features_per_step) steps.
        window: Start and stop, seconds.
        features_per_step: Features from one step of the grid to the next.
        num_steps: Steps of the window, T.

    Returns:
        Ascending indices on the grid, at most T; fewer where the window reaches past the end of the video.

    Source: the published code of `sliding_windows`; its mask over all features, of which it takes every second.
    """
    rows = rows_in_window(np.asarray(seconds_N)[::features_per_step], window)
    return np.arange(rows.start, rows.stop, dtype=np.int64)[:num_steps]


def inside(segments_G2: npt.ArrayLike, window: npt.ArrayLike, min_part: float) -> npt.NDArray[np.bool_]:
    """Which segments a window shows: those of which more than `min_part` lies in it.

    Args:
        segments_G2: Start and stop, seconds, shape (G, 2).
        window: Start and stop, seconds.
        min_part: Of a segment's length, in [0, 1).

    Returns:
        Shape (G,).

    Source: the published code of `sliding_windows`, where `min_part` is 0.999.
    """
    starts_G, stops_G = np.asarray(segments_G2, dtype=np.float64).reshape(-1, 2).T
    start, stop = np.asarray(window, dtype=np.float64)
    shown_G = np.minimum(stops_G, stop) - np.maximum(starts_G, start)
    is_inside_G: npt.NDArray[np.bool_] = shown_G > min_part * (stops_G - starts_G)
    return is_inside_G
