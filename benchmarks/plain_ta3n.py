"""TA3N's training as the published code formulates it, plainly: what `adaptation.py` is timed against.

One clip at a time out of arrays in memory, one feature at a time, its labels out of its row of a pandas table; each domain
through the network by itself; a loop over relations, their frames and their discriminators; classifiers of frames that no loss
uses. The names of the parameters are the published ones, so that our network can be given the same weights.

# B clips, S segments, D features
"""

from __future__ import annotations

import itertools
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

Output = tuple[Tensor, Tensor, list[Tensor]]


class PlainDataset(Dataset[tuple[Tensor, tuple[int, int], str]]):
    """All features in memory; an item is stacked of features that are converted one by one.

    Args:
        path: A published pickle.
        clip_ids: The domain's clips.
        shares: Clips that share one clip of the file: the k-th of them takes features that lie k later.
    """

    def __init__(
        self,
        path: Path,
        clip_ids: npt.NDArray[np.str_],
        *,
        num_segments: int,
        num_verbs: int,
        num_nouns: int,
        shares: int,
    ) -> None:
        with path.open("rb") as file:
            content = pickle.load(file)
        rows = dict(zip(content["narration_ids"], np.concatenate(list(content["features"].values()), -1), strict=True))
        stored = list(rows)
        self.data = {clip_id: rows[stored[i // shares]] for i, clip_id in enumerate(clip_ids.tolist())}
        numbers = np.arange(len(clip_ids))
        table = pd.DataFrame({"narration_id": clip_ids, "verb_class": numbers % num_verbs, "noun_class": numbers % num_nouns})
        self.clips = [row for _, row in table.iterrows()]
        self.num_segments, self.shares = num_segments, shares

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> tuple[Tensor, tuple[int, int], str]:
        clip, shift = self.clips[index], index % self.shares - self.shares // 2
        clip_id = clip.narration_id
        span = float(len(self.data[clip_id])) / float(self.num_segments)
        places = np.array([int(span / 2.0 + span * float(k)) for k in range(self.num_segments)]) + 1 + shift
        features: list[Tensor] = []
        for place in places:
            features.extend(torch.from_numpy(np.expand_dims(self.data[clip_id][int(place) - 1], axis=0)).float())
        has_labels = "verb_class" in clip and "noun_class" in clip
        return torch.stack(features), (int(clip.verb_class), int(clip.noun_class)) if has_labels else (0, 0), clip_id


def plain_loader(dataset: PlainDataset, *, batch_size: int, seed: int) -> DataLoader[Any]:
    """Random batches, read in this process."""
    generator = torch.Generator().manual_seed(seed)
    return DataLoader(dataset, batch_size=batch_size, shuffle=True, generator=generator)


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradient, None


class PlainNetwork(nn.Module):
    """One shared layer, relations of several scales with attention, discriminators of relations, videos and frames."""

    def __init__(self, *, feature_dim: int, num_segments: int, num_verbs: int, num_nouns: int, dropout: float) -> None:
        super().__init__()
        dim, relation_dim = 512, 256
        self.scales = list(range(num_segments, 1, -1))
        self.fc_feature_shared_source = nn.Linear(feature_dim, dim)
        self.fc_feature_domain, self.fc_classifier_domain = nn.Linear(dim, dim), nn.Linear(dim, 2)
        self.fc_classifier_source_verb, self.fc_classifier_source_noun = nn.Linear(dim, num_verbs), nn.Linear(dim, num_nouns)
        self.TRN = nn.Module()
        self.TRN.fc_fusion_scales = nn.ModuleList(
            nn.Sequential(nn.ReLU(), nn.Linear(scale * dim, relation_dim), nn.ReLU()) for scale in self.scales
        )
        self.relation_domain_classifier_all = nn.ModuleList(
            nn.Sequential(nn.Linear(relation_dim, relation_dim), nn.ReLU(), nn.Linear(relation_dim, 2)) for _ in self.scales
        )
        self.fc_feature_domain_video = nn.Linear(relation_dim, relation_dim)
        self.fc_classifier_domain_video = nn.Linear(relation_dim, 2)
        self.fc_classifier_video_verb_source = nn.Linear(relation_dim, num_verbs)
        self.fc_classifier_video_noun_source = nn.Linear(relation_dim, num_nouns)
        self.dropout = nn.Dropout(dropout)
        self.frames = [_chosen(num_segments, scale) for scale in self.scales]

    def forward(self, source_BSD: Tensor, target_BSD: Tensor, strengths: list[float]) -> tuple[Output, Output]:
        """Both domains, one after the other: verb and noun logits, and logits of relations, videos and frames."""
        return self._domain(source_BSD, strengths), self._domain(target_BSD, strengths)

    def _domain(self, features_BSD: Tensor, strengths: list[float]) -> Output:
        num_clips, num_segments = features_BSD.shape[:2]
        frames = self.dropout(F.relu(self.fc_feature_shared_source(features_BSD.view(-1, features_BSD.shape[-1]))))
        reversed_frames = _Reversal.apply(frames, strengths[2])
        frame_logits = self.fc_classifier_domain(F.relu(self.fc_feature_domain(reversed_frames)))
        self.fc_classifier_source_verb(frames)
        self.fc_classifier_source_noun(frames)
        clips = frames.view(num_clips, num_segments, -1)
        relations = []
        for fusion, choices in zip(self.TRN.fc_fusion_scales, self.frames, strict=True):
            total = fusion(clips[:, choices[0], :].view(num_clips, -1))
            for choice in choices[1:]:
                total = total + fusion(clips[:, choice, :].view(num_clips, -1))
            relations.append(total)
        relations_BRD = torch.stack(relations, dim=1)
        logits = []
        for i, classifier in enumerate(self.relation_domain_classifier_all):
            logits.append(classifier(_Reversal.apply(relations_BRD[:, i, :], strengths[0])))
        relation_logits = torch.stack(logits, dim=1)
        weights = 1 - _entropy(relation_logits.view(-1, 2)).view(num_clips, -1)
        video = self.dropout(((weights + 1).unsqueeze(-1) * relations_BRD).sum(1))
        reversed_video = _Reversal.apply(video, strengths[1])
        video_logits = self.fc_classifier_domain_video(F.relu(self.fc_feature_domain_video(reversed_video)))
        verb, noun = self.fc_classifier_video_verb_source(video), self.fc_classifier_video_noun_source(video)
        return verb, noun, [relation_logits, video_logits, frame_logits.view(num_clips, num_segments, 2)]


def plain_loss(
    network: PlainNetwork, source_BSD: Tensor, labels: tuple[Tensor, Tensor], target_BSD: Tensor, strengths: list[float]
) -> Tensor:
    """Classification, discriminators and attentive entropy."""
    (verb, noun, source_levels), (target_verb, target_noun, target_levels) = network(source_BSD, target_BSD, strengths)
    loss = 0.5 * (F.cross_entropy(verb, labels[0]) + F.cross_entropy(noun, labels[1]))
    domains = []
    for source_logits, target_logits in zip(source_levels, target_levels, strict=True):
        of_source, of_target = source_logits.view(-1, 2), target_logits.view(-1, 2)
        truth = torch.cat([torch.zeros(len(of_source)).long(), torch.ones(len(of_target)).long()])
        domains.append(torch.cat([of_source, of_target]))
        loss = loss + F.cross_entropy(domains[-1], truth)
    weights = 1 + _entropy(domains[1])
    for logits in (torch.cat([verb, target_verb]), torch.cat([noun, target_noun])):
        loss = loss + 0.003 * 0.5 * (weights * _entropy(logits)).mean()
    return loss


def plain_strengths(step: int, steps_per_epoch: int, num_epochs: int) -> list[float]:
    """Of relations, videos and frames in the first epoch, which is number 1."""
    part = (step + steps_per_epoch) / (num_epochs * steps_per_epoch)
    return [strength * (2 / (1 + math.exp(-part)) - 1) for strength in (0.75, 0.75, 0.5)]


def _entropy(logits: Tensor) -> Tensor:
    return (-F.softmax(logits, dim=1) * F.log_softmax(logits, dim=1)).sum(1)


def _chosen(num_segments: int, scale: int) -> list[tuple[int, ...]]:
    """Up to three combinations of `scale` frames, evenly spread over all of them."""
    combinations = list(itertools.combinations(range(num_segments), scale))
    num_chosen = min(3, len(combinations))
    return [combinations[math.ceil(i * len(combinations) / num_chosen)] for i in range(num_chosen)]
