"""Every golden case against our code: numbers that the published implementations gave."""

from __future__ import annotations

from typing import Any

import pytest


def test_parity(golden: Any, context: Any) -> None:
    if not golden.adapters:
        pytest.skip(f"no adapter for {golden.family} ({golden.name})")
    names = [adapter.__name__ for adapter in golden.adapters]
    assert len(names) == 1, f"{golden.name} is matched by several adapters: {', '.join(names)}"
    with golden.arrays() as arrays:
        golden.adapters[0].check(golden.content, arrays, context)
