"""Every setting of a domain adaptation run; see `config.schema`, whose tables it shares."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from zoopraxis.config.schema import (
    Bounds,
    ClipDataConfig,
    DescentConfig,
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
    "AdaptConfig",
    "AdaptationConfig",
    "AdaptationDataConfig",
    "AdaptationDescentConfig",
    "AdaptationModelConfig",
    "AdaptationRunConfig",
    "StrengthsConfig",
]

Dropout = Annotated[float, Bounds(ge=0, lt=1)]


@dataclass
class AdaptationRunConfig(RunFolderConfig):
    """A run's folder, and which of its checkpoints is the best."""

    select: Literal["last", "source", "entropy", "target"] = "last"
    """How the best checkpoint is chosen. last: the last one; source: by accuracy on `data.source_val`; entropy: by the entropy
    of the predictions on the target's training clips; target: by accuracy on `data.target_val`, whose labels thereby leak into
    the model (as the published UCF-HMDB numbers were made)."""


@dataclass
class AdaptationDataConfig(ClipDataConfig):
    """The clips of two domains: labelled ones of the source, others of the target."""

    store: Literal["features", "gulp", "frames", "video"] = "features"
    """features: made by `zoopraxis prepare features`, or a folder of the published pickles; else what `modality`, `sampling`
    and `transform` read frames from, for a network on clips."""
    target_root: str | None = None
    """The target's store, where it has one of its own; none: `root` is that of both domains."""
    annotations: str | None = None
    """The folder of the domains' annotations; none: `root`."""
    format: Literal["auto", "epic", "csv", "folder", "kinetics", "ucf101", "hmdb51", "index", "list"] = "auto"
    """Of the annotations."""
    mapping: Literal["none", "ucf_hmdb", "ucf_hmdb_small", "ucf_olympic"] = "none"
    """Classes that two data sets share, by which clips are kept and numbered anew."""
    phase: Literal["tune", "train"] = "train"
    """Of the EPIC-KITCHENS-100 challenge. tune: learn from source_val and target_val, to find settings; train: learn from
    source_train and target_train with the settings found, and predict target_test."""
    source: str | None = None
    """Annotations of the labelled training clips, a file or folder in `annotations`; none: those of `phase`."""
    target: str | None = None
    """Annotations of the target's training clips; labels in them are not read. None: those of `phase`."""
    source_val: str | None = None
    """Labelled clips of the source on which the network is watched."""
    target_val: str | None = None
    """Labelled clips of the target on which the network is watched."""
    test: str | None = None
    """Clips that `zoopraxis test --split test` scores; none: the challenge's target_test."""
    official_split: Literal[1, 2, 3] = 1
    modalities: list[str] = field(default_factory=list)
    """features: which stand side by side, in this order; empty: all of the store."""
    num_segments: PositiveInt = 5
    """Features (or frames) per clip, S."""
    target_batch_size: PositiveInt | None = None
    """Clips of the target a step; none: `batch_size` times the target's clips over the source's, so that both end together."""
    epoch: Literal["shorter", "longer"] = "shorter"
    """An epoch ends with the domain that has fewer batches, or with the one that has more (the other begins anew)."""
    pad_batches: bool = False
    """Fill up an epoch's last, smaller batches with zeros, which enter batch norms (published)."""


@dataclass
class AdaptationModelConfig(Section):
    """The network: shared layers over the features of frames, their aggregation, classifiers and discriminators."""

    aggregation: Literal["relations", "relation", "average", "rnn", "temconv"] = "relations"
    """From frames to a video: multi-scale relations (TRN-M), one relation of all frames (TRN), the mean (TemPooling), a
    recurrent network, a temporal convolution."""
    prediction: Literal["video", "average", "frames"] = "video"
    """What is classified: the video; or each frame, of which the mean is taken; or each frame by itself."""
    shared_dim: PositiveInt = 512
    """Features of the shared layers, at most those of the input."""
    num_shared_layers: Annotated[int, Bounds(ge=1, le=3)] = 1
    relation_dim: PositiveInt | None = None
    """Features of a relation; none: 256 of relations, 512 of the one relation."""
    dropout: Dropout = 0.5
    """On frames, behind each shared layer."""
    video_dropout: Dropout = 0.5
    """On the video's feature."""
    attention: Literal["transferable", "general", "none"] = "transferable"
    """Weights of relations (or of frames, for the mean). transferable: 1 + (1 - entropy) of their discriminator; general:
    learned."""
    frame_attention: Literal["transferable", "general", "none"] = "none"
    """Weights of frames before they are aggregated."""
    norm: Literal["none", "adabn", "autodial"] = "none"
    """Batch norms of each domain's own behind the first shared layer; autodial: a learned part of each batch is exchanged."""
    autodial: Literal["learned", "published"] = "learned"
    """How. learned: each norm mixes the statistics of both domains, and how much of its own is learned; published: clips are
    exchanged, and the part never learns, so that it is the same as adabn (for published checkpoints)."""
    share_parameters: bool = True
    """False: the target has shared layers and classifiers of its own."""
    rnn_cell: Literal["lstm", "gru"] = "lstm"
    rnn_layers: PositiveInt = 1
    rnn_directions: Annotated[int, Bounds(ge=1, le=2)] = 1
    rnn_bins: PositiveInt = 5
    """Spans of a clip whose maxima the recurrent network reads."""
    heads: dict[str, PositiveInt] | None = None
    """Classes a head; none: as the annotations have them."""
    weights: str | None = None
    """Start from the weights of this checkpoint of adaptation."""
    backbone: str | None = None
    """For clips: an image network of timm; none: resnet50."""
    temporal: str | None = None
    """For clips: a temporal module for the backbone's blocks."""
    pretrained: bool = True
    """For clips: start from the backbone's ImageNet weights."""
    backbone_weights: str | None = None
    """For clips: start the backbone from this checkpoint of recognition."""
    partial_bn: bool = False
    """For clips: freeze every batch norm of the backbone but the first."""
    freeze_norms: bool = False
    share_norms: bool = True
    """For clips: batch norms of the backbone see both domains' clips as one batch; false: each domain's by themselves."""
    grad_checkpointing: bool = False
    mean: list[float] = field(default_factory=lambda: [0.485, 0.456, 0.406])
    std: list[PositiveFloat] = field(default_factory=lambda: [0.485, 0.456, 0.406])


