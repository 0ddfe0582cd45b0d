"""Every setting of a training run, with its type, default and bounds.

Dataclasses only: `config.load` merges a recipe and overrides into them and judges the result. Bounds stand in the annotations
and are enforced there. The open table `trainer` is judged by `config.trainer`, `model.args` by the builder that it goes to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

__all__ = [
    "Bounds",
    "ClipDataConfig",
    "ColorConfig",
    "DataConfig",
    "DescentConfig",
    "EmaConfig",
    "LossConfig",
    "MixConfig",
    "ModelConfig",
    "OptimConfig",
    "RandAugmentConfig",
    "RunConfig",
    "RunFolderConfig",
    "ScheduleConfig",
    "Section",
    "TrainConfig",
    "TransformConfig",
    "ViewsConfig",
    "default_trainer",
]


@dataclass(frozen=True)
class Bounds:
    """Closed or open bounds of a number, enforced when `config.load` validates the field that carries them."""

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """The number's schema with these bounds: pydantic's own hook, so that this file needs not import it."""
        return {**handler(source), **{name: bound for name, bound in vars(self).items() if bound is not None}}


class Section:
    """Base of all tables of settings: a key that is no field is refused, a number may stand for text, numbers are finite."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "coerce_numbers_to_str": True, "allow_inf_nan": False}


PositiveInt = Annotated[int, Bounds(ge=1)]
NonNegativeInt = Annotated[int, Bounds(ge=0)]
PositiveFloat = Annotated[float, Bounds(gt=0)]
NonNegativeFloat = Annotated[float, Bounds(ge=0)]
Fraction = Annotated[float, Bounds(ge=0, le=1)]


@dataclass
class RunFolderConfig(Section):
    """Where a run keeps its files, and what happens when the folder holds some already."""

    name: str = "run"
    dir: str = "runs/${run.name}"
    resume: str = "auto"
    """auto: go on from the folder's last checkpoint, if its config is the same; never: refuse a folder that holds a run; else
    the checkpoint to go on from."""
    checkpoint_every_n_steps: NonNegativeInt = 0
    """Also write the last checkpoint every so many optimizer steps; 0: at the end of each epoch only."""
    loggers: list[str] = field(default_factory=lambda: ["csv", "tensorboard"])


@dataclass
class RunConfig(RunFolderConfig):
    """A run's folder, and which of its checkpoints is the best."""

    monitor: str = "val/action_acc@1"
    """The validation metric whose best checkpoint is kept; heads without an action are monitored by their first head."""


@dataclass
class RandAugmentConfig(Section):
    """A few operations drawn at random (RandAugment), the same for all frames of a training clip."""

    num_ops: NonNegativeInt = 0
    """Operations a clip; 0: off."""
    magnitude: Annotated[float, Bounds(ge=0, le=10)] = 9
    magnitude_std: NonNegativeFloat = 0.5
    """Of the normal noise on the magnitude."""
    probability: Fraction = 0.5
    """That a drawn operation is carried out."""


@dataclass
class ColorConfig(Section):
    """Color jitter of training clips, the same for all their frames."""

    probability: Fraction = 0.0
    """That a clip's colors are jittered."""
    brightness: NonNegativeFloat = 0.0
    """The factor is drawn from 1 - value to 1 + value; so also of contrast and saturation."""
    contrast: NonNegativeFloat = 0.0
    saturation: NonNegativeFloat = 0.0
    hue: Annotated[float, Bounds(ge=0, le=0.5)] = 0.0
    """The shift is drawn from -value to value, in turns of the color wheel."""
    grayscale: Fraction = 0.0
    """Probability that a clip is turned to gray."""


@dataclass
class TransformConfig(Section):
    """From stored frames to network input."""

    size: PositiveInt = 224
    """Height and width of the network's input, px."""
    test_size: PositiveInt | None = None
    """Height and width of the views of `zoopraxis test` and `predict`, px; none: `size`."""
    resize: PositiveInt = 256
    """Shorter side before the crop of validation and test, px."""
    crop: Literal["multi_scale", "random_resized", "random_short_side"] = "multi_scale"
    """Crop of training. multi_scale: one of a few sizes at one of 13 places; random_resized: a random part of the area;
    random_short_side: the shorter side resized to a random length, then a random square of `size`."""
    scales: list[PositiveFloat] = field(default_factory=lambda: [1.0, 0.875, 0.75, 0.66])
    """multi_scale: sides as fractions of the shorter side."""
    area: list[PositiveFloat] = field(default_factory=lambda: [0.08, 1.0])
    """random_resized: bounds of the crop's part of the area."""
    short_side: list[PositiveInt] = field(default_factory=lambda: [224, 340])
    """random_short_side: bounds of the shorter side, px, both included."""
    flip: Fraction = 0.5
    """Probability of a horizontal flip in training."""
    flip_pairs: list[list[NonNegativeInt]] = field(default_factory=list)
    """Classes of the one head that a horizontal flip turns into each other, e.g. [[86, 87]]: flipped clips swap them."""
    aspect: list[PositiveFloat] = field(default_factory=lambda: [3 / 4, 4 / 3])
    """random_resized: bounds of the crop's width over its height."""
    rand_augment: RandAugmentConfig = field(default_factory=RandAugmentConfig)
    color: ColorConfig = field(default_factory=ColorConfig)
    antialias: bool = True
    """Low-pass frames when they are made smaller, as Pillow does; the published TANet and TAda2D do not."""


