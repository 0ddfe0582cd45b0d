"""Features of clips: the frames and views that they are of, what is set aside, and going on after a kill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from tiny_models import TINY
from zoopraxis.data.features import open_features
from zoopraxis.data.index import Clip, ClipIndex
from zoopraxis.errors import AnnotationError, CheckpointError, ConfigError, DataError
from zoopraxis.models import MODELS, Preprocessing, VideoModel, create_model, load_families, normalize, save_model
from zoopraxis.training.extraction import extract_features, load_extractor

SIZE = 32
NUM_FRAMES = 24

load_families()


class NoiseStore:
    """Frames of noise; each clip its own. Clips in `broken` cannot be read, and at `deadly` the process seems to be killed."""

    def __init__(self, *, broken: tuple[str, ...] = (), deadly: str = "", rate: float | None = None) -> None:
        self.broken, self.deadly, self.rate = broken, deadly, rate
        self.num_reads = 0

    def num_frames(self, clip: Clip) -> int:
        return NUM_FRAMES

    def frame_rate(self, clip: Clip) -> float | None:
        return self.rate

    def check(self, clip: Clip) -> None:
        return None

    def read(self, clip: Clip, frames: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        if clip.clip_id in self.broken:
            raise DataError(f"clip {clip.clip_id!r}: a frame is broken")
        if clip.clip_id == self.deadly:
            raise KeyboardInterrupt
        self.num_reads += 1
        generator = np.random.default_rng(sum(clip.clip_id.encode()))
        return generator.integers(0, 256, (NUM_FRAMES, SIZE, SIZE, 3), dtype=np.uint8)[frames]


def make_index(num_clips: int = 3) -> ClipIndex:
    ids = [f"clip_{row}" for row in range(num_clips)]
    return ClipIndex.from_columns(clip_id=ids, source=ids, labels={}, class_names={})


def make_model(name: str = "tsn", *, num_segments: int = 8, **more: Any) -> VideoModel:
    torch.manual_seed(0)
    preprocessing = MODELS.get(name).preprocessing("rgb", num_segments=num_segments, segment_length=1)
    small = Preprocessing.from_dict(preprocessing.to_dict() | {"size": SIZE, "resize": SIZE})
    settings = {"num_segments": num_segments, "preprocessing": small, **TINY[name], **more}
    return create_model(name, heads={"label": 3}, **settings).eval()


def read_clip(folder: Path, clip_id: str, num: int) -> npt.NDArray[np.float32]:
    store = open_features(folder)
    features: npt.NDArray[np.float32] = store.read(store.rows_of([clip_id]), np.arange(num)[None])[0]
    return features


def to_input(model: VideoModel, clip_id: str, frames: list[int]) -> torch.Tensor:
    pixels = NoiseStore().read(Clip(clip_id, clip_id), np.array(frames))
    return normalize(torch.from_numpy(pixels).permute(0, 3, 1, 2)[None], model.preprocessing)


def test_features_of_frames_are_of_the_centers_of_equal_spans(tmp_path: Path) -> None:
    model = make_model()
    outcome = extract_features(model, make_index(), NoiseStore(), tmp_path / "out", num_segments=3, batch_size=2)
    assert (outcome.done, outcome.skipped, outcome.broken) == (3, 0, ())
    store = open_features(tmp_path / "out")
    assert store.clip_ids.tolist() == ["clip_0", "clip_1", "clip_2"]
    assert dict(store.modalities) == {"rgb": model.num_features}
    with torch.inference_mode():
        expected = model.frame_features(to_input(model, "clip_1", [4, 12, 20]))[0].numpy()
    np.testing.assert_allclose(read_clip(tmp_path / "out", "clip_1", 3), expected, rtol=1e-4, atol=1e-5)


def test_times_of_features_are_stored_where_the_frame_rate_is_known(tmp_path: Path) -> None:
    ids = {"clip_id": ["a", "b"], "source": ["a", "b"], "labels": {}, "class_names": {}}
    index = ClipIndex.from_columns(**ids, start_seconds=[1.5, None], start_frame=[None, 16])
    extract_features(make_model(), index, NoiseStore(rate=8.0), tmp_path / "out", num_segments=3)
    times = [open_features(tmp_path / "out").seconds(row) for row in (0, 1)]
    np.testing.assert_allclose(times, [[2.0, 3.0, 4.0], [2.5, 3.5, 4.5]])
    extract_features(make_model(), index, NoiseStore(), tmp_path / "unknown", num_segments=3)
    assert open_features(tmp_path / "unknown").seconds(0) is None
    extract_features(make_model(), index, NoiseStore(), tmp_path / "given", num_segments=3, fps=8.0)
    np.testing.assert_allclose(open_features(tmp_path / "given").seconds(0), [2.0, 3.0, 4.0])


def test_temporal_modules_see_clips_of_their_own_length_spread_over_the_clip(tmp_path: Path) -> None:
    model = make_model("tsm", num_segments=2, backbone_args={"zero_init_last": False})
    extract_features(model, make_index(1), NoiseStore(), tmp_path / "out", num_segments=4)
    found = read_clip(tmp_path / "out", "clip_0", 4)
    with torch.inference_mode():
        first = model.frame_features(to_input(model, "clip_0", [3, 15]))[0].numpy()
        second = model.frame_features(to_input(model, "clip_0", [9, 21]))[0].numpy()
    np.testing.assert_allclose(found, [first[0], second[0], first[1], second[1]], rtol=1e-4, atol=1e-5)


def test_a_number_of_frames_that_temporal_modules_cannot_take_is_refused(tmp_path: Path) -> None:
    model = make_model("tanet")
    with pytest.raises(ConfigError, match=r"num_segments \(25\) must be a multiple of 8, .* see together; try 32 or 24"):
        extract_features(model, make_index(), NoiseStore(), tmp_path / "out")
    with pytest.raises(ConfigError, match=r"num_segments \(5\) must be a multiple of 8, .*; try 8$"):
        extract_features(model, make_index(), NoiseStore(), tmp_path / "out", num_segments=5)
    assert not (tmp_path / "out").exists()


def test_features_of_clips_are_of_the_views_of_a_test(tmp_path: Path) -> None:
    model = make_model("r2plus1d", num_segments=4)
    model.preprocessing = Preprocessing.from_dict(model.preprocessing.to_dict() | {"sampling": "strided", "interval": 2})
    extract_features(model, make_index(2), NoiseStore(), tmp_path / "out", per="clip", num_segments=2, batch_size=2)
    with torch.inference_mode():
        views = [to_input(model, "clip_0", list(range(start, start + 8, 2))) for start in (0, 17)]
        expected = torch.cat([model.clip_features(view) for view in views]).numpy()
    np.testing.assert_allclose(read_clip(tmp_path / "out", "clip_0", 2), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ConfigError, match="sees whole clips and has no features of frames"):
        extract_features(model, make_index(2), NoiseStore(), tmp_path / "frames")


@pytest.mark.parametrize("name", TINY)
def test_every_model_has_features_of_clips(name: str, tmp_path: Path) -> None:
    model = make_model(name)
    extract_features(model, make_index(1), NoiseStore(), tmp_path / "out", per="clip", num_segments=1, modality="any")
    assert dict(open_features(tmp_path / "out").modalities) == {"any": model.num_features}
    assert np.isfinite(read_clip(tmp_path / "out", "clip_0", 1)).all()


def test_a_killed_run_goes_on_and_gives_the_same(tmp_path: Path) -> None:
    model, index = make_model(), make_index(5)
    extract_features(model, index, NoiseStore(), tmp_path / "whole", num_segments=2, batch_size=1)
    with pytest.raises(KeyboardInterrupt):
        extract_features(model, index, NoiseStore(deadly="clip_3"), tmp_path / "out", num_segments=2, batch_size=1)
    told: list[tuple[int, int]] = []
    store = NoiseStore()
    outcome = extract_features(
        model, index, store, tmp_path / "out", num_segments=2, batch_size=1, on_progress=lambda *step: told.append(step)
    )
    assert (outcome.done, outcome.skipped, store.num_reads) == (2, 3, 2)
    assert told == [(3, 5), (4, 5), (5, 5)]
    for clip_id in index.clip_ids:
        np.testing.assert_array_equal(read_clip(tmp_path / "out", clip_id, 2), read_clip(tmp_path / "whole", clip_id, 2))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_what_cannot_be_read_is_set_aside_and_tried_again(num_workers: int, tmp_path: Path) -> None:
    model, settings = make_model(), {"num_segments": 2, "num_workers": num_workers}
    outcome = extract_features(model, make_index(5), NoiseStore(broken=("clip_0", "clip_4")), tmp_path / "out", **settings)
    assert outcome.done == 3
    assert [(one.item, one.row) for one in outcome.broken] == [("clip_0", 0), ("clip_4", 4)]
    assert "clip 'clip_0': a frame is broken" in outcome.broken[0].reason
    assert open_features(tmp_path / "out").clip_ids.tolist() == ["clip_1", "clip_2", "clip_3"]
    again = extract_features(model, make_index(5), NoiseStore(), tmp_path / "out", **settings)
    assert (again.done, again.skipped, again.broken) == (2, 3, ())


def test_other_weights_do_not_go_on_in_the_same_folder(tmp_path: Path) -> None:
    model = make_model()
    extract_features(model, make_index(1), NoiseStore(), tmp_path / "out", num_segments=2)
    model.heads = {"label": 4}  # of no account for features
    assert extract_features(model, make_index(1), NoiseStore(), tmp_path / "out", num_segments=2).skipped == 1
    with torch.no_grad():
        next(model.backbone.parameters()).mul_(2)
    with pytest.raises(DataError, match=r"out was begun with weights \w{16}, not \w{16}; give the same or another folder"):
        extract_features(model, make_index(1), NoiseStore(), tmp_path / "out", num_segments=2)


def test_wrong_settings_are_refused(tmp_path: Path) -> None:
    def extract(index: ClipIndex, **settings: Any) -> None:
        extract_features(make_model(), index, NoiseStore(), tmp_path / "out", **settings)

    with pytest.raises(ConfigError, match=r"num_segments \(0\) must be at least 1"):
        extract(make_index(), num_segments=0)
    with pytest.raises(ConfigError, match=r"unknown per 'frames'; did you mean 'frame'\?"):
        extract(make_index(), per="frames")
    with pytest.raises(ConfigError, match=r"unknown dtype 'float61'; did you mean 'float16'\?"):
        extract(make_index(), dtype="float61")
    with pytest.raises(ConfigError, match=r"unknown accelerator 'cup'; did you mean 'cpu'\?"):
        extract(make_index(), accelerator="cup")
    with pytest.raises(AnnotationError, match="clip id 'clip_0' occurs more than once in the index"):
        extract(ClipIndex.concat([make_index(1), make_index(1)]))


def test_features_that_cannot_be_stored_are_refused(tmp_path: Path) -> None:
    model = make_model()
    norms = [module for module in model.backbone.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    with torch.no_grad():
        assert norms[-1].bias is not None
        norms[-1].bias.fill_(70000.0)
    with pytest.raises(DataError, match="features of clip 'clip_0' are not finite in float16"):
        extract_features(model, make_index(1), NoiseStore(), tmp_path / "out", num_segments=2, dtype="float16")
    with torch.no_grad():
        norms[-1].bias.fill_(torch.nan)
    with pytest.raises(DataError, match="features of clip 'clip_0' are not finite in float32"):
        extract_features(model, make_index(1), NoiseStore(), tmp_path / "other", num_segments=2)


def test_networks_of_timm_see_frames_as_their_weights_were_made(tmp_path: Path) -> None:
    network = make_model().backbone.network
    assert isinstance(network, torch.nn.Module)
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    model = load_extractor("timm:test_resnet", weights=tmp_path / "weights.pth")
    assert model.preprocessing.to_dict() | {"size": 160, "resize": 160, "mean": [0.5] * 3, "std": [0.5] * 3} == (
        model.preprocessing.to_dict()
    )
    images = torch.randn(1, 2, 3, SIZE, SIZE)
    torch.testing.assert_close(model.frame_features(images)[0], network(images[0]))
    with pytest.raises(ConfigError, match=r"unknown backbone 'resnet500'"):
        load_extractor("timm:resnet500", weights=tmp_path / "weights.pth")


def test_weights_that_timm_cannot_fetch_may_be_given_as_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(name: str, **_: Any) -> VideoModel:
        raise CheckpointError("no network")

    monkeypatch.setattr("zoopraxis.training.extraction.create_model", unreachable)
    with pytest.raises(CheckpointError, match=r"cannot fetch the weights of resnet18; .* give a file of them: --weights FILE"):
        load_extractor("timm:resnet18")


def test_a_checkpoint_takes_no_other_weights(tmp_path: Path) -> None:
    path = save_model(make_model(), tmp_path / "model.safetensors")
    assert load_extractor(path).preprocessing.size == SIZE
    with pytest.raises(ConfigError, match=r"weights are for networks of timm, .* leave --weights out, or try timm:NAME"):
        load_extractor(path, weights=path)
