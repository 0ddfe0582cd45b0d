"""Stores are chosen by one table."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoopraxis.data.stores import open_store
from zoopraxis.data.stores.frames import FrameFolderStore
from zoopraxis.data.stores.video import VideoStore
from zoopraxis.errors import ConfigError, DataError


def test_kinds(tmp_path: Path) -> None:
    assert isinstance(open_store("frames", tmp_path, modality="flow"), FrameFolderStore)
    assert isinstance(open_store("video", str(tmp_path)), VideoStore)


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown store 'videos'; did you mean 'video'"):
        open_store("videos", tmp_path)
    with pytest.raises(ConfigError, match="unknown modality 'flo'; did you mean 'flow'"):
        open_store("frames", tmp_path, modality="flo")
    with pytest.raises(ConfigError, match="video files hold rgb, not flow; make flow with: zoopraxis prepare flow"):
        open_store("video", tmp_path, modality="flow")
    with pytest.raises(DataError, match=r"the frames store .*nowhere is no folder; check data.root"):
        open_store("frames", tmp_path / "nowhere")
