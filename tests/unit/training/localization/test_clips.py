from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from zoopraxis.config.localization import ClassesConfig
from zoopraxis.data.encoding import write_video
from zoopraxis.data.index import ClipIndex
from zoopraxis.data.segments import VideoSegments
from zoopraxis.errors import ConfigError, DataError
from zoopraxis.localization.proposals import Proposals
from zoopraxis.models import Preprocessing, create_model, save_model
from zoopraxis.training.localization.clips import ClipNamer
from zoopraxis.training.localization.naming import Located, Names

FPS, SECONDS = 8, 4


def _videos(*ids: str) -> VideoSegments:
    index = ClipIndex.from_columns(clip_id=[], source=[], labels={}, class_names={})
    seconds = np.full(len(ids), float(SECONDS))
    return VideoSegments(np.array(ids), seconds, seconds, np.full(len(ids), np.nan), index)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video that is dark, then bright, and a network that has not learned anything."""
    root = tmp_path_factory.mktemp("clips")
    (root / "videos").mkdir()
    frames = np.zeros((SECONDS * FPS, 32, 32, 3), np.uint8)
    frames[len(frames) // 2 :] = 255
    write_video(root / "videos" / "v_one.mp4", frames, fps=FPS)
    torch.manual_seed(0)
    for modality, mean in (("rgb", (0.5, 0.5, 0.5)), ("flow", (0.5,))):
        seen = Preprocessing(modality=modality, size=32, resize=32, num_segments=2, mean=mean, std=mean)
        settings = {"heads": {"label": 3}, "backbone": "test_resnet", "num_segments": 2, "modality": modality}
        save_model(create_model("tsn", **settings, preprocessing=seen), root / f"{modality}.safetensors")
    return root


def _namer(root: Path, *ids: str, network: str = "rgb") -> ClipNamer:
    settings = ClassesConfig(
        by="clips", network=str(root / f"{network}.safetensors"), videos=str(root / "videos"), per_proposal=3
    )
    return ClipNamer(_videos(*ids), settings, num_workers=0, device=torch.device("cpu"))


@torch.inference_mode()
def _names(namer: ClipNamer, *spans: tuple[float, float]) -> Names:
    numbers, ones = np.zeros(len(spans), np.int64), np.ones(len(spans))
    found = Proposals(numbers, numbers, np.array(spans) / SECONDS, ones, ones, ones, ones, ones)
    bounds = np.array([[0.0, SECONDS]])
    return namer(Located(0, found, np.array(spans), bounds, [np.arange(2)], torch.ones(1, 2)))


def test_each_proposal_is_a_clip_of_its_own(root: Path) -> None:
    names = _names(_namer(root, "one"), (0.0, 1.9), (0.5, 1.5), (2.1, 4.0))
    assert names.labels["label"].shape == names.scores.shape == (3, 3)
    np.testing.assert_allclose(names.scores.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(names.scores[0], names.scores[1], atol=1e-6)
    assert np.abs(names.scores[0] - names.scores[2]).max() > 5e-5


def test_videos_without_a_file_are_told(root: Path) -> None:
    with pytest.raises(DataError, match=r"1 of 2 videos have no file in .*videos \(first: two\); check classes\.videos"):
        _namer(root, "one", "two")


def test_a_folder_that_is_not_there_is_told(root: Path) -> None:
    settings = ClassesConfig(by="clips", network=str(root / "rgb.safetensors"), videos=str(root / "none"))
    with pytest.raises(ConfigError, match=r"classes\.videos=.*none is no folder; name the one that the videos are in"):
        ClipNamer(_videos("one"), settings, num_workers=0, device=torch.device("cpu"))


def test_a_network_of_optical_flow_is_refused(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"flow\.safetensors sees optical flow, which videos do not hold; name one of RGB"):
        _namer(root, "one", network="flow")