@dataclass
class ViewsConfig(Section):
    """Views of one clip at test time; their scores are averaged."""

    num_clips: PositiveInt = 1
    num_crops: Literal[1, 3, 5, 10] = 1
    average: Literal["score", "prob"] = "score"
    """score: mean of logits; prob: mean of softmax probabilities (kept as log-probabilities)."""
    crop_order: Literal["left_center_right", "left_right_center"] = "left_center_right"
    """Order of three crops; left_right_center: as mmaction2 and TANet have it. It shows only where views are kept apart."""


@dataclass
class ClipDataConfig(Section):
    """What of a clip is read, and how clips are batched."""

    root: str = "???"
    """The folder of the store: gulp folders, frame folders or videos."""
    modality: Literal["rgb", "flow"] = "rgb"
    quarantine: str | None = None
    """A list of clips to leave out, as written by `zoopraxis prepare check`."""
    index_cache: str | None = None
    """For videos: a folder where the packet indexes of files are kept from run to run."""
    sampling: str = "segments"
    """The rule by which a clip's frames are picked (`data.sampling.SAMPLERS`)."""
    interval: PositiveInt = 1
    """Frames from one picked frame to the next, at `target_fps`, for the rules that have an interval."""
    target_fps: PositiveFloat = 30.0
    fps: PositiveFloat | None = None
    """Frame rate of stored frames, where the store cannot tell it (gulp and frame folders); none: `target_fps`."""
    num_segments: PositiveInt = 8
    """Frames (or stacks of flow frames) per clip, T, in training and validation."""
    test_num_segments: PositiveInt | None = None
    segment_length: PositiveInt = 1
    """Consecutive frames stacked on the channel axis: 1 for RGB, 5 pairs for flow."""
    batch_size: PositiveInt = 128
    """Clips per optimizer step and device, before accumulation."""
    num_workers: NonNegativeInt = 8
    pin_memory: bool = True
    transform: TransformConfig = field(default_factory=TransformConfig)


@dataclass
class DataConfig(ClipDataConfig):
    """What is read, from where, and how it is batched."""

    store: Literal["gulp", "frames", "video"] = "gulp"
    annotations: Literal["auto", "epic", "csv", "folder", "kinetics", "something", "ucf101", "hmdb51", "index", "gulp"] = "auto"
    """Format of the annotations; auto: told from the file, and from a gulp folder's own metadata where no file is named."""
    train: str | None = None
    """Annotations of training (a file or folder); none: `{root}/{modality}_train`, or split `train` of the one index."""
    val: str | None = None
    test: str | None = None
    official_split: Literal[1, 2, 3] = 1
    """Of HMDB51's and UCF101's three divisions into training and test videos, where annotations name a folder of them."""
    train_on_val: bool = False
    num_folds: PositiveInt = 1
    """Passes over the training clips an epoch, each with crops and frames of its own: for small data sets."""
    num_repeats: PositiveInt = 1
    """Repeated augmentation: so many differently cut views of a training clip stand side by side in a batch, whose
    `batch_size` counts them all; an epoch is so many times as long."""


@dataclass
class ModelConfig(Section):
    """The network."""

    name: str = "tsn"
    backbone: str | None = None
    """An image network of timm, or the variant of a network over whole clips; none: resnet50, or the first variant."""
    temporal: str | None = None
    """A temporal module for the backbone's blocks; none: what the model has by itself."""
    pretrained: bool = True
    """Start from the backbone's ImageNet weights."""
    weights: str | None = None
    """Start from these weights: a file, a URL, or the name of published ones (`zoopraxis models`)."""
    heads: dict[str, PositiveInt] | None = None
    """Classes a head; none: as the annotations have them."""
    dropout: Annotated[float, Bounds(ge=0, lt=1)] | None = None
    """None: the model's published value."""
    partial_bn: bool | None = None
    """Freeze every batch norm but the first; none: as the model is published."""
    freeze_norms: bool = False
    """All batch norms keep their running statistics, while their affine parameters learn."""
    grad_checkpointing: bool = False
    """Compute the blocks' activations again in the backward pass instead of keeping them: less memory, more time."""
    mean: list[float] = field(default_factory=lambda: [0.485, 0.456, 0.406])
    std: list[PositiveFloat] = field(default_factory=lambda: [0.485, 0.456, 0.406])
    """Published with std equal to the mean: the EPIC checkpoints were trained so."""
    args: dict[str, Any] = field(default_factory=dict)
    """Further arguments of the named model's builder."""


