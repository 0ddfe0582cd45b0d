"""Clips as a data set: from a key (epoch, row) to a uint8 clip with its labels."""

from __future__ import annotations

from typing import TypedDict

from torch import Tensor
from torch.utils.data import Dataset

from zoopraxis.data.index import UNLABELLED, Clip, ClipIndex
from zoopraxis.data.sampling import Generator, IntArray, clip_generator, sample_segments, sample_views
from zoopraxis.data.stores import ClipStore
from zoopraxis.data.transforms import ClipTransform
from zoopraxis.errors import DataError

__all__ = ["ClipDataset", "ClipItem", "ClipKey"]

ClipKey = tuple[int, int]
"""(epoch, row). A row that only fills up a batch is given as `~row`, below 0."""


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
        seed: Of the augmentation.
        training: Whether frames are sampled, and transforms drawn, at random; the generator depends on (seed, epoch, clip id).
        num_clips: Temporal views of a clip. Views are ordered crop by crop: crop 0 of every temporal view comes first.

    Raises:
        ValueError: If several temporal views are asked for in training, or the transform stacks another number of frames.
    """

    def __init__(
        self,
        index: ClipIndex,
        store: ClipStore,
        *,
        transform: ClipTransform,
        num_segments: int,
        segment_length: int = 1,
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
        self.num_segments = num_segments
        self.segment_length = segment_length
        self.seed = seed
        self.training = training
        self.num_clips = num_clips
        self._labels = index.labels()

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
        epoch, row = key
        is_padding = row < 0
        row = ~row if is_padding else row
        clip = self.index[row]
        generator = clip_generator(self.seed, epoch, clip.clip_id) if self.training else None
        return {
            "clip": self._views(self._read(clip, generator)),
            "index": -1 if is_padding else row,
            "labels": {head: UNLABELLED if is_padding else int(labels[row]) for head, labels in self._labels.items()},
        }

    def _read(self, clip: Clip, generator: Generator | None) -> Tensor:
        try:
            num_frames = self.store.num_frames(clip)
            if num_frames < 1:
                raise DataError("it has no frames")
            frames = self.store.read(clip, self._sample(num_frames, generator))
        except DataError as error:
            raise DataError(_with_clip_and_cure(str(error), clip.clip_id)) from error
        return self.transform(frames, generator)

    def _sample(self, num_frames: int, generator: Generator | None) -> IntArray:
        segments, length = self.num_segments, self.segment_length
        if self.training:
            return sample_segments(num_frames, num_segments=segments, segment_length=length, generator=generator)
        return sample_views(num_frames, num_clips=self.num_clips, num_segments=segments, segment_length=length)

    def _views(self, clip: Tensor) -> Tensor:
        """([crops], temporal views * T, C, h, w) to ([views], T, C, h, w)."""
        if self.num_clips == 1:
            return clip
        return clip.reshape(-1, self.num_segments, *clip.shape[-3:])


def _with_clip_and_cure(message: str, clip_id: str) -> str:
    if repr(clip_id) not in message:
        message = f"clip {clip_id!r}: {message}"
    if "zoopraxis prepare check" not in message:
        message = f"{message}; list all broken clips, to be left out of training, with: zoopraxis prepare check"
    return message
