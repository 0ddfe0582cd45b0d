from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from zoopraxis.config.schema import DataConfig, MixConfig
from zoopraxis.errors import ConfigError
from zoopraxis.training.mixing import (
    Box,
    Mix,
    check_mixing,
    cutmix,
    draw_boxes,
    draw_mix,
    erase,
    mix_clips,
    mixed_labels,
)


def _clips(num_clips: int = 3) -> Tensor:
    """(B, T, C, H, W) with the channels last in memory, as clips arrive; each clip holds its own number."""
    numbers = torch.arange(1.0, num_clips + 1)[:, None, None, None, None]
    return numbers.expand(num_clips, 2, 8, 10, 3).contiguous().movedim(-1, 2)


def test_mixup_blends_the_first_with_the_last() -> None:
    mixed = mix_clips(_clips(), Mix(0.75))
    assert [clip.unique().tolist() for clip in mixed] == [[1.5], [2.0], [2.5]]


def test_cutmix_takes_the_box_from_the_partner_in_every_frame() -> None:
    clips = _clips()
    mixed = mix_clips(clips, Mix(0.7, Box(2, 5, 1, 4)))
    assert mixed[0, :, :, 2:5, 1:4].unique().tolist() == [3.0]
    assert (mixed[0] == 3).sum() == 2 * 3 * 3 * 3
    assert (mixed[2] == 1).sum() == 2 * 3 * 3 * 3
    assert torch.equal(mixed[1], clips[1])


@pytest.mark.parametrize("mix", [Mix(0.75), Mix(0.7, Box(2, 5, 1, 4))])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_clips_keep_their_memory_format_and_are_not_changed(mix: Mix, dtype: torch.dtype) -> None:
    clips = _clips().to(dtype)
    before = clips.clone()
    mixed = mix_clips(clips, mix)
    assert (mixed.stride(), mixed.dtype) == (clips.stride(), dtype)
    assert torch.equal(clips, before)
    assert not torch.equal(mixed, before)


def test_nothing_is_done_and_nothing_drawn_where_all_is_off() -> None:
    clips, state = _clips(), torch.get_rng_state()
    assert draw_mix(MixConfig(), 8, 10) is None
    assert erase(clips, draw_boxes(3, 8, 10, probability=0.0)) is clips
    assert mix_clips(clips, None) is clips
    assert torch.equal(torch.get_rng_state(), state)


def test_the_weight_of_cutmix_is_the_area_outside_the_box() -> None:
    assert cutmix(0.75, 4, 5, 8, 10) == Mix(1 - 16 / 80, Box(2, 6, 3, 7))
    assert cutmix(0.75, 0, 9, 8, 10) == Mix(1 - 6 / 80, Box(0, 2, 7, 10))


def test_a_whole_weight_leaves_no_box() -> None:
    mix = cutmix(1.0, 3, 3, 8, 10)
    assert mix.weight == 1
    assert torch.equal(mix_clips(_clips(), mix), _clips())


def test_the_switch_chooses_between_both() -> None:
    torch.manual_seed(0)
    drawn = [draw_mix(MixConfig(mixup=0.2, cutmix=1.0, cutmix_probability=0.25), 32, 32) for _ in range(400)]
    num_cut = sum(mix is not None and mix.box is not None for mix in drawn)
    assert 70 < num_cut < 130


@pytest.mark.parametrize(("config", "is_cut"), [(MixConfig(mixup=0.2), False), (MixConfig(cutmix=1.0), True)])
def test_one_alone_is_always_drawn(config: MixConfig, is_cut: bool) -> None:
    torch.manual_seed(0)
    drawn = [draw_mix(config, 32, 32) for _ in range(20)]
    assert {mix is not None and mix.box is not None for mix in drawn} == {is_cut}


def test_weights_come_from_the_beta_distribution() -> None:
    torch.manual_seed(0)
    weights = torch.tensor([draw_mix(MixConfig(mixup=0.2), 4, 4).weight for _ in range(2000)])
    assert float(weights.mean()) == pytest.approx(0.5, abs=0.03)
    assert float(weights.var()) == pytest.approx(0.25 / 1.4, abs=0.01)


def test_draws_follow_the_seed() -> None:
    config = MixConfig(mixup=0.2, cutmix=1.0)
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append((draw_mix(config, 32, 32), draw_boxes(8, 32, 32, probability=0.5)))
    assert drawn[0] == drawn[1] != drawn[2]


def test_the_accuracy_of_a_mixed_clip_is_told_by_the_heavier_label() -> None:
    labels = torch.tensor([1, 2, 3])
    assert mixed_labels(labels, None).tolist() == [1, 2, 3]
    assert mixed_labels(labels, Mix(0.5)).tolist() == [1, 2, 3]
    assert mixed_labels(labels, Mix(0.49)).tolist() == [3, 2, 1]


def test_boxes_to_erase_lie_inside_and_have_the_published_areas_and_shapes() -> None:
    torch.manual_seed(0)
    boxes = draw_boxes(400, 48, 64, probability=0.75)
    drawn = [box for box in boxes if box is not None]
    assert 0.65 < len(drawn) / 400 < 0.85
    for box in drawn:
        assert 0 <= box.top < box.bottom <= 48
        assert 0 <= box.left < box.right <= 64
        height, width = box.bottom - box.top, box.right - box.left
        assert 0.015 < height * width / (48 * 64) < 0.35
        assert 0.26 < height / width < 3.8
    assert {box.top for box in drawn} > {0, 1}


def test_erasing_fills_one_box_of_all_frames_with_noise() -> None:
    torch.manual_seed(0)
    clips = _clips()
    erased = erase(clips, [None, Box(1, 7, 2, 9), None])
    assert torch.equal(erased[0], clips[0])
    assert torch.equal(erased[2], clips[2])
    is_kept = erased[1] == 2
    assert not is_kept[..., 1:7, 2:9].any()
    assert is_kept.sum() == is_kept.numel() - 2 * 3 * 6 * 7
    noise = erased[1, ..., 1:7, 2:9]
    assert noise.unique().numel() == noise.numel()
    assert float(noise.mean()) == pytest.approx(0, abs=0.2)
    assert float(noise.std()) == pytest.approx(1, abs=0.2)
    assert erased.stride() == clips.stride()
    assert clips[1].unique().tolist() == [2]


@pytest.mark.parametrize(
    ("mix", "data", "message"),
    [
        (
            {"mixup": 0.2},
            {"batch_size": 1},
            r"mix\.mixup=0\.2 needs at least 2 clips in a batch, but data\.batch_size=1; give data\.batch_size=2 or more, or "
            r"set mix\.mixup=0",
        ),
        (
            {"cutmix": 1.0},
            {"batch_size": 4, "num_repeats": 4},
            r"mix\.cutmix=1 needs at least 2 clips in a batch, but data\.batch_size=4 of data\.num_repeats=4 views a clip; "
            r"give data\.batch_size=8 or more",
        ),
    ],
)
def test_a_batch_of_one_clip_cannot_be_mixed(mix: dict[str, float], data: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_mixing(MixConfig(**mix), dataclasses.replace(DataConfig(), **data))


def test_a_batch_of_one_clip_may_be_erased() -> None:
    check_mixing(MixConfig(erasing=0.5), DataConfig(batch_size=1))
    check_mixing(MixConfig(mixup=0.2), DataConfig(batch_size=2))
