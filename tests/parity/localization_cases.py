"""What cases of the losses of localization have in common."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoopraxis.localization.losses import LocalizationLoss


def assert_same_loss(actual: Tensor, expected: Any, what: str) -> None:
    """The published loss, or any finite one where that is not finite (`Differs:` of `LocalizationLoss`)."""
    if np.isfinite(expected):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-7, err_msg=what)
    else:
        assert actual.isfinite(), f"{what} is {actual}"


def assert_sees_draws(loss: LocalizationLoss, maps: Any, targets: Any, labels: Any, expected: Any) -> None:
    """Fail if all cells of middle and low overlap would do as well as those drawn, unless drawing leaves out none of them."""
    none, every = (torch.full(targets.overlap_BDT.shape, draw) for draw in (0.0, 1.0))
    some, most = (loss(maps, targets, labels, draws=(draw, draw))[1]["overlap_loss"] for draw in (none, every))
    if not torch.equal(some, most):
        assert not np.isclose(most, expected, rtol=1e-4), "any cells of middle and low overlap would do"
