"""Temporal modules: what lets a network that sees single images see motion.

Each file but `kinds` holds one module, in pure torch, that knows no backbone: it maps features (B, T, C, *spatial) of B clips
of T frames to the same shape. The file enters it into `TEMPORAL` together with the place in a residual block where it belongs;
`backbones.inject` puts it there.
"""

from zoopraxis.temporal.kinds import TEMPORAL, Site, TemporalKind
from zoopraxis.temporal.shift import TemporalMaxPool, TemporalShift, temporal_max_pool, temporal_shift

__all__ = [
    "TEMPORAL",
    "Site",
    "TemporalKind",
    "TemporalMaxPool",
    "TemporalShift",
    "temporal_max_pool",
    "temporal_shift",
]
