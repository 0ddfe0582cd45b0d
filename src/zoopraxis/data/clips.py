"""Clips as a data set: from a key (turn, row) to a uint8 clip with its labels."""

from __future__ import annotations

from typing import TypedDict

from torch import Tensor
from torch.utils.data import Dataset

from zoopraxis.data.index import UNLABELLED, Clip, ClipIndex
from zoopraxis.data.sampling import SAMPLERS, Generator, IntArray, clip_generator
from zoopraxis.data.stores import ClipStore
from zoopraxis.data.transforms import ClipTransform
from zoopraxis.errors import DataError

__all__ = ["ClipDataset", "ClipItem", "ClipKey"]

ClipKey = tuple[int, int]
"""(turn, row). A row that only fills up a batch is given as `~row`, below 0.

A clip's turns are its appearances since the run's beginning, which the augmentation depends on: the epochs, where a clip comes
once in each; see `EpochSampler`.
"""


class ClipItem(TypedDict):
    """One clip, ready to be batched.

    Attributes:
        clip: uint8, (T, C, h, w), or (V, T, C, h, w) when there are several views; channels-last.
        index: The clip's row in the index, or -1 if it only fills up a batch.
        labels: For each head the label, `UNLABELLED` where not known and in a clip that only fills up a batch.
    """

    clip: Tensor
    index: int
    labels: dict[str, int]


class ClipDataset(Dataset[ClipItem]):
    """The clips of an index, read from a store.

    Each item is one call of the store, whatever the number of views. Holds arrays and an Arrow table, so that worker processes
    share them and their memory stays flat.

    Args:
        index: The clips.
        store: Where their frames are.
        transform: From frames to the network's input; a `TrainTransform` in training, else a `TestTransform`.
        num_segments: Frames, or stacks of flow frames, per view, T.
        segment_length: Consecutive frames that are stacked on the channel axis.
        sampling: The rule by which frames are picked, a name in `data.sampling.SAMPLERS`.
        interval: Of rules that have one; else 1.
        target_fps: Frame rate in which the interval counts.
        fps: Frame rate of clips whose store does not tell it; none: `target_fps`.
        flipped_labels: For each class of head `label` the class that a clip has once the transform has flipped it, as
            `labels_after_flip` gives them; none: the same.
        seed: Of the augmentation.
        training: Whether frames are sampled, and transforms drawn, at random; the generator depends on (seed, turn, clip id).
        num_clips: Temporal views of a clip. Views are ordered crop by crop: crop 0 of every temporal view comes first.

    Raises:
        ValueError: If several temporal views are asked for in training, or the transform stacks another number of frames.
        ConfigError: If the sampling is unknown or does not go with the numbers given.
    """

    def __init__(
        self,
        index: ClipIndex,
        store: ClipStore,
        *,
        transform: ClipTransform,
        num_segments: int,
        segment_length: int = 1,
        sampling: str = "segments",
        interval: int = 1,
        target_fps: float = 30.0,
        fps: float | None = None,
        flipped_labels: IntArray | None = None,
        seed: int = 0,
        training: bool,
        num_clips: int = 1,
    ) -> None:
        if training and num_clips != 1:
            raise ValueError(f"num_clips ({num_clips}) must be 1 in training; several views are for tests")
        if transform.segment_length != segment_length:
            raise ValueError(
                f"segment_length ({segment_length}) must be the transform's ({transform.segment_length}); give both the same"
            )
        self.index = index
        self.store = store
        self.transform = transform
        self.sampler = SAMPLERS.get(sampling)(num_segments, segment_length, interval, target_fps)
        self.sampler.check_views(num_clips)
        self.fps = fps
        self.seed = seed
        self.training = training
        self.num_clips = num_clips
        self._labels = index.labels()
        self.flipped_labels = flipped_labels

    def __len__(self) -> int:
        return len(self.index)

    @property
    def num_views(self) -> int:
        """Views per clip: temporal views x crops."""
        return self.num_clips * self.transform.num_crops

    def __getitem__(self, key: ClipKey) -> ClipItem:
        """Read, sample and transform one clip.

        Raises:
            DataError: If the clip cannot be read; the message names the clip, what is wrong with it and the cure.
        """
        turn, row = key
        is_padding = row < 0
        row = ~row if is_padding else row
        clip = self.index[row]
        generator = clip_generator(self.seed, turn, clip.clip_id) if self.training else None
        frames, is_flipped = self._read(clip, generator)
        return {
            "clip": self._views(frames),
            "index": -1 if is_padding else row,
            "labels": {head: UNLABELLED if is_padding else self._label(head, row, is_flipped) for head in self._labels},
        }

    def _read(self, clip: Clip, generator: Generator | None) -> tuple[Tensor, bool]:
        try:
            num_frames = self.store.num_frames(clip)
            if num_frames < 1:
                raise DataError("it has no frames")
            frames = self.store.read(clip, self._sample(clip, num_frames, generator))
        except DataError as error:
            raise DataError(_with_clip_and_cure(str(error), clip.clip_id)) from error
        return self.transform.apply(frames, generator)

    def _sample(self, clip: Clip, num_frames: int, generator: Generator | None) -> IntArray:
        frame_rate = (self.store.frame_rate(clip) or self.fps) if self.sampler.uses_frame_rate else None
        if generator is not None:
            return self.sampler.train(num_frames, generator, frame_rate=frame_rate)
        return self.sampler.test(num_frames, num_clips=self.num_clips, frame_rate=frame_rate)

    def _label(self, head: str, row: int, is_flipped: bool) -> int:
        label = int(self._labels[head][row])
        if is_flipped and head == "label" and label != UNLABELLED and self.flipped_labels is not None:
            return int(self.flipped_labels[label])
        return label

    def _views(self, clip: Tensor) -> Tensor:
        """([crops], temporal views * T, C, h, w) to ([views], T, C, h, w)."""
        if self.num_clips == 1:
            return clip
        return clip.reshape(-1, self.sampler.num_segments, *clip.shape[-3:])


def _with_clip_and_cure(message: str, clip_id: str) -> str:
    if repr(clip_id) not in message:
        message = f"clip {clip_id!r}: {message}"
    if "zoopraxis prepare check" not in message:
        message = f"{message}; list all broken clips, to be left out of training, with: zoopraxis prepare check"
    return message
