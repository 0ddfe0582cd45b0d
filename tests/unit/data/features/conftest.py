"""Features to keep: three modalities of different widths, 25 of each clip."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


@pytest.fixture(scope="session")
def features() -> dict[str, Any]:
    """Of each modality, shape (12, 25, W)."""
    widths = {"RGB": 64, "Flow": 48, "Audio": 16}
    generator = np.random.default_rng(0)
    return {name: generator.standard_normal((12, 25, width), dtype=np.float32) for name, width in widths.items()}
