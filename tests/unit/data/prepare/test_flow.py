"""`write_flow`: optical flow as folders of images."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from zoopraxis.data.index import Clip
from zoopraxis.data.prepare.flow import epic_stride, flow_to_uint8, write_flow
from zoopraxis.data.stores import open_store
from zoopraxis.errors import ConfigError, DataError, MissingExtraError

pytest.importorskip("cv2", reason="the extra 'flow' (OpenCV) is not installed")

Make = Callable[..., npt.NDArray[np.uint8]]


def read_all(root: Path, source: str) -> npt.NDArray[np.uint8]:
    store, clip = open_store("frames", root, modality="flow"), Clip("a", source)
    return store.read(clip, np.arange(store.num_frames(clip)))


def motion(flow_THWC: npt.NDArray[np.uint8], bound: float = 20.0) -> tuple[float, float]:
    """Median u and v away from the borders, px."""
    inner = flow_THWC[:, 8:-8, 12:-12].astype(float)
    u, v = np.median(inner, axis=(0, 1, 2)) * (2 * bound / 255) - bound
    return float(u), float(v)


@pytest.mark.parametrize("method", ["dis", "dis_fast", "tvl1"])
def test_motion_to_the_right_is_u_in_px(tmp_path: Path, make_frames: Make, method: str) -> None:
    if method == "tvl1" and not hasattr(sys.modules["cv2"], "optflow"):
        pytest.skip("OpenCV has no contributed modules")
    make_frames(tmp_path / "frames" / "a", 4, step=3)

    outcome = write_flow(tmp_path / "frames", tmp_path / "out", store="frames", method=method, bound=10)  # type: ignore[arg-type]

    assert outcome.done == 1
    flow_THWC = read_all(tmp_path / "out", "a")
    assert flow_THWC.shape == (3, 32, 48, 2)
    assert motion(flow_THWC, bound=10) == pytest.approx((3, 0), abs=0.3)


def test_videos_give_the_flow_of_their_frames(tmp_path: Path, make_video: Make) -> None:
    make_video(tmp_path / "videos" / "P02" / "videos" / "P02_101.MP4", 6, step=2)

    write_flow(tmp_path / "videos", tmp_path / "out")

    flow_THWC = read_all(tmp_path / "out", "P02/P02_101")
    assert len(flow_THWC) == 5
    assert motion(flow_THWC) == pytest.approx((2, 0), abs=0.5)


@pytest.mark.parametrize(
    ("num_frames", "stride", "dilation", "spans"),
    [
        (6, 1, 1, [1, 1, 1, 1, 1]),
        (6, 2, 1, [1, 1, 1]),
        (7, 2, 1, [1, 1, 1]),
        (7, 2, 3, [3, 3, 2]),
        (7, 3, 2, [2, 2]),
        (2, 5, 5, [1]),
    ],
)
def test_stride_and_dilation_choose_the_frames(
    tmp_path: Path, make_frames: Make, num_frames: int, stride: int, dilation: int, spans: list[int]
) -> None:
    make_frames(tmp_path / "frames" / "a", num_frames, step=1)

    write_flow(tmp_path / "frames", tmp_path / "out", store="frames", stride=stride, dilation=dilation, bound=5)

    flow_THWC = read_all(tmp_path / "out", "a")
    assert len(flow_THWC) == len(spans) == (num_frames - 2) // stride + 1
    assert [motion(frame[None], bound=5)[0] for frame in flow_THWC] == pytest.approx(spans, abs=0.3)


def test_epic_videos_of_2018_have_every_second_frame(tmp_path: Path, make_frames: Make) -> None:
    for video in ("P01_02", "P01_102"):
        make_frames(tmp_path / "frames" / "P01" / video, 6)

    write_flow(tmp_path / "frames", tmp_path / "out", store="frames")

    assert [len(read_all(tmp_path / "out", f"P01/{video}")) for video in ("P01_02", "P01_102")] == [3, 5]
    assert [epic_stride(name) for name in ("P37_99", "P01_101", "my_video", "P01")] == [2, 1, 1, 1]


def test_epics_own_folders_are_found(tmp_path: Path, make_frames: Make) -> None:
    make_frames(tmp_path / "frames" / "P01" / "rgb_frames" / "P01_101", 3)

    write_flow(tmp_path / "frames", tmp_path / "out", store="frames", resize=16)
    write_flow(tmp_path / "frames" / "P01" / "rgb_frames" / "P01_101", tmp_path / "one", store="frames", resize=16)

    assert read_all(tmp_path / "out", "P01/P01_101").shape == (2, 16, 24, 2)
    np.testing.assert_array_equal(read_all(tmp_path / "one", "P01_101"), read_all(tmp_path / "out", "P01/P01_101"))


def test_no_motion_is_128_and_the_bound_clips() -> None:
    flow = np.array([0, -20, 20, -31, 1e9, 10, -10, 20 / 255, 0.05], dtype=np.float32)

    assert flow_to_uint8(flow, 20).tolist() == [128, 0, 255, 0, 255, 191, 64, 128, 128]


def test_broken_and_short_videos_are_set_aside(tmp_path: Path, make_video: Make) -> None:
    for name, num_frames in (("a", 4), ("one", 1)):
        make_video(tmp_path / "videos" / f"{name}.mp4", num_frames)
    (tmp_path / "videos" / "bad.mp4").write_bytes(b"\0" * 999)

    outcome = write_flow(tmp_path / "videos", tmp_path / "out", num_workers=2)
    again = write_flow(tmp_path / "videos", tmp_path / "out")

    assert outcome.done == 1
    assert [one.item for one in outcome.broken] == ["bad", "one"]
    assert "has fewer than two frames" in outcome.broken[1].reason
    assert (again.done, again.skipped, len(again.broken)) == (0, 1, 2)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a", "zoopraxis.json"]


def test_a_hole_in_the_frames_is_told(tmp_path: Path, make_frames: Make) -> None:
    make_frames(tmp_path / "frames" / "a", 5)
    (tmp_path / "frames" / "a" / "frame_0000000003.jpg").unlink()

    outcome = write_flow(tmp_path / "frames", tmp_path / "out", store="frames")

    assert "frame_0000000003.jpg is missing" in outcome.broken[0].reason


@pytest.mark.parametrize("name", ["stride", "dilation", "bound"])
def test_numbers_must_be_positive(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name} \(0\) must be positive"):
        write_flow(tmp_path, tmp_path / "out", **{name: 0})  # type: ignore[arg-type]


def test_an_unknown_method_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown flow method 'tvl2'; did you mean 'tvl1'\?"):
        write_flow(tmp_path, tmp_path / "out", method="tvl2")  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"there is no folder with frame_0000000001\.jpg in "):
        write_flow(tmp_path, tmp_path / "out", store="frames")


def test_missing_opencv_is_told_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)

    with pytest.raises(MissingExtraError, match=r"opencv-contrib-python-headless.*pip install 'zoopraxis\[flow\]'"):
        write_flow(tmp_path, tmp_path / "out")


def test_opencv_without_contributed_modules_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import cv2

    monkeypatch.delattr(cv2, "optflow", raising=False)
    with pytest.raises(MissingExtraError, match="opencv-contrib-python-headless"):
        write_flow(tmp_path, tmp_path / "out", method="tvl1")