@dataclass
class DescentConfig(Section):
    """How parameters learn."""

    name: Literal["sgd", "adam", "adamw"] = "sgd"
    lr: PositiveFloat = 0.01
    momentum: Fraction = 0.9
    weight_decay: NonNegativeFloat = 5e-4
    nesterov: bool = False


@dataclass
class OptimConfig(DescentConfig):
    """The optimizer."""

    base_batch_size: PositiveInt | None = None
    """Scale `lr` linearly: it is meant for batches of so many clips (over all devices, accumulated); none: taken as it is."""
    groups: Literal[
        "effective", "multipliers", "tsm", "tanet", "tada2d", "tada2d_finetune", "tadaconv", "tadaconv_finetune", "layer_decay"
    ] = "effective"
    """Which parameters learn faster or do not decay; see `models.parameter_groups`."""
    layer_decay: Annotated[float, Bounds(gt=0, le=1)] = 1.0
    """groups=layer_decay: each block's rate is so many times that of the block behind it."""
    new_parts: list[str] = field(default_factory=list)
    """groups=layer_decay: parts of parameter names that are not in the initial weights, e.g. [tada]."""
    new_parts_lr: PositiveFloat = 1.0
    """groups=layer_decay: multiple of their rate."""
    head_lr: PositiveFloat = 1.0
    """groups=layer_decay: multiple of the heads' rate."""


@dataclass
class ScheduleConfig(Section):
    """The learning rate over time."""

    name: Literal["multistep", "cosine", "constant", "dann"] = "multistep"
    """dann: `optim.lr` / (1 + 10 p)^0.75 at the part p of the run that lies behind (DANN; TA3N on UCF-HMDB)."""
    milestones: list[PositiveFloat] = field(default_factory=lambda: [20, 40])
    """Epochs at which the rate is multiplied by `gamma`."""
    gamma: PositiveFloat = 0.1
    warmup_epochs: NonNegativeFloat = 0
    """Linear warm-up."""
    warmup_start_lr: PositiveFloat | None = None
    """Rate at which the warm-up begins; none: a hundredth of `optim.lr`."""
    end_lr: NonNegativeFloat = 0.0
    """cosine: the rate where it ends."""
    is_cosine_after_warmup: bool = True
    """True: the cosine begins where the warm-up ends; false: it spans the whole run, and the warm-up rises to where it then is
    (published TAda2D)."""


@dataclass
class MixConfig(Section):
    """Mixing of the clips of a training batch, on the device, and erasing of parts of them."""

    mixup: NonNegativeFloat = 0.0
    """Mixup's alpha: two clips are blended by a weight drawn from Beta(alpha, alpha); 0: off."""
    cutmix: NonNegativeFloat = 0.0
    """CutMix's alpha: a box of one clip, the same in all frames, is put into another; 0: off."""
    cutmix_probability: Fraction = 0.5
    """Where both are on: that a batch gets CutMix."""
    erasing: Fraction = 0.0
    """Probability that a box of a clip, the same in all frames, is replaced by noise."""


@dataclass
class LossConfig(Section):
    """The loss over the heads."""

    label_smoothing: Annotated[float, Bounds(ge=0, lt=1)] = 0.0
    """Part of the target that is spread over all classes."""
    heads: Literal["mean", "sum"] = "mean"
    """How the losses of several heads become one; sum: as TAdaConv's networks of verbs and nouns were trained."""


@dataclass
class EmaConfig(Section):
    """An exponential moving average of the weights, which validation and test then use."""

    decay: Annotated[float, Bounds(ge=0, lt=1)] = 0.0
    """0: off."""


def default_trainer() -> dict[str, Any]:
    """Arguments of Lightning's Trainer that a recipe begins with."""
    return {
        "max_epochs": 80,
        "accelerator": "auto",
        "devices": "auto",
        "num_nodes": 1,
        "precision": "32-true",
        "gradient_clip_val": 20.0,
        "accumulate_grad_batches": 1,
        "log_every_n_steps": 5,
    }


@dataclass
class TrainConfig(Section):
    """A recognition run."""

    task: Literal["recognition"] = "recognition"
    """What is trained; a recipe decides."""
    seed: NonNegativeInt = 42
    run: RunConfig = field(default_factory=RunConfig)
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    mix: MixConfig = field(default_factory=MixConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    ema: EmaConfig = field(default_factory=EmaConfig)
    views: ViewsConfig = field(default_factory=ViewsConfig)
    compile: bool = False
    trainer: dict[str, Any] = field(default_factory=default_trainer)
    """Arguments of Lightning's Trainer."""