@dataclass
class StrengthsConfig(Section):
    """What gradients are multiplied by, reversed, behind each discriminator; below 0: by the warm-up's factor alone."""

    relation: float = 0.75
    video: float = 0.75
    frame: float = 0.5


@dataclass
class AdaptConfig(Section):
    """How the domains are brought together."""

    target: Literal["unlabelled", "labelled", "none"] = "unlabelled"
    """What the target's clips serve for. labelled: their labels are learned too (an upper bound, no adaptation); none: nothing
    (source only)."""
    adversarial: bool = True
    """Discriminators of the domains behind reversed gradients (DANN)."""
    levels: list[Literal["relation", "video", "frame"]] = field(default_factory=lambda: ["relation", "video", "frame"])
    """What is discriminated."""
    strengths: StrengthsConfig = field(default_factory=StrengthsConfig)
    warmup: Literal["none", "slow", "dann"] = "slow"
    """What the strengths are multiplied by, at the part p of the run that lies behind. slow: 2 / (1 + exp(-p)) - 1, up to 0.46
    (published for EPIC-KITCHENS-100); dann: 2 / (1 + exp(-10 p)) - 1, up to 1; none: 1."""
    warmup_each: Literal["step", "epoch"] = "step"
    """When strengths below 0 follow the warm-up: each step, or once an epoch (published)."""
    first_epoch: NonNegativeInt = 1
    """The number of the run's first epoch in warm-ups and in schedule `dann`; published: 1."""
    entropy: Literal["attentive", "target", "none"] = "attentive"
    """Certain predictions. attentive: of all videos, the more the less certain their domain; target: of the target's videos."""
    entropy_weight: NonNegativeFloat = 0.003
    discrepancy: Literal["none", "dan", "jan", "coral"] = "none"
    """A distance between the domains' features that is made small."""
    discrepancy_at: list[str] = field(default_factory=lambda: ["video"])
    """dan, coral: which features. video; shared_1, shared_2, shared_3 (frames); logits (of every head), or a head's name."""
    discrepancy_weight: float = 1.0
    """Below 0: 2 / (1 + exp(-epoch / epochs)) - 1."""
    mcd: bool = False
    """Two classifiers that the shared layers bring to agree on the target (maximum classifier discrepancy)."""
    mcd_strength: NonNegativeFloat = 1.0
    """What their gradients are multiplied by, reversed, on the way to the shared layers."""
    heads: list[str] = field(default_factory=list)
    """Heads whose losses count; empty: all, their mean."""
    pretrain_source: bool = False
    """A step of classification on the source's batch alone before each step."""
    normalize_predictions: bool = False
    """Divide logits by the logarithm of their variance (published as under construction)."""


@dataclass
class AdaptationDescentConfig(DescentConfig):
    """The optimizer."""

    lr: PositiveFloat = 3e-3
    weight_decay: NonNegativeFloat = 1e-4
    nesterov: bool = True
    backbone_lr: PositiveFloat = 1.0
    """For clips: multiple of the backbone's rate."""


@dataclass
class AdaptationScheduleConfig(ScheduleConfig):
    """The learning rate over time."""

    milestones: list[PositiveFloat] = field(default_factory=lambda: [10, 20])


def _trainer() -> dict[str, Any]:
    return {**default_trainer(), "max_epochs": 30}


@dataclass
class AdaptationConfig(Section):
    """A domain adaptation run."""

    task: Literal["adaptation"] = "adaptation"
    seed: NonNegativeInt = 42
    run: AdaptationRunConfig = field(default_factory=AdaptationRunConfig)
    data: AdaptationDataConfig = field(default_factory=AdaptationDataConfig)
    model: AdaptationModelConfig = field(default_factory=AdaptationModelConfig)
    adapt: AdaptConfig = field(default_factory=AdaptConfig)
    optim: AdaptationDescentConfig = field(default_factory=AdaptationDescentConfig)
    schedule: AdaptationScheduleConfig = field(default_factory=AdaptationScheduleConfig)
    trainer: dict[str, Any] = field(default_factory=_trainer)
    """Arguments of Lightning's Trainer."""
