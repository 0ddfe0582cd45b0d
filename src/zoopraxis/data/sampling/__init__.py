"""Which frames of a clip are looked at: rules by name, one small class a rule. NumPy only.

A rule picks T places in a clip of n frames, and L consecutive frames from each (L = 1 for RGB, 5 pairs for flow).
"""

from zoopraxis.data.sampling.base import SAMPLERS, Generator, IntArray, Sampler, clip_generator
from zoopraxis.data.sampling.segments import (
    Segments,
    SegmentsMmaction2,
    SegmentsSlowfast,
    SegmentsTadaconv,
    SegmentsTanet,
)
from zoopraxis.data.sampling.windows import Dense, Interval, Strided

__all__ = [
    "SAMPLERS",
    "Dense",
    "Generator",
    "IntArray",
    "Interval",
    "Sampler",
    "Segments",
    "SegmentsMmaction2",
    "SegmentsSlowfast",
    "SegmentsTadaconv",
    "SegmentsTanet",
    "Strided",
    "clip_generator",
]
