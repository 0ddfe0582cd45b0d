"""Every setting of a run that finds actions in long videos; see `config.schema`, whose tables it shares."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from zoopraxis.config.schema import (
    Bounds,
    DescentConfig,
    Fraction,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    RunFolderConfig,
    ScheduleConfig,
    Section,
    default_trainer,
)

__all__ = [
    "ClassesConfig",
    "LocalizationConfig",
    "LocalizationDataConfig",
    "LocalizationDescentConfig",
    "LocalizationLossConfig",
    "LocalizationModelConfig",
    "LocalizationRunConfig",
    "LocalizationScheduleConfig",
    "NmsConfig",
    "ProposalsConfig",
]


@dataclass
class LocalizationRunConfig(RunFolderConfig):
    """A run's folder, and which of its checkpoints is the best."""

    select: Literal["last", "loss"] = "last"
    """How the best checkpoint is chosen. last: the last one; loss: by the loss on `data.val`."""


@dataclass
class LocalizationDataConfig(Section):
    """Features of long videos, and the segments in them."""

    root: str = "???"
    """The features: made by `zoopraxis prepare features`, or published ones."""
    modalities: list[str] = field(default_factory=list)
    """Which features stand side by side, in this order; empty: all of the store but class scores."""
    format: Literal["auto", "epic", "epic_30fps", "activitynet", "hacs", "thumos14", "mmaction", "index"] = "auto"
    """Of the annotations."""
    annotations: str | None = None
    """The file that has all splits, or the folder that the splits' files are in; none: `root`."""
    train: str | None = None
    """Annotations of training, a file (in `annotations`, where that is a folder); none: split `train` of `annotations`."""
    val: str | None = None
    test: str | None = None
    videos: str | None = None
    """The file that tells how long each video is (EPIC_100_video_info.csv, video lengths), for formats that need one; none:
    looked for beside the annotations."""
    heads: list[str] = field(default_factory=list)
    """Which labels of the annotations are used, e.g. [verb]; empty: all."""
    broken_segments: Literal["refuse", "drop"] = "refuse"
    """Segments that are reversed, of no length or past the end of their video: the annotations are refused, or these are left
    out and counted. ActivityNet and HACS have a few."""
    missing_features: Literal["refuse", "drop"] = "refuse"
    """Videos of the annotations that have no features: refused, or left out and counted, with their segments."""
    window: Literal["sliding", "video"] = "sliding"
    """What the network sees. sliding: windows of `num_steps` steps along it; video: all of it, brought to `num_steps`."""
    num_steps: Annotated[int, Bounds(ge=2)] = 200
    """Steps of a window, T."""
    max_duration: PositiveInt = 100
    """Steps of the longest proposal, D."""
    features_per_step: PositiveInt = 2
    """sliding: features of the store that become one step."""
    stride: PositiveInt | None = None
    """sliding: steps from one window to the next; none: `max_duration`."""
    feature_seconds: PositiveFloat | None = None
    """sliding: seconds from one feature to the next; none: as the store tells."""
    min_part_inside: Fraction = 0.999
    """sliding: a segment is learned from a window that has at least so much of it; windows with none are left out."""
    min_seconds: NonNegativeFloat = 0.0
    """Segments that are shorter are not learned."""
    batch_size: PositiveInt = 16
    """Windows per optimizer step and device."""
    num_workers: NonNegativeInt = 4
    """Threads that read windows ahead; 0: the step reads them."""
    pin_memory: bool = True


@dataclass
class LocalizationModelConfig(Section):
    """The boundary-matching network (BMN)."""

    num_samples: PositiveInt = 32
    """Points sampled in a proposal, N."""
    samples_per_bin: PositiveInt = 3
    """Finer points whose mean each is."""
    boundary_ratio: NonNegativeFloat = 0.5
    """By how much of its length a proposal is widened on each side."""
    base_layers: PositiveInt = 2
    base_dim: PositiveInt = 256
    """Features of a step."""
    match_dim: PositiveInt = 512
    """Features of a proposal, where its points are joined."""
    map_dim: PositiveInt = 128
    """Features of a proposal among its neighbors."""
    groups: PositiveInt = 4
    """Of the convolutions along time."""
    regression: bool = False
    """Also predict by how much proposals are moved and widened."""
    class_maps: bool = False
    """Also predict each proposal's classes, of every head of the annotations."""
    weights: str | None = None
    """Start from the weights of this checkpoint of localization."""


