"""Which of a clip's features are taken, for many clips at once.

# B clips, S features taken, n features of a clip
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["Generator", "segment_positions", "train_positions"]

IntArray = npt.NDArray[np.int64]


class Generator(Protocol):
    """What random positions are drawn from; `numpy.random.Generator` is one."""

    def integers(self, low: int, high: int, size: Any = None) -> Any:
        """Numbers uniform in [low, high), in the shape `size`."""
        ...


def segment_positions(num_features: IntArray, num_segments: int, *, repeat: Literal["last", "first"] = "last") -> IntArray:
    """The centers of S equal spans of each clip: the published rule for tests, by which TA3N learns from EPIC too.

    Args:
        num_features: n, shape (B,), positive.
        num_segments: S.
        repeat: What a clip of fewer than S features gives. last: all of them, then the last again and again; first: the first
            throughout, as the published rule for validation has it.

    Returns:
        Shape (B, S), each row ascending, in [0, n).

    Raises:
        ValueError: If a number is not positive.

    Source: Chen et al., Temporal Attentive Alignment for Large-Scale Video Domain Adaptation, ICCV 2019, the authors' code.
    """
    counts_B1 = _checked(num_features, num_segments)
    order_S = np.arange(num_segments)
    span_B1 = counts_B1 / num_segments
    centers_BS = (span_B1 / 2 + span_B1 * order_S).astype(np.int64)
    short_BS = np.minimum(order_S, counts_B1 - 1) if repeat == "last" else np.zeros_like(centers_BS)
    return np.where(counts_B1 >= num_segments, centers_BS, short_BS)


def train_positions(num_features: IntArray, num_segments: int, generator: Generator) -> IntArray:
    """A random feature of each of S spans of n // S of each clip; a clip of fewer than S gives its first throughout.

    Args:
        num_features: n, shape (B,), positive.
        num_segments: S.
        generator: Drawn from once for each length of span that occurs, the shortest first.

    Returns:
        Shape (B, S), each row ascending, in [0, n).

    Raises:
        ValueError: If a number is not positive.

    Source: as of `segment_positions`.
    """
    spans_B = _checked(num_features, num_segments)[:, 0] // num_segments
    positions_BS = np.arange(num_segments) * spans_B[:, None]
    for span in np.unique(spans_B[spans_B > 0]).tolist():
        is_of_span = spans_B == span
        positions_BS[is_of_span] += generator.integers(0, span, size=(int(is_of_span.sum()), num_segments))
    return positions_BS


def _checked(num_features: IntArray, num_segments: int) -> IntArray:
    """The counts as a column, shape (B, 1)."""
    counts = np.asarray(num_features, dtype=np.int64)
    if num_segments < 1:
        raise ValueError(f"num_segments ({num_segments}) must be at least 1")
    if counts.ndim != 1 or (counts < 1).any():
        raise ValueError(f"num_features must be positive numbers of shape (B,), not {counts.min(initial=1)} in {counts.shape}")
    return counts[:, None]
