"""Temporal modules: what lets a network that sees single images see motion.

Each file but `kinds` holds one module, in pure torch, that knows no backbone: it maps features (B, T, C, *spatial) of B clips
of T frames to the same shape. The file enters it into `TEMPORAL` together with the place in a residual block where it belongs;
`backbones.inject` puts it there. The relations of TRN are for the end of a network: they map frame features to classes.
"""

from zoopraxis.temporal.kinds import TEMPORAL, Layout, Site, TemporalKind
from zoopraxis.temporal.neighbors import neighbor_mean
from zoopraxis.temporal.nonlocal_block import NonLocalBlock, TemporalNonLocal
from zoopraxis.temporal.relation import MultiScaleRelation, SingleScaleRelation
from zoopraxis.temporal.shift import TemporalMaxPool, TemporalShift, temporal_max_pool, temporal_shift
from zoopraxis.temporal.tadaconv import RouteFuncMLP, TemporalBatchNorm2d, TemporalCalibration
from zoopraxis.temporal.tadaconv_ops import TAdaConv2d, TAdaConv3d
from zoopraxis.temporal.tadaconv_v2 import (
    ChannelsFirstLayerNorm,
    RouteFuncTransformer,
    TAdaConv2dV2,
    TemporalCalibrationV2,
    quick_gelu,
)
from zoopraxis.temporal.tam import TemporalAdaptiveModule, temporal_aggregate

__all__ = [
    "TEMPORAL",
    "ChannelsFirstLayerNorm",
    "Layout",
    "MultiScaleRelation",
    "NonLocalBlock",
    "RouteFuncMLP",
    "RouteFuncTransformer",
    "SingleScaleRelation",
    "Site",
    "TAdaConv2d",
    "TAdaConv2dV2",
    "TAdaConv3d",
    "TemporalAdaptiveModule",
    "TemporalBatchNorm2d",
    "TemporalCalibration",
    "TemporalCalibrationV2",
    "TemporalKind",
    "TemporalMaxPool",
    "TemporalNonLocal",
    "TemporalShift",
    "neighbor_mean",
    "quick_gelu",
    "temporal_aggregate",
    "temporal_max_pool",
    "temporal_shift",
]
