"""Features of windows along long videos: of the right frames, each decoded once, and what is set aside or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from tiny_models import TINY
from zoopraxis.data.clips import ClipDataset
from zoopraxis.data.encoding import write_video
from zoopraxis.data.features import open_features
from zoopraxis.data.features.folder import read_description
from zoopraxis.data.index import Clip, ClipIndex
from zoopraxis.data.stores import ClipStore, open_store
from zoopraxis.data.transforms import TestTransform
from zoopraxis.errors import AnnotationError, CheckpointError, ConfigError, DataError
from zoopraxis.models import MODELS, Preprocessing, VideoModel, create_model, load_families, normalize
from zoopraxis.training.extraction_windows import Windows, check_network, extract_windows, window_features

SIZE, RATE = 32, 10
EVERY_SECOND = Windows(stride=1.0, length=2.0)

load_families()


class NoiseStore:
    """Frames of noise, 10 a second; those of `broken` cannot be read, and at `deadly` the process seems to be killed."""

    def __init__(
        self, *, num_frames: int = 50, rate: float | None = RATE, broken: tuple[str, ...] = (), deadly: str = ""
    ) -> None:
        self.length, self.rate, self.broken, self.deadly = num_frames, rate, broken, deadly
        self.asked: list[int] = []

    def num_frames(self, clip: Clip) -> int:
        return self.length

    def frame_rate(self, clip: Clip) -> float | None:
        return self.rate

    def check(self, clip: Clip) -> None:
        return None

    def read(self, clip: Clip, frames: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        self.asked += frames.tolist()
        if clip.clip_id in self.broken and frames.max() > self.length // 2:
            raise DataError(f"clip {clip.clip_id!r}: a frame is broken")
        if clip.clip_id == self.deadly:
            raise KeyboardInterrupt
        generator = np.random.default_rng(sum(clip.clip_id.encode()))
        images = generator.integers(0, 256, (self.length, SIZE, SIZE + 9, 3), dtype=np.uint8)
        return np.ascontiguousarray(images[frames])


def make_videos(*ids: str) -> ClipIndex:
    return ClipIndex.from_columns(clip_id=ids, source=ids, labels={}, class_names={})


def make_model(name: str = "tsn", *, num_segments: int = 8, modality: Any = "rgb", **changes: Any) -> VideoModel:
    torch.manual_seed(0)
    length = changes.get("segment_length", 1)
    own = MODELS.get(name).preprocessing(modality, num_segments=num_segments, segment_length=length).to_dict()
    preprocessing = Preprocessing.from_dict(own | {"size": SIZE, "resize": SIZE} | changes)
    arguments: dict[str, Any] = {"num_segments": num_segments, "preprocessing": preprocessing, **TINY[name]}
    if length > 1:
        arguments |= {"segment_length": length, "modality": modality}
    model = create_model(name, heads={"verb": 3, "noun": 4}, **arguments).eval()
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.momentum = 1.0
    with torch.no_grad():  # norms that fit the input, so that features tell one clip from another
        model.train()(torch.randn(4, num_segments, preprocessing.in_channels, SIZE, SIZE))
    return model.eval()


def as_a_clip(model: VideoModel, store: ClipStore, clip: Clip, *, num_crops: Any = 1) -> torch.Tensor:
    """The network's input for a span of a video that is read as a clip of its own, shape (R, T, C, H, W)."""
    preprocessing = model.preprocessing
    spans = {name: [getattr(clip, name)] for name in ("start_seconds", "stop_seconds", "start_frame", "stop_frame")}
    index = ClipIndex.from_columns(clip_id=[clip.clip_id], source=[clip.source], labels={}, class_names={}, **spans)
    length = preprocessing.segment_length
    transform = TestTransform(
        size=SIZE,
        resize=SIZE,
        num_crops=num_crops,
        modality=preprocessing.modality,
        segment_length=length,
        antialias=preprocessing.antialias,
    )
    data = ClipDataset(
        index,
        store,
        transform=transform,
        num_segments=preprocessing.num_segments,
        segment_length=length,
        sampling=preprocessing.sampling,
        interval=preprocessing.interval,
        target_fps=preprocessing.target_fps,
        training=False,
    )
    views = data[0, 0]["clip"]
    return normalize(views if num_crops > 1 else views[None], preprocessing)


