"""Crops, flips and stacking: what goes where, in which memory, and that one clip has one decision."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from zoopraxis.data.sampling import clip_generator
from zoopraxis.data.transforms import Crop, MultiScaleCrop, RandomResizedCrop, TestTransform, TrainTransform


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


@pytest.mark.parametrize(("height", "width"), [(256, 456), (300, 200), (223, 223), (70, 64)])
@pytest.mark.parametrize(
    "crop", [MultiScaleCrop(224), RandomResizedCrop(), RandomResizedCrop(scale=(0.9, 1.0), ratio=(3.0, 4.0))]
)
def test_crops_lie_inside_the_frame(height: int, width: int, crop: MultiScaleCrop | RandomResizedCrop) -> None:
    for epoch in range(50):
        top, left, crop_height, crop_width = crop(height, width, clip_generator(0, epoch, "a"))
        assert crop_height > 0
        assert crop_width > 0
        assert 0 <= top <= height - crop_height
        assert 0 <= left <= width - crop_width


def test_multi_scale_crop_snaps_to_the_output_size_and_stays_near_square() -> None:
    crop = MultiScaleCrop(224, (1.0, 0.875, 0.75))
    sides = {crop(257, 340, clip_generator(0, epoch, "a"))[2:] for epoch in range(300)}
    assert sides == {(257, 257), (257, 224), (224, 257), (224, 224), (224, 192), (192, 224), (192, 192)}


def test_random_resized_crop_keeps_area_and_ratio_in_bounds() -> None:
    crop = RandomResizedCrop(scale=(0.25, 0.5), ratio=(0.8, 1.25))
    crops = [crop(200, 300, clip_generator(0, epoch, "a")) for epoch in range(200)]
    areas = np.array([c.height * c.width / 60000 for c in crops])
    ratios = np.array([c.width / c.height for c in crops])
    assert 0.24 < areas.min() < 0.3 < 0.45 < areas.max() < 0.51
    assert 0.78 < ratios.min() < 0.85 < 1.15 < ratios.max() < 1.28


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
    with pytest.raises(ValueError, match="pass a generator, or use TestTransform"):
        TrainTransform()(noise(1, 8, 8), None)
    with pytest.raises(ValueError, match=r"flow frames must be uint8 \(N, H, W, 2\); these are uint8 \(1, 8, 8, 3\)"):
        TestTransform(modality="flow")(noise(1, 8, 8))
    with pytest.raises(ValueError, match="these are float32"):
        TestTransform()(noise(1, 8, 8).astype(np.float32))
