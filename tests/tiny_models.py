"""For each model arguments of `create_model` that make it small: networks that build and run in a moment."""

from __future__ import annotations

from typing import Any

__all__ = ["TINY"]

TINY: dict[str, dict[str, Any]] = {
    "tsn": {"backbone": "test_resnet"},
    "tsm": {"backbone": "test_resnet"},
    "trn": {"backbone": "test_resnet"},
    "ta3n": {"backbone": "test_resnet", "shared_dim": 16, "relation_dim": 8},
    "tanet": {"backbone": "test_resnet"},
    "tada2d": {"backbone": "test_resnet"},
    "csn": {"backbone": "ir26", "blocks": [1, 2, 1, 1], "widths": [8, 16, 16, 32, 32]},
    "r2d3d": {"backbone": "r10", "widths": [8, 8, 16, 16, 32], "nonlocal_stages": [4]},
    "r2plus1d": {"backbone": "r10", "widths": [8, 8, 8, 16, 16]},
    "slowfast": {"backbone": "r50_8x8", "blocks": [1, 2, 1, 1], "widths": [8, 16, 16, 32, 32], "beta": 4, "expansion": 2},
    "s3dg": {
        "backbone": "s3dg",
        "stem_widths": [4, 4, 8],
        "mixed_widths": [[[4, 4, 6, 2, 4, 4]], [[4, 4, 6, 2, 4, 4], [4, 4, 6, 2, 4, 4]], [[4, 4, 8, 2, 4, 8]]],
    },
    "vivit": {
        "backbone": "b16x2_fe",
        "image_size": 32,
        "patch_size": 8,
        "dim": 16,
        "depth": 2,
        "depth_temporal": 1,
        "num_heads": 2,
    },
    "timesformer": {"backbone": "b16", "image_size": 32, "patch_size": 8, "dim": 16, "depth": 2, "num_heads": 2},
    "tadaconvnextv2": {"backbone": "tiny", "dims": [8, 16, 16, 32], "depths": [1, 1, 2, 1], "head_dim": 4, "drop_path": 0.1},
    "tadaformer": {
        "backbone": "b16",
        "dim": 32,
        "depth": 2,
        "num_heads": 2,
        "patch_size": 8,
        "route_head_dim": 4,
        "double_tada": True,
        "temporal_enhancement": True,
        "drop_path": 0.1,
    },
}
"""All take clips of 8 frames of 32 x 32 pixels."""
