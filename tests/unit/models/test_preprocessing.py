"""Preprocessing records and normalization."""

from __future__ import annotations

import json

import pytest
import torch

from zoopraxis.errors import ConfigError
from zoopraxis.models import Preprocessing, normalize


def test_normalization_is_the_published_formula_for_each_channel() -> None:
    clip = torch.randint(0, 256, (2, 3, 3, 4, 4), dtype=torch.uint8)
    preprocessing = Preprocessing(mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.125))
    mean, std = torch.tensor([0.1, 0.2, 0.3])[:, None, None], torch.tensor([0.5, 0.25, 0.125])[:, None, None]
    torch.testing.assert_close(normalize(clip, preprocessing), (clip / 255 - mean) / std)


def test_statistics_repeat_over_stacked_frames() -> None:
    flow = torch.randint(0, 256, (1, 2, 10, 3, 3), dtype=torch.uint8)
    preprocessing = Preprocessing.epic("flow", segment_length=5)
    torch.testing.assert_close(normalize(flow, preprocessing), (flow / 255 - 0.5) / 0.226)
    rgb = torch.randint(0, 256, (1, 1, 6, 3, 3), dtype=torch.uint8)
    both = normalize(rgb, Preprocessing(segment_length=2))
    torch.testing.assert_close(both[:, :, 3:], normalize(rgb[:, :, 3:], Preprocessing()))


def test_normalization_keeps_the_clip_and_its_memory_format() -> None:
    clip = torch.randint(0, 256, (2, 3, 5, 4, 3), dtype=torch.uint8).permute(0, 1, 4, 2, 3)
    before = clip.clone()
    frames = normalize(clip, Preprocessing()).flatten(0, 1)
    assert frames.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(clip, before)


def test_bgr_networks_get_their_colors_in_that_order() -> None:
    clip = torch.randint(0, 256, (1, 1, 6, 2, 2), dtype=torch.uint8)
    plain = Preprocessing(mean=(0.5,), std=(0.5,), segment_length=2)
    swapped = Preprocessing(mean=(0.5,), std=(0.5,), segment_length=2, color_order="bgr")
    assert torch.equal(normalize(clip, swapped), normalize(clip[:, :, [2, 1, 0, 5, 4, 3]], plain))


def test_a_record_survives_json() -> None:
    preprocessing = Preprocessing.epic("flow", num_segments=16, segment_length=5)
    assert Preprocessing.from_dict(json.loads(json.dumps(preprocessing.to_dict()))) == preprocessing
    assert preprocessing.in_channels == 10


def test_epic_rgb_has_std_equal_to_mean() -> None:
    assert Preprocessing.epic("rgb").std == Preprocessing.epic("rgb").mean == (0.485, 0.456, 0.406)


def test_bad_values_are_refused() -> None:
    with pytest.raises(ConfigError, match="unknown modality 'flwo'; did you mean 'flow'"):
        Preprocessing(modality="flwo")
    with pytest.raises(ConfigError, match="mean has 2 values, but rgb needs 1 or 3"):
        Preprocessing(mean=(0.1, 0.2))
    with pytest.raises(ConfigError, match=r"size \(0\) must be at least 1"):
        Preprocessing(size=0)
    with pytest.raises(ConfigError, match="must be positive"):
        Preprocessing(std=(0.0,))
    with pytest.raises(ConfigError, match="unknown color_order 'gbr'; known: bgr, rgb"):
        Preprocessing(color_order="gbr")
    with pytest.raises(ConfigError, match="unknown preprocessing setting 'men'; did you mean 'mean'"):
        Preprocessing.from_dict({"men": [0.5]})
    with pytest.raises(ValueError, match="a flow clip needs a multiple of 2 channels, not 3"):
        normalize(torch.zeros(1, 3, 2, 2), Preprocessing.epic("flow"))
