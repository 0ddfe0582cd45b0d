"""Crops, flips and stacking: what goes where, in which memory, and that one clip has one decision."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate

from zoopraxis.data.colors import ColorJitter
from zoopraxis.data.crops import Crop, RandomShortSideCrop
from zoopraxis.data.sampling import Generator, clip_generator
from zoopraxis.data.transforms import TestTransform, TrainTransform


def noise(num_frames: int, height: int, width: int, channels: int = 3) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (num_frames, height, width, channels), dtype=np.uint8)


def whole(height: int, width: int, generator: object) -> Crop:
    return Crop(0, 0, height, width)


def pillow(frame: npt.NDArray[np.uint8], crop: Crop, size: int) -> npt.NDArray[np.uint8]:
    box = (crop.left, crop.top, crop.left + crop.width, crop.top + crop.height)
    return np.asarray(Image.fromarray(frame).crop(box).resize((size, size), Image.Resampling.BILINEAR))


@pytest.mark.parametrize("num_frames", [1, 3])
@pytest.mark.parametrize("crop", [Crop(3, 5, 40, 50), Crop(0, 0, 20, 24), Crop(8, 9, 32, 32)])
def test_training_gives_what_pillow_gives(num_frames: int, crop: Crop) -> None:
    frames = noise(num_frames, 48, 64)
    clip = TrainTransform(size=32, crop=lambda *_: crop, flip=0)(frames, clip_generator(0, 0, "a"))
    assert clip.dtype == torch.uint8
    assert clip.shape == (num_frames, 3, 32, 32)
    assert clip.permute(0, 2, 3, 1).is_contiguous()
    for got, frame in zip(clip.permute(0, 2, 3, 1).numpy(), frames, strict=True):
        assert np.abs(got.astype(int) - pillow(frame, crop, 32)).max() <= 1


def test_a_clip_of_the_right_size_owns_its_memory() -> None:
    frames = noise(2, 48, 64)
    clip = TrainTransform(size=32, crop=lambda *_: Crop(4, 4, 32, 32), flip=0)(frames, clip_generator(0, 0, "a"))
    assert clip.untyped_storage().nbytes() == clip.nbytes
    test_clip = TestTransform(size=40, resize=48)(frames)
    assert test_clip.untyped_storage().nbytes() == test_clip.nbytes


def test_flip_mirrors_all_frames_of_a_clip_or_none() -> None:
    frames = noise(3, 32, 32)
    mirrored = torch.from_numpy(np.ascontiguousarray(frames[:, :, ::-1])).permute(0, 3, 1, 2)
    transform = TrainTransform(size=32, crop=whole, flip=0.5)
    clips = [transform(frames, clip_generator(0, epoch, "a")) for epoch in range(20)]
    flipped = [torch.equal(clip, mirrored) for clip in clips]
    kept = [torch.equal(clip, torch.from_numpy(frames).permute(0, 3, 1, 2)) for clip in clips]
    assert all(f != k for f, k in zip(flipped, kept, strict=True))
    assert 0 < sum(flipped) < 20


def test_flow_is_stacked_pair_by_pair_and_flip_inverts_u() -> None:
    frames = noise(6, 16, 16, 2)
    kept = TrainTransform(size=16, crop=whole, flip=0, modality="flow", segment_length=3)(frames, clip_generator(0, 0, "a"))
    expected = frames.reshape(2, 3, 16, 16, 2).transpose(0, 1, 4, 2, 3).reshape(2, 6, 16, 16)
    np.testing.assert_array_equal(kept.numpy(), expected)
    assert kept.permute(0, 2, 3, 1).is_contiguous()

    flipped = TrainTransform(size=16, crop=whole, flip=1, modality="flow", segment_length=3)(frames, clip_generator(0, 0, "a"))
    mirrored = expected[..., ::-1].copy()
    mirrored[:, 0::2] = 255 - mirrored[:, 0::2]
    np.testing.assert_array_equal(flipped.numpy(), mirrored)
    np.testing.assert_array_equal(frames, noise(6, 16, 16, 2))


def test_rgb_frames_can_be_stacked_too() -> None:
    frames = noise(4, 16, 16)
    clip = TrainTransform(size=16, crop=whole, flip=0, segment_length=2)(frames, clip_generator(0, 0, "a"))
    np.testing.assert_array_equal(clip.numpy(), frames.transpose(0, 3, 1, 2).reshape(2, 6, 16, 16))


def test_center_crop_after_resizing_the_shorter_side() -> None:
    frames = noise(2, 48, 64)
    clip = TestTransform(size=20, resize=24)(frames)
    assert clip.shape == (2, 3, 20, 20)
    resized = np.asarray(Image.fromarray(frames[1]).resize((32, 24), Image.Resampling.BILINEAR))
    assert np.abs(clip[1].permute(1, 2, 0).numpy().astype(int) - resized[2:22, 6:26]).max() <= 1
    tall = TestTransform(size=20, resize=24)(np.ascontiguousarray(frames.transpose(0, 2, 1, 3)))
    assert np.abs(tall.numpy().transpose(0, 1, 3, 2).astype(int) - clip.numpy()).max() <= 1


def test_several_crops_lie_where_they_should() -> None:
    frames = noise(2, 24, 40)
    planes = torch.from_numpy(frames).permute(0, 3, 1, 2)
    three = TestTransform(size=20, resize=24, num_crops=3)(frames)
    assert three.shape == (3, 2, 3, 20, 20)
    for got, left in zip(three, (0, 10, 20), strict=True):
        assert torch.equal(got, planes[..., 2:22, left : left + 20])
    ten = TestTransform(size=20, resize=24, num_crops=10)(frames)
    assert ten.shape == (10, 2, 3, 20, 20)
    for got, (top, left) in zip(ten, ((0, 0), (0, 20), (4, 0), (4, 20), (2, 10)), strict=False):
        assert torch.equal(got, planes[..., top : top + 20, left : left + 20])
    assert torch.equal(ten[5:], ten[:5].flip(-1))
    assert torch.equal(TestTransform(size=20, resize=24, num_crops=5)(frames), ten[:5])
    assert ten.movedim(-3, -1).is_contiguous()


def test_three_crops_in_the_other_order() -> None:
    frames = noise(2, 24, 39)
    three = TestTransform(size=20, resize=24, num_crops=3)(frames)
    other = TestTransform(size=20, resize=24, num_crops=3, crop_order="left_right_center")(frames)
    assert torch.equal(other, three[[0, 2, 1]])
    planes = torch.from_numpy(frames).permute(0, 3, 1, 2)
    assert torch.equal(other[2], planes[..., 2:22, 9:29])


def test_without_antialiasing_pixels_are_those_of_plain_bilinear_sampling() -> None:
    frames = noise(2, 48, 64)
    exact = interpolate(torch.from_numpy(frames).permute(0, 3, 1, 2).float(), (24, 32), mode="bilinear")
    clip = TestTransform(size=24, resize=24, num_crops=3, antialias=False)(frames)[0]
    assert (clip.float() - exact[..., :24]).abs().max() <= 1
    low_passed = TestTransform(size=24, resize=24, num_crops=3)(frames)[0]
    assert (low_passed.float() - exact[..., :24]).abs().max() > 20
    trained = TrainTransform(size=24, crop=lambda *_: Crop(0, 0, 48, 48), flip=0, antialias=False)
    assert (trained(frames, clip_generator(0, 0, "a")).float() - exact[..., :24]).abs().max() <= 1


def test_a_crop_of_resized_frames() -> None:
    frames = noise(2, 48, 64)
    crop = RandomShortSideCrop(20, (24, 24))
    transform = TrainTransform(size=20, crop=crop, flip=0)
    resized = interpolate(torch.from_numpy(frames).permute(0, 3, 1, 2), (24, 32), mode="bilinear", antialias=True)
    for epoch in range(5):
        top, left, *_ = crop(48, 64, clip_generator(0, epoch, "a"))
        assert torch.equal(transform(frames, clip_generator(0, epoch, "a")), resized[..., top : top + 20, left : left + 20])


def test_augmentations_follow_the_flip_in_order() -> None:
    frames = noise(3, 32, 32)

    def darker(clip: torch.Tensor, generator: Generator) -> torch.Tensor:
        return clip // 2

    def marked(clip: torch.Tensor, generator: Generator) -> torch.Tensor:
        assert clip.shape == (3, 3, 32, 32)
        assert clip.max() < 128
        return (clip + 128).contiguous()

    transform = TrainTransform(size=32, crop=whole, flip=1, augmentations=[darker, marked])
    clip = transform(frames, clip_generator(0, 0, "a"))
    assert torch.equal(clip, torch.from_numpy(frames).permute(0, 3, 1, 2).flip(-1) // 2 + 128)
    assert clip.permute(0, 2, 3, 1).is_contiguous()


def test_augmentations_leave_crop_and_flip_as_they_are() -> None:
    frames = noise(3, 40, 48)
    plain, augmented = TrainTransform(size=32), TrainTransform(size=32, augmentations=[ColorJitter(probability=1, hue=0.5)])
    for epoch in range(5):
        clip, is_flipped = plain.apply(frames, clip_generator(0, epoch, "a"))
        other, is_other_flipped = augmented.apply(frames, clip_generator(0, epoch, "a"))
        assert is_flipped is is_other_flipped
        assert (clip.amax(1).int() - other.amax(1).int()).abs().max() <= 1
        assert not torch.equal(clip, other)


def test_augmentations_are_not_for_flow() -> None:
    with pytest.raises(ValueError, match="augmentations are for rgb, not for flow; leave them out"):
        TrainTransform(modality="flow", augmentations=[ColorJitter(grayscale=1)])


def test_a_transform_tells_whether_it_flipped() -> None:
    frames = noise(3, 32, 32)
    transform = TrainTransform(size=32, crop=whole, flip=0.5)
    told = []
    for epoch in range(20):
        clip, is_flipped = transform.apply(frames, clip_generator(0, epoch, "a"))
        kept = torch.from_numpy(frames).permute(0, 3, 1, 2)
        assert torch.equal(clip, kept.flip(-1) if is_flipped else kept)
        told.append(is_flipped)
    assert 0 < sum(told) < 20
    assert TestTransform(size=20, resize=24, num_crops=10).apply(frames)[1] is False


def test_flow_crops_that_are_flipped_have_u_inverted() -> None:
    ten = TestTransform(size=8, resize=10, num_crops=10, modality="flow", segment_length=2)(noise(4, 10, 16, 2))
    assert ten.shape == (10, 2, 4, 8, 8)
    mirrored = ten[:5].flip(-1)
    assert torch.equal(ten[5:, :, 0::2], 255 - mirrored[:, :, 0::2])
    assert torch.equal(ten[5:, :, 1::2], mirrored[:, :, 1::2])


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match=r"resize \(200\) must be at least size \(224\); try resize=224"):
        TestTransform(size=224, resize=200)
    with pytest.raises(ValueError, match=r"num_crops \(4\) must be 1, 3, 5 or 10"):
        TestTransform(num_crops=4)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"crop_order \('left'\) must be one of left_center_right, left_right_center"):
        TestTransform(num_crops=3, crop_order="left")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="pass a generator, or use TestTransform"):
        TrainTransform()(noise(1, 8, 8), None)
    with pytest.raises(ValueError, match=r"flow frames must be uint8 \(N, H, W, 2\); these are uint8 \(1, 8, 8, 3\)"):
        TestTransform(modality="flow")(noise(1, 8, 8))
    with pytest.raises(ValueError, match="these are float32"):
        TestTransform()(noise(1, 8, 8).astype(np.float32))