def read_all(folder: Path, video_id: str, modality: str = "rgb") -> npt.NDArray[np.float32]:
    store = open_features(folder)
    row = store.rows_of([video_id])
    found: npt.NDArray[np.float32] = store.read(row, np.arange(store.num_features[row[0]])[None], [modality])[0]
    return found


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `long.mp4` of 10 s and `short.mp4` of 3.7 s, both of 10 frames a second."""
    root = tmp_path_factory.mktemp("videos")
    for number, (name, num_frames) in enumerate((("long", 100), ("short", 37))):
        frames = np.random.default_rng(number).integers(0, 256, (num_frames, 40, 56, 3), dtype=np.uint8)
        write_video(root / f"{name}.mp4", frames, fps=RATE)
    return root


@pytest.mark.parametrize("name", TINY)
def test_windows_have_the_features_and_scores_of_clips_of_their_own(name: str, videos: Path) -> None:
    own = MODELS.get(name).preprocessing("rgb", num_segments=8, segment_length=1)
    changes = {"interval": 1, "target_fps": 5.0} if own.sampling == "interval" else {}
    model, store = make_model(name, **changes), open_store("video", videos)
    length = None if changes else 1.6  # of interval sampling 8 frames at 5 a second
    windows = Windows(stride=0.8, length=length, num_crops=3, has_scores=True)
    found, seconds = window_features(model, store, Clip("long", "long"), windows, accelerator="cpu")
    np.testing.assert_allclose(seconds, 0.4 + 0.8 * np.arange(12))
    assert {name: part.shape for name, part in found.items()} == {
        "rgb": (12, 3 * model.num_features),
        "score:verb": (12, 9),
        "score:noun": (12, 12),
    }
    for number in (1, 4, 7):
        start = seconds[number] - 0.8
        clips = as_a_clip(model, store, Clip("long", "long", start, start + 1.6), num_crops=3)
        with torch.inference_mode():
            features, logits = model.clip_features(clips), model(clips)
        np.testing.assert_allclose(found["rgb"][number], features.numpy().ravel(), rtol=1e-5, atol=1e-6)
        for head, scores in logits.items():
            np.testing.assert_allclose(found[f"score:{head}"][number], scores.numpy().ravel(), rtol=1e-5, atol=1e-5)
    assert np.ptp(found["rgb"], axis=0).max() > 1e-2


def test_windows_of_flow_stack_frames_that_follow_each_other() -> None:
    class FlowStore(NoiseStore):
        def read(self, clip: Clip, frames: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
            return np.ascontiguousarray(super().read(clip, frames)[..., :2])

    model, store = make_model(num_segments=2, modality="flow", segment_length=3), FlowStore()
    found, _ = window_features(model, store, Clip("a", "a"), EVERY_SECOND, accelerator="cpu")
    assert list(found) == ["flow"]
    clip = FlowStore(num_frames=20)  # its frames are the first 20 of the other's
    inputs = as_a_clip(model, clip, Clip("a", "a"))
    assert inputs.shape == (1, 2, 6, SIZE, SIZE)
    store.length = 20
    whole, _ = window_features(model, store, Clip("a", "a"), Windows(stride=2.0, length=2.0), accelerator="cpu")
    with torch.inference_mode():
        np.testing.assert_allclose(whole["flow"], model.clip_features(inputs).numpy(), rtol=1e-5, atol=1e-6)


def test_each_frame_is_read_once_and_only_if_a_window_needs_it() -> None:
    store = NoiseStore(num_frames=600)
    window_features(make_model(num_segments=2), store, Clip("a", "a"), Windows(stride=1.0, length=4.0), accelerator="cpu")
    assert store.asked == sorted(set(store.asked))
    assert len(store.asked) == 62  # the middles of the windows' halves, and the ends
    store = NoiseStore(num_frames=600)
    window_features(make_model(num_segments=8), store, Clip("a", "a"), Windows(stride=0.1, length=4.0), accelerator="cpu")
    assert store.asked == list(range(600))


def test_a_span_of_a_video_has_its_times_in_the_video(videos: Path) -> None:
    store, model = open_store("video", videos), make_model(num_segments=2)
    span = Clip("part", "long", start_seconds=3.0, stop_seconds=7.0)
    found, seconds = window_features(model, store, span, EVERY_SECOND, accelerator="cpu")
    np.testing.assert_allclose(seconds, [3.5, 4.5, 5.5, 6.5])
    whole, _ = window_features(model, store, Clip("long", "long"), EVERY_SECOND, accelerator="cpu")
    np.testing.assert_allclose(found["rgb"][1:3], whole["rgb"][4:6], rtol=1e-5, atol=1e-6)
    frames = Clip("part", "long", start_frame=30, stop_frame=70)
    np.testing.assert_allclose(window_features(model, store, frames, EVERY_SECOND, accelerator="cpu")[1], seconds)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_store_has_the_windows_of_all_videos_and_tells_how_they_were_made(
    num_workers: int, videos: Path, tmp_path: Path
) -> None:
    model, store = make_model(num_segments=2), open_store("video", videos)
    windows = Windows(stride=1.0, length=2.0, has_scores=True)
    options: dict[str, Any] = {"source": "net.ckpt", "num_workers": num_workers, "accelerator": "cpu", "batch_size": 3}
    outcome = extract_windows(model, make_videos("long", "short"), store, tmp_path / "out", windows, **options)
    assert (outcome.done, outcome.skipped, outcome.broken) == (2, 0, ())
    opened = open_features(tmp_path / "out")
    assert opened.modalities == {"rgb": model.num_features, "score:verb": 3, "score:noun": 4}
    for name, number in (("long", 10), ("short", 4)):
        expected, seconds = window_features(model, store, Clip(name, name), windows, accelerator="cpu")
        assert len(seconds) == number
        np.testing.assert_array_equal(opened.seconds(int(opened.rows_of([name])[0])), seconds)
        for modality, features in expected.items():
            np.testing.assert_allclose(read_all(tmp_path / "out", name, modality), features, rtol=1e-5, atol=1e-6)
    meta = read_description(tmp_path / "out").meta
    assert Windows.from_meta(meta) == windows
    assert (meta["source"], meta["per"], meta["class_names"]["verb"]) == ("net.ckpt", "window", ["verb 0", "verb 1", "verb 2"])


def test_features_know_the_network_that_they_are_of(tmp_path: Path) -> None:
    model = make_model(num_segments=2)
    for name, windows in (("plain", EVERY_SECOND), ("scored", Windows(stride=1.0, length=2.0, has_scores=True))):
        extract_windows(model, make_videos("a"), NoiseStore(), tmp_path / name, windows, source="net.ckpt")
    plain, scored = (read_description(tmp_path / name).meta for name in ("plain", "scored"))
    check_network(model, scored)
    with torch.no_grad():
        next(parameter for name, parameter in model.named_parameters() if "classifier" in name).add_(1)
    check_network(model, plain)
    with pytest.raises(CheckpointError, match=r"network with heads \w{16}, and this one has \w{16}; give .*: net.ckpt$"):
        check_network(model, scored)
    with torch.no_grad():
        next(model.backbone.parameters()).add_(1)
    with pytest.raises(CheckpointError, match=r"network with weights \w{16}, and this one has \w{16}"):
        check_network(model, plain)
    with pytest.raises(DataError, match=r"do not tell the windows .*; make them by `prepare features extract --per window`"):
        Windows.from_meta({"per": "clip"})


def test_a_killed_run_goes_on_with_the_videos_that_are_missing(tmp_path: Path) -> None:
    model, ids = make_model(num_segments=2), make_videos("a", "b", "c")
    with pytest.raises(KeyboardInterrupt):
        extract_windows(model, ids, NoiseStore(deadly="c"), tmp_path / "out", EVERY_SECOND)
    told: list[tuple[int, int]] = []
    outcome = extract_windows(
        model, ids, NoiseStore(), tmp_path / "out", EVERY_SECOND, on_progress=lambda *counts: told.append(counts)
    )
    assert (outcome.done, outcome.skipped) == (1, 2)
    assert (told[0], told[-1]) == ((2, 3), (3, 3))
    extract_windows(model, ids, NoiseStore(), tmp_path / "whole", EVERY_SECOND)
    for video_id in "abc":
        np.testing.assert_array_equal(read_all(tmp_path / "out", video_id), read_all(tmp_path / "whole", video_id))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_broken_videos_are_told_and_set_aside(num_workers: int, tmp_path: Path) -> None:
    model, ids = make_model(num_segments=2), make_videos("a", "b", "c")
    options: dict[str, Any] = {"num_workers": num_workers, "accelerator": "cpu"}
    outcome = extract_windows(model, ids, NoiseStore(broken=("a", "c")), tmp_path / "out", EVERY_SECOND, **options)
    assert outcome.done == 1
    assert [(one.item, one.row) for one in outcome.broken] == [("a", 0), ("c", 2)]
    assert outcome.broken[0].reason == "clip 'a': a frame is broken"
    assert open_features(tmp_path / "out").clip_ids.tolist() == ["b"]
    again = extract_windows(model, ids, NoiseStore(), tmp_path / "out", EVERY_SECOND, **options)
    assert (again.done, again.skipped, again.broken) == (2, 1, ())


def test_what_windows_cannot_be_made_of_is_refused(tmp_path: Path) -> None:
    model, store, out = make_model(num_segments=2), NoiseStore(), tmp_path / "out"

    def extract(windows: Windows = EVERY_SECOND, *, ids: tuple[str, ...] = ("a",), frames: Any = store, **options: Any) -> None:
        extract_windows(model, make_videos(*ids), frames, out, windows, **options)

    with pytest.raises(ConfigError, match=r"picks its 2 frames from all of a clip, .* a window has \(--window\)"):
        extract(Windows(stride=1.0))
    with pytest.raises(ConfigError, match=r"stored frames have no rate; give the frames' \(--fps\)"):
        extract(frames=NoiseStore(rate=None))
    with pytest.raises(ConfigError, match=r"batch_size \(0\) must be at least 1"):
        extract(batch_size=0)
    with pytest.raises(ConfigError, match=r"unknown dtype 'float61'; did you mean 'float16'\?"):
        extract(dtype="float61")
    with pytest.raises(AnnotationError, match="clip id 'a' occurs more than once"):
        extract(ids=("a", "a"))
    assert not out.exists()
    for stride, length in ((0.0, 1.0), (1.0, -2.0), (float("nan"), 1.0), (float("inf"), None)):
        with pytest.raises(ConfigError, match=r"the (stride|length) of windows \(.* s\) must be positive; give seconds"):
            Windows(stride, length)
    with pytest.raises(ConfigError, match="num_crops is 2, but it must be 1, 3, 5 or 10"):
        Windows(1.0, num_crops=2)  # type: ignore[arg-type]
    extract()
    with pytest.raises(DataError, match=r"was begun with windows .* give the same or another folder"):
        extract(Windows(stride=1.0, length=3.0))
    with pytest.raises(DataError, match="clip 'empty' has no frames"):
        window_features(model, NoiseStore(num_frames=0), Clip("empty", "empty"), EVERY_SECOND)


def test_the_rate_of_stored_frames_may_be_given(tmp_path: Path) -> None:
    model = make_model(num_segments=2)
    known = window_features(model, NoiseStore(), Clip("a", "a"), EVERY_SECOND)
    given = window_features(model, NoiseStore(rate=None), Clip("a", "a"), EVERY_SECOND, fps=RATE)
    np.testing.assert_array_equal(given[0]["rgb"], known[0]["rgb"])
    np.testing.assert_array_equal(given[1], known[1])
