"""What the open table `trainer` may hold: the arguments of Lightning's Trainer that a text can express, and their bounds.

Lightning itself is not imported, so that a misspelt argument is refused before anything heavy is loaded; a test compares the
names with the installed Lightning's signature.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from zoopraxis.config.schema import Bounds, Fraction, NonNegativeFloat, NonNegativeInt, PositiveInt, Section

__all__ = ["RESERVED_ARGUMENTS", "TrainerArguments"]

RESERVED_ARGUMENTS: dict[str, str | None] = {
    "callbacks": None,
    "default_root_dir": "run.dir",
    "enable_checkpointing": "run.checkpoint_every_n_steps",
    "enable_model_summary": None,
    "enable_progress_bar": None,
    "logger": "run.loggers",
    "num_sanity_val_steps": None,
    "plugins": None,
    "use_distributed_sampler": None,
}
"""Arguments of the Trainer that the run passes itself, and the setting that governs each, if there is one."""

Precision = Literal[
    "32-true",
    "64-true",
    "16-mixed",
    "bf16-mixed",
    "16-true",
    "bf16-true",
    "transformer-engine",
    "transformer-engine-float16",
    "64",
    "32",
    "16",
    "bf16",
    64,
    32,
    16,
]
UnlimitedInt = Annotated[int, Bounds(ge=-1)]


@dataclass
class TrainerArguments(Section):
    """Arguments that may stand in the table; the defaults are placeholders and are passed to nobody."""

    accelerator: str = "auto"
    strategy: str = "auto"
    devices: int | list[NonNegativeInt] | str = "auto"
    num_nodes: PositiveInt = 1
    precision: Precision | None = None
    fast_dev_run: bool | int = False
    max_epochs: UnlimitedInt | None = None
    min_epochs: NonNegativeInt | None = None
    max_steps: UnlimitedInt = -1
    min_steps: NonNegativeInt | None = None
    max_time: str | dict[str, NonNegativeInt] | None = None
    limit_train_batches: NonNegativeInt | Fraction | None = None
    limit_val_batches: NonNegativeInt | Fraction | None = None
    limit_test_batches: NonNegativeInt | Fraction | None = None
    limit_predict_batches: NonNegativeInt | Fraction | None = None
    overfit_batches: NonNegativeInt | Fraction = 0
    val_check_interval: PositiveInt | Fraction | str | None = None
    check_val_every_n_epoch: PositiveInt | None = None
    log_every_n_steps: NonNegativeInt | None = None
    accumulate_grad_batches: PositiveInt = 1
    gradient_clip_val: NonNegativeFloat | None = None
    gradient_clip_algorithm: Literal["norm", "value"] | None = None
    deterministic: bool | Literal["warn"] | None = None
    benchmark: bool | None = None
    inference_mode: bool = True
    profiler: str | None = None
    detect_anomaly: bool = False
    barebones: bool = False
    sync_batchnorm: bool = False
    reload_dataloaders_every_n_epochs: NonNegativeInt = 0
    enable_autolog_hparams: bool = True
    model_registry: str | None = None
