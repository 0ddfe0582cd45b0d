"""The network of TA3N: shared layers on the features of frames, their aggregation, classifiers, discriminators and attention.

# B clips, S frames, D features of a frame, R relations or frames that are attended to, V features of the video

Of two domains it sees the clips in one pass: what both share is computed once for the clips of both, those of the source first.

Source: Chen et al., Temporal Attentive Alignment for Large-Scale Video Domain Adaptation, ICCV 2019, and its published code.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoopraxis.adaptation.aggregation import (
    Aggregator,
    Average,
    Recurrent,
    RnnCell,
    SingleRelation,
    TemporalConvolution,
    TemporalRelations,
)
from zoopraxis.adaptation.arguments import Aggregation, Attention, AutoDial, Domain, Norm, Prediction, check_arguments
from zoopraxis.adaptation.discriminators import (
    AttentionLayer,
    Discriminator,
    Level,
    RelationDiscriminators,
    linear,
    transferable_weights,
)
from zoopraxis.adaptation.norms import DomainNorms, Mixing
from zoopraxis.adaptation.outputs import DomainOutput
from zoopraxis.adaptation.reversal import reverse_gradient

__all__ = ["AdaptationNetwork", "Aggregation", "Attention", "AutoDial", "Domain", "DomainOutput", "Level", "Norm", "Prediction"]

_LEVELS: tuple[Level, ...] = get_args(Level)
_RELATION_DIMS = {"relations": 256, "relation": 512}


@dataclass(frozen=True)
class _Request:
    """What is asked of a pass."""

    levels: Collection[Level] = ()
    strengths: Mapping[Level, float] = field(default_factory=dict)
    classifier_strength: float | None = None


class AdaptationNetwork(nn.Module):
    """From features of frames to classes and domains.

    Args:
        feature_dim: Of the input.
        num_segments: S; clips of another length are refused where the aggregation is made for it.
        heads: Name to number of classes.
        aggregation: From frames to a video: relations of all lengths (TRN-M), one relation of all frames (TRN), the mean, a
            recurrent network, a temporal convolution.
        prediction: What is classified: the video; or each frame, of which the mean is taken; or each frame by itself.
        shared_dim: D, at most `feature_dim`.
        num_shared_layers: 1 to 3.
        relation_dim: V of relations; None: 256, of the one relation 512.
        dropout: On frames, behind each shared layer.
        video_dropout: On the video's feature.
        attention: Weights of relations, or of frames for the mean; the other aggregations have none. transferable: by their
            discriminator; general: learned.
        frame_attention: Weights of frames before they are aggregated.
        norm: Batch norms of each domain's own behind the first shared layer and the temporal convolution.
        autodial: How alpha of `norm="autodial"` is taken, see `norms.Mixing`.
        share_parameters: False: the target has shared layers and classifiers of its own.
        rnn_cell: Of the recurrent network, like the next three.
        rnn_layers: One upon the other.
        rnn_directions: 1 or 2.
        rnn_bins: Spans of a clip whose maxima are read.
        second_classifier: Have two classifiers a head (maximum classifier discrepancy).

    Attributes:
        arguments: Plain values from which `AdaptationNetwork(**arguments)` is built again.

    Raises:
        ValueError: If a number is out of range or a name unknown.

    Differs: the published code stops at several heads with second classifiers, with own parameters of the target or with
    predictions of frames, and at single relations and temporal convolutions; here they work.
    """

    def __init__(
        self,
        *,
        feature_dim: int,
        num_segments: int,
        heads: Mapping[str, int],
        aggregation: Aggregation = "relations",
        prediction: Prediction = "video",
        shared_dim: int = 512,
        num_shared_layers: int = 1,
        relation_dim: int | None = None,
        dropout: float = 0.5,
        video_dropout: float = 0.5,
        attention: Attention = "transferable",
        frame_attention: Attention = "none",
        norm: Norm = "none",
        autodial: AutoDial = "learned",
        share_parameters: bool = True,
        rnn_cell: RnnCell = "lstm",
        rnn_layers: int = 1,
        rnn_directions: int = 1,
        rnn_bins: int = 5,
        second_classifier: bool = False,
    ) -> None:
        arguments = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        super().__init__()
        self.arguments: dict[str, Any] = {**arguments, "heads": dict(heads)}
        check_arguments(self.arguments)
        self.prediction, self.attention, self.frame_attention = prediction, attention, frame_attention
        dim = min(shared_dim, feature_dim)
        mixing: Mixing | None = {"none": None, "adabn": "none", "autodial": autodial}[norm]
        self._build_frame_layers(dim, mixing)
        self.aggregator = self._build_aggregator(dim, mixing)
        self._build_discriminators(dim)
        self._build_classifiers(dim if prediction != "video" else self.aggregator.output_dim)
        self.dropout, self.video_dropout = nn.Dropout(dropout), nn.Dropout(video_dropout)

    def forward(self, features_BSD: Tensor) -> dict[str, Tensor]:
        """Classify clips of the target, by its norms and layers.

        Args:
            features_BSD: Shape (B, S, feature_dim).

        Returns:
            Logits of each head, shape (B, classes), for predictions of frames their mean.

        Raises:
            ValueError: If the features have another shape.
        """
        return self._see({"target": features_BSD}, _Request()).clip_logits()

    def domains(
        self,
        source_BSD: Tensor,
        target_BSD: Tensor,
        *,
        strengths: Mapping[Level, float] | None = None,
        classifier_strength: float | None = None,
        levels: Collection[Level] | None = None,
    ) -> tuple[DomainOutput, DomainOutput]:
        """See clips of both domains at once; their numbers may differ.

        Args:
            source_BSD: Shape (B, S, feature_dim).
            target_BSD: Like it.
            strengths: Gradients behind the discriminators are multiplied by -strength on their way to the features; levels that
                are absent give none.
            classifier_strength: Like it for the classifiers (the second step of maximum classifier discrepancy); None: they
                give their gradients as they are.
            levels: Discriminators asked for; None: all. Others are computed only where the attention needs them.

        Returns:
            What is found in the source's clips, and in the target's.

        Raises:
            ValueError: If the features have another shape.
        """
        request = _Request(_LEVELS if levels is None else levels, strengths or {}, classifier_strength)
        both = self._see({"source": source_BSD, "target": target_BSD}, request)
        num_source = len(source_BSD)
        return both.between(0, num_source), both.between(num_source, num_source + len(target_BSD))

    def describe(self, features_BSD: Tensor, domain: Domain = "target") -> DomainOutput:
        """See clips of one domain, by its norms and layers; see `domains`."""
        return self._see({domain: features_BSD}, _Request(_LEVELS))

    def _see(self, clips: Mapping[Domain, Tensor], request: _Request) -> DomainOutput:
        for features_BSD in clips.values():
            self._check_features(features_BSD)
        num_source = len(clips["source"]) if "source" in clips else 0
        frames_BSD, features = self._see_frames(clips, num_source)
        domain_logits: dict[Level, Tensor] = {}
        if "frame" in request.levels or "frame" in self._attended_levels():
            domain_logits["frame"] = self._tell_domain("frame", frames_BSD, request)
        frame_weights_BS = _weights(self.frame_attention, frames_BSD, domain_logits.get("frame"), self.frame_attention_layer)
        if frame_weights_BS is not None:
            frames_BSD = frames_BSD * (1 + frame_weights_BS).unsqueeze(2)
        video_BV, attention_BR = self._aggregate(frames_BSD, num_source, request, domain_logits)
        features["video"] = video_BV
        dropped_BV = self.video_dropout(video_BV)
        if "video" in request.levels:
            domain_logits["video"] = self._tell_domain("video", dropped_BV, request)
        logits, second_logits = self._classify(frames_BSD, dropped_BV, num_source, request)
        asked = {level: domain_logits[level] for level in _LEVELS if level in request.levels and level in domain_logits}
        return DomainOutput(logits, second_logits, asked, attention_BR, features)

    def _see_frames(self, clips: Mapping[Domain, Tensor], num_source: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Features of frames behind the shared layers, shape (B, S, D), and those of each layer."""
        own = {"source": self.frame_layers, "target": self.target_frame_layers or self.frame_layers}
        # Without clips a domain's own layer is left alone, lest gradients of 0 let weight decay at it.
        present = clips
        if len(clips) > 1:
            present = {domain: features_BSD for domain, features_BSD in clips.items() if len(features_BSD)} or clips
        # The wide inputs are not set side by side: only what becomes of them.
        parts = [own[domain][0](features_BSD) for domain, features_BSD in present.items()]
        hidden_BSD = parts[0] if len(parts) == 1 else torch.cat(parts)
        if self.frame_norms is not None:
            hidden_BSD = self.frame_norms(hidden_BSD, num_source, self.alpha)
        hidden_BSD = self.dropout(F.relu(hidden_BSD))
        features = {"shared_1": hidden_BSD}
        for number in range(1, len(self.frame_layers)):
            target = self.target_frame_layers[number] if self.target_frame_layers is not None else None
            hidden_BSD = self.dropout(F.relu(_by_domain(self.frame_layers[number], target, hidden_BSD, num_source)))
            features[f"shared_{number + 1}"] = hidden_BSD
        return hidden_BSD, features

    def _aggregate(
        self, frames_BSD: Tensor, num_source: int, request: _Request, domain_logits: dict[Level, Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        """Features of videos, shape (B, V), and what was attended to; the relations' domains are entered where needed."""
        items_BRV = self.aggregator(frames_BSD, num_source, self.alpha)
        level = self.aggregator.level
        if level is None:
            return items_BRV, None
        if level == "relation" and ("relation" in request.levels or "relation" in self._attended_levels()):
            domain_logits["relation"] = self._tell_domain("relation", items_BRV, request)
        weights_BR = _weights(self.attention, items_BRV, domain_logits.get(level), self.attention_layer)
        return self.aggregator.pool(items_BRV, weights_BR), weights_BR

    def _classify(
        self, frames_BSD: Tensor, video_BV: Tensor, num_source: int, request: _Request
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        # Classifiers are linear: the mean of the frames' logits is the logits of their mean.
        seen: dict[str, Callable[[], Tensor]] = {
            "video": lambda: video_BV,
            "average": lambda: frames_BSD.mean(dim=1),
            "frames": lambda: frames_BSD,
        }
        features = seen[self.prediction]()
        if request.classifier_strength is not None:
            features = reverse_gradient(features, request.classifier_strength)
        logits = self._heads("classifiers", features, num_source)
        has_second = self.arguments["second_classifier"]
        return logits, self._heads("second_classifiers", features, num_source) if has_second else logits

    def _heads(self, name: str, features: Tensor, num_source: int) -> dict[str, Tensor]:
        target = getattr(self, f"target_{name}")
        logits: dict[str, Tensor] = {}
        for head, classifier in getattr(self, name).items():
            values = _by_domain(classifier, None if target is None else target[head], features, num_source)
            logits[head] = values.flatten(0, -2)
        return logits

    def _tell_domain(self, level: Level, features: Tensor, request: _Request) -> Tensor:
        logits: Tensor = self.discriminators[level](reverse_gradient(features, request.strengths.get(level, 0.0)))
        return logits

    def _attended_levels(self) -> set[Level]:
        """Levels whose discriminators the attention asks."""
        levels: set[Level] = {"frame"} if self.frame_attention == "transferable" else set()
        if self.attention == "transferable" and self.aggregator.level is not None:
            levels.add(self.aggregator.level)
        return levels

    def _build_frame_layers(self, dim: int, mixing: Mixing | None) -> None:
        widths = [self.arguments["feature_dim"], *[dim] * self.arguments["num_shared_layers"]]
        is_shared = self.arguments["share_parameters"]
        pairs = list(pairwise(widths))
        self.frame_layers = nn.ModuleList(linear(*pair) for pair in pairs)
        self.target_frame_layers = None if is_shared else nn.ModuleList(linear(*pair) for pair in pairs)
        self.frame_norms = None if mixing is None else DomainNorms(dim, mixing=mixing)
        is_mixed = mixing is not None and mixing != "none"
        self.alpha = nn.Parameter(torch.ones(1), requires_grad=mixing == "learned") if is_mixed else None

    def _build_aggregator(self, dim: int, mixing: Mixing | None) -> Aggregator:
        given = self.arguments
        relation_dim = given["relation_dim"] or _RELATION_DIMS.get(given["aggregation"], dim)
        relation = {"frame_dim": dim, "num_segments": given["num_segments"], "relation_dim": relation_dim}
        rnn = {
            "cell": given["rnn_cell"],
            "num_layers": given["rnn_layers"],
            "num_directions": given["rnn_directions"],
            "num_bins": given["rnn_bins"],
        }
        made: dict[str, Callable[[], Aggregator]] = {
            "relations": lambda: TemporalRelations(**relation),
            "relation": lambda: SingleRelation(**relation),
            "average": lambda: Average(frame_dim=dim),
            "rnn": lambda: Recurrent(frame_dim=dim, **rnn),
            "temconv": lambda: TemporalConvolution(frame_dim=dim, mixing=mixing),
        }
        return made[given["aggregation"]]()

    def _build_discriminators(self, dim: int) -> None:
        video_dim = self.aggregator.output_dim
        self.discriminators = nn.ModuleDict({"video": Discriminator(video_dim), "frame": Discriminator(dim)})
        if self.aggregator.level == "relation":
            self.discriminators["relation"] = RelationDiscriminators(self.arguments["num_segments"] - 1, video_dim)
        has_layer = self.attention == "general" and self.aggregator.level is not None
        self.attention_layer = AttentionLayer(video_dim) if has_layer else None
        self.frame_attention_layer = AttentionLayer(dim) if self.frame_attention == "general" else None

    def _build_classifiers(self, dim: int) -> None:
        def made(is_there: bool) -> nn.ModuleDict | None:
            heads = self.arguments["heads"]
            return nn.ModuleDict({name: linear(dim, classes) for name, classes in heads.items()}) if is_there else None

        is_own, has_second = not self.arguments["share_parameters"], self.arguments["second_classifier"]
        self.classifiers, self.target_classifiers = made(True), made(is_own)
        self.second_classifiers, self.target_second_classifiers = made(has_second), made(has_second and is_own)

    def _check_features(self, features_BSD: Tensor) -> None:
        num_segments, feature_dim = self.aggregator.num_segments, self.arguments["feature_dim"]
        if features_BSD.ndim != 3 or features_BSD.shape[2] != feature_dim:
            raise ValueError(
                f"features must have shape (clips, frames, {feature_dim}), not {tuple(features_BSD.shape)}; "
                "give the modalities that the network was trained on, in their order"
            )
        if num_segments is not None and features_BSD.shape[1] != num_segments:
            raise ValueError(
                f"aggregation={self.arguments['aggregation']!r} is made for {num_segments} features a clip, not "
                f"{features_BSD.shape[1]}; give {num_segments}, or train with num_segments={features_BSD.shape[1]}"
            )


def _by_domain(source: nn.Module, target: nn.Module | None, values: Tensor, num_source: int) -> Tensor:
    """The values of the source's clips, which come first, through its module, the others through the target's."""
    if target is None or num_source == 0 or num_source == len(values):
        one = target if target is not None and num_source == 0 else source
        whole: Tensor = one(values)
        return whole
    return torch.cat([source(values[:num_source]), target(values[num_source:])])


def _weights(
    attention: Attention, items_BND: Tensor, domain_logits_BN2: Tensor | None, layer: nn.Module | None
) -> Tensor | None:
    """Weights of a clip's items, shape (B, N); None: all weigh the same."""
    if attention == "none":
        return None
    if attention == "transferable":
        assert domain_logits_BN2 is not None
        return transferable_weights(domain_logits_BN2)
    assert layer is not None
    weights_BN: Tensor = layer(items_BND)
    return weights_BN