@dataclass
class LocalizationLossConfig(Section):
    """The losses of boundaries and proposals."""

    boundary: NonNegativeFloat = 1.0
    """Weight of the starts' and ends' loss (temporal evaluation)."""
    overlap: NonNegativeFloat = 10.0
    """Weight of the loss of proposals' overlap, as a regression."""
    confidence: NonNegativeFloat = 1.0
    """Weight of the loss of whether a proposal overlaps by more than `confident_above`."""
    classes: NonNegativeFloat = 1.0
    """Weight of the loss of class maps, for `model.class_maps`."""
    shift: NonNegativeFloat = 1.0
    """Weight of the loss of moving and widening proposals, for `model.regression`."""
    high_above: Fraction = 0.7
    """Overlaps that count as high; those in the middle and low ones are drawn so that there are as many of them."""
    low_below: Fraction = 0.3
    """Overlaps that count as low."""
    confident_above: Fraction = 0.9
    class_above: Fraction = 0.75
    """Proposals whose classes and shifts are learned."""
    balance: Literal["tadaconv", "mmaction", "epic"] = "tadaconv"
    """Which published code's weighting of rare positives is meant; they differ where a batch has very few or none. tadaconv
    also rounds, as published: with some numbers of steps (91, 99, 210) it leaves out cells that end exactly with the window."""


@dataclass
class NmsConfig(Section):
    """Soft non-maximum suppression with Gaussian decay."""

    alpha: PositiveFloat = 0.4
    """Scores decay by exp(-IoU^power / alpha)."""
    power: PositiveFloat = 2.0
    low: Fraction = 0.25
    """Overlaps above `low` + (`high` - `low`) * width decay, where width is the better proposal's part of the video."""
    high: Fraction = 0.9
    last: bool = False
    """Also put out a video's last candidate, beside which there is no other (mmaction2 does)."""


@dataclass
class ProposalsConfig(Section):
    """From maps to proposals."""

    peak: Fraction = 0.5
    """Starts and ends are local peaks, and all above so much of the video's highest."""
    start_power: NonNegativeFloat = 0.0
    """Score: start^a * end^b * confidence^c * overlap^d."""
    end_power: NonNegativeFloat = 0.0
    confidence_power: NonNegativeFloat = 1.2
    overlap_power: NonNegativeFloat = 1.0
    min_score: NonNegativeFloat = 0.0
    """Proposals above it are kept."""
    per_second: NonNegativeFloat = 1.0
    """Proposals kept of a video, for each of its seconds."""
    at_least: NonNegativeInt = 1
    """And so many more."""
    nms: NmsConfig = field(default_factory=NmsConfig)


@dataclass
class ClassesConfig(Section):
    """What the proposals are called."""

    by: Literal["scores", "maps", "video", "clips", "none"] = "scores"
    """scores: class scores beside the features, sampled in the proposal; maps: the network's own (`model.class_maps`);
    video: one vector of class scores a video, from the file `scores`; clips: each proposal is a clip for the network of
    recognition `network`; none: proposals without classes."""
    scores: str | None = None
    """scores: where they are; none: in `data.root`. video: the file."""
    network: str | None = None
    """clips: a checkpoint of recognition."""
    videos: str | None = None
    """clips: the folder of the videos."""
    num_points: PositiveInt = 6
    """scores: points of a proposal at which they are sampled."""
    num_verbs: PositiveInt = 10
    """Likeliest verbs of a proposal that are joined with nouns."""
    num_nouns: PositiveInt = 30
    per_proposal: PositiveInt = 5
    """Classes (actions, of verbs and nouns) with which a proposal is put out."""
    power: NonNegativeFloat = 1.0
    """Score: the proposal's * class score^power; 0: the proposal's alone."""


@dataclass
class LocalizationDescentConfig(DescentConfig):
    """The optimizer."""

    name: Literal["sgd", "adam", "adamw"] = "adamw"
    lr: PositiveFloat = 2e-3
    weight_decay: NonNegativeFloat = 1e-4
    decay_biases: bool = True
    """Whether weight decay is also of biases; TAdaConv's is not."""
    base_batch_size: PositiveInt | None = None
    """Scale `lr` linearly: it is meant for batches of so many windows (over all devices, accumulated); none: as it is."""


@dataclass
class LocalizationScheduleConfig(ScheduleConfig):
    """The learning rate over time."""

    name: Literal["multistep", "cosine", "constant", "dann"] = "cosine"
    milestones: list[PositiveFloat] = field(default_factory=lambda: [7])
    warmup_epochs: NonNegativeFloat = 1
    warmup_start_lr: PositiveFloat | None = 1e-5


def _trainer() -> dict[str, Any]:
    return {**default_trainer(), "max_epochs": 10, "gradient_clip_val": None}


@dataclass
class LocalizationConfig(Section):
    """A run that learns to find actions in long videos."""

    task: Literal["localization"] = "localization"
    seed: NonNegativeInt = 42
    run: LocalizationRunConfig = field(default_factory=LocalizationRunConfig)
    data: LocalizationDataConfig = field(default_factory=LocalizationDataConfig)
    model: LocalizationModelConfig = field(default_factory=LocalizationModelConfig)
    loss: LocalizationLossConfig = field(default_factory=LocalizationLossConfig)
    optim: LocalizationDescentConfig = field(default_factory=LocalizationDescentConfig)
    schedule: LocalizationScheduleConfig = field(default_factory=LocalizationScheduleConfig)
    proposals: ProposalsConfig = field(default_factory=ProposalsConfig)
    classes: ClassesConfig = field(default_factory=ClassesConfig)
    trainer: dict[str, Any] = field(default_factory=_trainer)
    """Arguments of Lightning's Trainer."""
