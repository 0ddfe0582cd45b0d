"""Features of clips on disk: stores that are read in place, their writer, and which of a clip's features are taken."""

from zoopraxis.data.features.segments import segment_positions, train_positions
from zoopraxis.data.features.store import SCORE_PREFIX, FeatureStore, check_widths, open_features, rows_by_name
from zoopraxis.data.features.writer import FeatureWriter

__all__ = [
    "SCORE_PREFIX",
    "FeatureStore",
    "FeatureWriter",
    "check_widths",
    "open_features",
    "rows_by_name",
    "segment_positions",
    "train_positions",
]
