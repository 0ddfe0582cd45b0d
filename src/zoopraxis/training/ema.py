"""The moving average of a network's weights that validation and test use."""

from __future__ import annotations

import lightning as L
from lightning.pytorch.callbacks import EMAWeightAveraging

__all__ = ["WeightAverage"]


class WeightAverage(EMAWeightAveraging):
    """After each optimizer step: average = decay * average + (1 - decay) * weights, over all parameters and buffers.

    The average begins as the network does, and lies on the same device. A checkpoint holds it as `state_dict`, and the last
    weights as `current_model_state`, from which a run goes on; `load_model(path, averaged=False)` takes these.

    Args:
        decay: Part of the old average that stays.

    Differs: Lightning's own begins the average anew with the weights behind the first step, and keeps it where the network is
    when the callback is set up, which is the CPU. The published code validates the last weights beside the averaged ones at
    each evaluation; here validation sees the averaged ones, and a test may have either.

    Source: TAdaConv and timm, `ModelEmaV2`.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(decay=decay)

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self._device = trainer.strategy.root_device
        super().setup(trainer, pl_module, stage)
        if self._average_model is not None:
            self._average_model.n_averaged.fill_(1)
