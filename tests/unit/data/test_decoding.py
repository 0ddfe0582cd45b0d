"""Every frame asked for is the right one, in files of many kinds, or there is one clear line."""

from __future__ import annotations

import multiprocessing
import pickle
import struct
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from zoopraxis.data import decoding, indexing
from zoopraxis.data.decoding import VideoReader
from zoopraxis.data.encoding import write_video
from zoopraxis.errors import DataError

NUM_FRAMES, HEIGHT, WIDTH = 60, 48, 64


def moving(num_frames: int = NUM_FRAMES, height: int = HEIGHT, width: int = WIDTH, seed: int = 0) -> Iterator[np.ndarray]:
    """A texture that slides under a square that crosses: no two frames are alike."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (height // 4 + 20, width // 4 + 20, 3))
    texture = np.kron(coarse, np.ones((8, 8, 1))).astype(np.uint8)
    for number in range(num_frames):
        y, x = int(20 + 18 * np.sin(number / 7)), number
        frame = texture[y : y + height, x : x + width].copy()
        left = number * 3 % (width - 10)
        frame[8:18, left : left + 10] = (255 - 4 * number % 256, 4 * number % 256, 128)
        yield frame


def encode(
    path: Path, codec: str, options: dict[str, str], times: Iterable[int] | None = None, *, pixel_format: str = "yuv420p"
) -> None:
    """Write the moving frames; `times` are presentation times in 1/25 s."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixel_format
        stream.codec_context.thread_count = 1
        for frame, time in zip(moving(), times or range(NUM_FRAMES), strict=True):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts, picture.time_base = time, Fraction(1, 25)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


def copy_packets(source: Path, target: Path, start: int, *, from_zero: bool = False) -> None:
    """Cut a file without decoding it: packets from number `start` on; with `from_zero` their times begin before 0, as in
    the files of `ffmpeg -ss ... -c copy`, which MP4 turns into an edit list."""
    with av.open(str(source)) as reading, av.open(str(target), "w") as writing:
        stream = writing.add_stream_from_template(reading.streams.video[0])
        packets = [packet for packet in reading.demux(video=0) if packet.size][start:]
        shift = packets[0].pts + 5 * packets[0].duration if from_zero else 0
        for packet in packets:
            packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, stream
            writing.mux(packet)


def reference(path: Path) -> np.ndarray:
    """All frames by decoding from the start with nothing but PyAV, shape (N, H, W, 3)."""
    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)])


def x264(options: str) -> Callable[[Path], None]:
    return lambda path: encode(path, "libx264", {"x264-params": options})


def cut(source: Callable[[Path], None], suffix: str, start: int, **how: bool) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        whole = path.with_name(f"whole{suffix}")
        source(whole)
        copy_packets(whole, path, start, **how)

    return make


def join(path: Path) -> None:
    """Two broadcasts of different size, one after the other, as one file."""
    first, second = path.with_name("first.ts"), path.with_name("second.ts")
    x264("keyint=12")(first)
    write_video(second, moving(20, 64, 96), fps=25)
    with (
        av.open(str(second)) as reading,
        av.open(str(path.with_name("later.ts")), "w", options={"output_ts_offset": "10"}) as writing,
    ):
        stream = writing.add_stream_from_template(reading.streams.video[0])
        for packet in reading.demux(video=0):
            if packet.size:
                packet.stream = stream
                writing.mux(packet)
    path.write_bytes(first.read_bytes() + path.with_name("later.ts").read_bytes())


OPEN = "keyint=15:min-keyint=15:bframes=3:open-gop=1:scenecut=0"
VARIABLE = [number + number // 3 * 2 for number in range(NUM_FRAMES)]
FILES: dict[str, Callable[[Path], None]] = {
    "short_groups.mp4": lambda path: write_video(path, moving(), fps=25, gop=12),
    "all_intra.mp4": lambda path: write_video(path, moving(), fps=25, gop=1),
    "one_group.mkv": x264("keyint=250"),
    "open_groups.mp4": x264(OPEN),
    "open_groups.mkv": x264(OPEN),
    "open_groups.ts": x264(OPEN),
    "gradual_refresh.mp4": x264("keyint=20:intra-refresh=1"),
    "variable_rate.mp4": lambda path: encode(path, "libx264", {"g": "12"}, VARIABLE),
    "variable_rate.mkv": lambda path: encode(path, "libx264", {"g": "12"}, VARIABLE),
    "fragmented.mp4": lambda path: write_fragmented(path),
    "open_groups_hevc.mp4": lambda path: encode(path, "libx265", {"x265-params": "log-level=none:keyint=15:open-gop=1"}),
    "vp9.webm": lambda path: encode(path, "libvpx-vp9", {"g": "15", "deadline": "realtime", "cpu-used": "8"}),
    "mpeg2.ts": lambda path: encode(path, "mpeg2video", {"g": "12", "bf": "2"}),
    "asp.avi": lambda path: encode(path, "mpeg4", {"g": "12", "bf": "2"}),
    "asp.mp4": lambda path: encode(path, "mpeg4", {"g": "12", "bf": "2"}),
    "h264.avi": x264("keyint=12"),
    "motion_jpeg.avi": lambda path: encode(path, "mjpeg", {}, pixel_format="yuvj420p"),
    "raw.h264": x264("keyint=12"),
    "edit_list.mp4": cut(x264("keyint=12:bframes=3"), ".mp4", 12, from_zero=True),
    "edit_list_open.mp4": cut(x264(OPEN), ".mp4", 15, from_zero=True),
    "cut_open.mkv": cut(x264(OPEN), ".mp4", 15),
    "cut_open.ts": cut(x264(OPEN), ".ts", 15),
    "cut_in_group.mkv": cut(x264("keyint=12"), ".mp4", 5),
    "cut_in_group.ts": cut(x264("keyint=12"), ".ts", 5),
    "ten_bits.mp4": lambda path: encode(path, "libx264", {"g": "12"}, pixel_format="yuv420p10le"),
    "full_range.mp4": lambda path: encode(path, "libx264", {"g": "12"}, pixel_format="yuvj420p"),
}


def write_fragmented(path: Path) -> None:
    with av.open(str(path), "w", options={"movflags": "frag_keyframe+empty_moov"}) as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "12"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for frame in moving():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """An ordinary MP4 of 60 frames with B-frames, 25 frames a second, keyframes every 12."""
    path = tmp_path / "video.mp4"
    write_video(path, moving(), fps=25)
    return path


def patterns(num_frames: int, num_single: int = 20, num_random: int = 6) -> Iterator[list[int]]:
    """Ways to ask: one by one from the end, spread, backwards with repeats, dense, at random, all."""
    for frame in range(num_frames - 1, -1, -max(1, num_frames // num_single)):
        yield [frame]
    yield np.linspace(0, num_frames - 1, 8).astype(int).tolist()
    yield [*range(num_frames - 1, -1, -3), 0, 0, num_frames - 1]
    yield list(range(num_frames // 3, num_frames // 2 + 1))
    generator = np.random.default_rng(7)
    for _ in range(num_random):
        yield generator.integers(0, num_frames, 6).tolist()
    yield list(range(num_frames))


@pytest.mark.parametrize("name", FILES)
def test_frames_are_those_of_decoding_from_the_start(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    FILES[name](path)
    expected = reference(path)
    distinct = {frame.tobytes() for frame in expected}
    assert len(distinct) == len(expected), "a wrong frame would not be noticed"
    reader = VideoReader(path)
    assert reader.num_frames == len(expected)
    assert (reader.height, reader.width) == expected.shape[1:3]
    assert np.all(np.diff(reader.frame_times) > 0)
    for frames in patterns(len(expected)):
        np.testing.assert_array_equal(reader.read(frames), expected[frames])
    np.testing.assert_array_equal(np.stack(list(reader.iter_frames())), expected)
    some = sorted({0, 1, len(expected) // 2, *range(len(expected) // 3, len(expected), 9)})
    np.testing.assert_array_equal(np.stack(list(reader.iter_frames(some))), expected[some])


@pytest.mark.parametrize(
    "name", ["short_groups.mp4", "open_groups.mkv", "open_groups.ts", "variable_rate.mp4", "edit_list.mp4"]
)
def test_reading_does_not_decode_from_the_start(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / name
    FILES[name](path)
    reader, expected = VideoReader(path), reference(path)
    monkeypatch.setattr(decoding._Stream, "decode_all", lambda _: pytest.fail("decoded from the start"))
    frames = np.arange(0, len(expected), 7)[::-1]
    np.testing.assert_array_equal(reader.read(frames), expected[frames])
    np.testing.assert_array_equal(np.stack(list(reader.iter_frames(frames[::-1]))), expected[frames[::-1]])


def test_frames_are_right_where_no_jump_arrives(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding._Stream, "_land", lambda *_: iter(()))
    np.testing.assert_array_equal(VideoReader(video).read([50, 3]), reference(video)[[50, 3]])
    np.testing.assert_array_equal(np.stack(list(VideoReader(video).iter_frames([3, 50]))), reference(video)[[3, 50]])


def test_frames_are_right_where_a_jump_lands_late(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    late = decoding.plan_runs
    monkeypatch.setattr(
        decoding, "plan_runs", lambda *a: [type(run)(run.seek + 10_000, run.pts, run.is_sent, run.frames) for run in late(*a)]
    )
    np.testing.assert_array_equal(VideoReader(video).read([50, 3]), reference(video)[[50, 3]])


def test_a_change_of_size_is_brought_to_the_first_size(tmp_path: Path) -> None:
    path = tmp_path / "joined.ts"
    join(path)
    reader = VideoReader(path)
    assert reader.num_frames == NUM_FRAMES + 20
    assert reader.read([0, NUM_FRAMES + 5]).shape == (2, HEIGHT, WIDTH, 3)


def test_nothing_asked_nothing_read(video: Path) -> None:
    assert VideoReader(video).read(np.empty(0, dtype=np.int64)).shape == (0, HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("num_threads", [2, 4])
def test_more_threads_give_the_same_frames(video: Path, num_threads: int) -> None:
    reader, expected = VideoReader(video, num_threads=num_threads), reference(video)
    np.testing.assert_array_equal(reader.read([40, 2, 41]), expected[[40, 2, 41]])
    np.testing.assert_array_equal(reader.read([5]), expected[[5]])
    np.testing.assert_array_equal(np.stack(list(reader.iter_frames())), expected)


def set_display_matrix(path: Path, a: int, b: int, c: int, d: int) -> None:
    """Overwrite the matrix in an MP4's track header."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    one = 1 << 16
    data[at : at + 36] = struct.pack(">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("matrix", "turn"),
    [
        ((0, 1, -1, 0), lambda image: np.rot90(image, -1)),
        ((-1, 0, 0, -1), lambda image: np.rot90(image, 2)),
        ((0, -1, 1, 0), lambda image: np.rot90(image, 1)),
        ((-1, 0, 0, 1), np.fliplr),
        ((1, 0, 0, -1), np.flipud),
        ((0, 1, 1, 0), lambda image: image.transpose(1, 0, 2)),
    ],
    ids=["clockwise", "half", "anticlockwise", "mirrored", "upside_down", "transposed"],
)
def test_frames_come_upright(video: Path, matrix: tuple[int, int, int, int], turn: Callable[[np.ndarray], np.ndarray]) -> None:
    stored = reference(video)
    set_display_matrix(video, *matrix)
    reader = VideoReader(video)
    expected = np.stack([turn(frame) for frame in stored[[30, 4]]])
    np.testing.assert_array_equal(reader.read([30, 4]), expected)
    np.testing.assert_array_equal(next(reader.iter_frames()), turn(stored[0]))
    assert (reader.height, reader.width) == expected.shape[1:3]


def test_the_best_of_several_streams_is_read(tmp_path: Path) -> None:
    path = tmp_path / "two.mp4"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("libx264", rate=25) for _ in range(2)]
        for stream, (height, width) in zip(streams, [(32, 32), (HEIGHT, WIDTH)], strict=True):
            stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        streams[0].disposition = av.stream.Disposition(0)
        streams[1].disposition = av.stream.Disposition.default
        for small, large in zip(moving(20, 32, 32), moving(20), strict=True):
            container.mux(streams[0].encode(av.VideoFrame.from_ndarray(small, format="rgb24")))
            container.mux(streams[1].encode(av.VideoFrame.from_ndarray(large, format="rgb24")))
        for stream in streams:
            container.mux(stream.encode(None))
    reader = VideoReader(path)
    assert (reader.height, reader.width) == (HEIGHT, WIDTH)
    np.testing.assert_array_equal(reader.read([13]), reference(path)[[13]])


def test_resize_sets_the_shorter_side(tmp_path: Path) -> None:
    path = tmp_path / "smooth.mp4"
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    ramps = [np.stack([rows * 4, columns * 3, rows * 0 + 8 * number], axis=2).astype(np.uint8) for number in range(20)]
    write_video(path, ramps, fps=25, crf=10)
    reader = VideoReader(path, resize=24)
    assert (reader.height, reader.width) == (24, 32)
    blocks = reference(path)[[9, 13]].reshape(2, 24, 2, 32, 2, 3).mean(axis=(2, 4))
    assert np.abs(reader.read([9, 13]) - blocks).mean() < 2.5
    set_display_matrix(path, 0, 1, -1, 0)
    assert VideoReader(path, resize=24).read([9]).shape == (1, 32, 24, 3)


def test_times(tmp_path: Path) -> None:
    path = tmp_path / "variable.mp4"
    FILES["variable_rate.mp4"](path)
    reader = VideoReader(path)
    np.testing.assert_allclose(reader.frame_times, np.asarray(VARIABLE) / 25)
    assert reader.fps == pytest.approx((NUM_FRAMES - 1) / (VARIABLE[-1] / 25), rel=0.02)
    np.testing.assert_array_equal(reader.frames_at([0, 0.03, 0.04, VARIABLE[9] / 25 + 0.01]), [0, 0, 1, 9])


def test_spans_of_seconds(video: Path) -> None:
    reader = VideoReader(video)
    assert reader.fps == 25
    assert reader.duration_seconds == pytest.approx(2.4)
    assert reader.frames_between(0, 1) == range(25)
    assert reader.frames_between(1, 2.4) == range(25, 60)
    assert reader.frames_between(1, 99) == range(25, 60)
    assert reader.frames_between(0.041, 0.079) == range(1, 2), "the frame on display, though it began before"
    assert reader.frames_between(0.0404, 0.0804) == range(1, 2), "times are meant to the millisecond"
    with pytest.raises(ValueError, match=r"stop_seconds \(1\) must be after start_seconds \(2\)"):
        reader.frames_between(2, 1)
    with pytest.raises(DataError, match=r"video.mp4 lasts 2.400 s; a time outside of it was asked for"):
        reader.frames_between(2.5, 3)
    with pytest.raises(DataError, match=r"lasts 2.400 s"):
        reader.frames_at([0.1, float("nan")])


def test_frames_that_are_not_there(video: Path) -> None:
    reader = VideoReader(video)
    with pytest.raises(DataError, match=r"video.mp4 has frames 0 to 59, not 60; check the annotation"):
        reader.read([3, 60])
    with pytest.raises(DataError, match="not -1"):
        reader.read([-1])
    with pytest.raises(ValueError, match=r"frames must be integers of shape \(T,\), not float64"):
        reader.read(np.array([0.5]))
    with pytest.raises(ValueError, match=r"resize \(0\) must be positive"):
        VideoReader(video, resize=0)
    with pytest.raises(ValueError, match=r"num_threads \(0\) must be positive"):
        VideoReader(video, num_threads=0)


def test_pickled_and_closed_readers_read_on(video: Path) -> None:
    with VideoReader(video, resize=24) as reader:
        first = reader.read([20])
    np.testing.assert_array_equal(reader.read([20]), first)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(reader)).read([20]), first)


def _read_in_child(reader: VideoReader, frames: list[int], results: Any) -> None:
    results.put(reader.read(frames))


@pytest.mark.parametrize("num_threads", [1, 2])
def test_an_open_reader_crosses_a_fork(video: Path, num_threads: int) -> None:
    expected = reference(video)
    reader = VideoReader(video, num_threads=num_threads)
    np.testing.assert_array_equal(reader.read([10]), expected[[10]])
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    children = [context.Process(target=_read_in_child, args=(reader, [50, 7], results)) for _ in range(2)]
    for child in children:
        child.start()
    np.testing.assert_array_equal(reader.read([55, 11]), expected[[55, 11]])
    for _ in children:
        np.testing.assert_array_equal(results.get(timeout=60), expected[[50, 7]])
    for child in children:
        child.join(timeout=60)
        assert child.exitcode == 0


def write_sound(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 16000), dtype=np.float32), format="fltp", layout="mono")
        silence.sample_rate = 16000
        container.mux(stream.encode(silence))
        container.mux(stream.encode(None))


def shorten(path: Path, fraction: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * fraction)])


def break_by_name(name: str, path: Path) -> None:
    if name == "empty":
        path.write_bytes(b"")
    elif name == "garbage":
        path.write_bytes(np.random.default_rng(0).bytes(20_000))
    elif name == "text":
        path.write_text("no video at all\n")
    elif name == "sound":
        write_sound(path)
    else:
        write_video(path, moving(), fps=25)
        shorten(path, 0.6 if name == "truncated" else 0.01)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("empty", r"broken.mp4 is empty \(0 bytes\); copy or download it again"),
        ("garbage", r"broken.mp4 cannot be read as a video \(Invalid data.*\); copy or download it again"),
        ("text", r"broken.mp4 cannot be read as a video \(Invalid data.*\); copy or download it again"),
        ("sound", r"broken.mp4 has no video stream, only audio; copy or download it again"),
        ("truncated", r"broken.mp4 is truncated after 1\.\d\d s; copy or download it again"),
        ("stub", r"broken.mp4 has no video stream, only .*; copy or download it again"),
    ],
)
def test_broken_files_are_met_with_one_line(name: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.mp4"
    break_by_name(name, path)
    with pytest.raises(DataError, match=message) as caught:
        VideoReader(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".mkv", ".avi", ".flv"])
def test_truncation_is_noticed_in_other_containers(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"broken{suffix}"
    write_video(path, moving(), fps=25)
    shorten(path, 0.55)
    with pytest.raises(DataError, match="is truncated after"):
        VideoReader(path)


def test_a_broadcast_may_end_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "broadcast.ts"
    write_video(path, moving(), fps=25)
    shorten(path, 0.5)
    reader, expected = VideoReader(path), reference(path)
    assert reader.num_frames == len(expected) < NUM_FRAMES
    np.testing.assert_array_equal(reader.read(range(len(expected))), expected)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no video file .*none.mp4; check data.root"):
        VideoReader(tmp_path / "none.mp4")
    with pytest.raises(DataError, match="there is no video file"):
        VideoReader(tmp_path)


def test_damage_in_the_middle_is_told_and_the_rest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "damaged.mkv"
    write_video(path, moving(), fps=25)
    expected = reference(path)
    with av.open(str(path)) as container:
        packets = [(packet.pts, packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    times = sorted(pts for pts, _, _ in packets)
    (lost_pts, at, size) = packets[30]
    data = bytearray(path.read_bytes())
    data[at + 12 : at + size] = bytes(size - 12)
    path.write_bytes(data)
    reader, lost = VideoReader(path), times.index(lost_pts)
    with pytest.raises(
        DataError, match=rf"frame {lost} \(at .* s\) of .*damaged.mkv does not decode: the file is damaged there"
    ):
        reader.read([lost])
    with pytest.raises(DataError, match="does not decode"):
        list(reader.iter_frames())
    np.testing.assert_array_equal(reader.read([2, 14, 55]), expected[[2, 14, 55]])


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes this process forget its indexes, as a new one would have none."""

    def forget() -> None:
        monkeypatch.setattr(indexing, "_memory", indexing.IndexMemory())

    forget()
    return forget


def count_surveys(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    surveys: list[int] = []
    survey = decoding._Stream.survey
    monkeypatch.setattr(decoding._Stream, "survey", lambda stream: (surveys.append(1), survey(stream))[1])
    return surveys


def test_an_index_is_made_once_a_process(video: Path, monkeypatch: pytest.MonkeyPatch, forgetful: Callable[[], None]) -> None:
    surveys = count_surveys(monkeypatch)
    for _ in range(3):
        VideoReader(video)
    assert len(surveys) == 1


@pytest.mark.parametrize("name", ["short_groups.mp4", "asp.avi"])
def test_an_index_is_kept_on_disk(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgetful: Callable[[], None]
) -> None:
    path, cache = tmp_path / name, tmp_path / "cache"
    FILES[name](path)
    surveys = count_surveys(monkeypatch)
    expected = reference(path)
    for _ in range(2):
        forgetful()
        np.testing.assert_array_equal(VideoReader(path, index_cache=cache).read([31, 8]), expected[[31, 8]])
    assert len(surveys) == 1
    assert len(list(cache.iterdir())) == 1


def test_a_changed_file_or_a_broken_cache_is_indexed_anew(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgetful: Callable[[], None]
) -> None:
    cache = tmp_path / "cache"
    VideoReader(video, index_cache=cache)
    write_video(video, moving(30), fps=25)
    assert VideoReader(video, index_cache=cache).num_frames == 30
    (kept,) = cache.iterdir()
    kept.write_bytes(b"PK no archive")
    forgetful()
    surveys = count_surveys(monkeypatch)
    assert VideoReader(video, index_cache=cache).num_frames == 30
    forgetful()
    assert VideoReader(video, index_cache=cache).num_frames == 30
    assert len(surveys) == 1


def test_a_cache_that_cannot_be_written_is_told(video: Path, tmp_path: Path, forgetful: Callable[[], None]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        DataError, match=r"cannot keep the packet index of .*video.mp4 in .*file.*; choose another index_cache folder"
    ):
        VideoReader(video, index_cache=tmp_path / "file" / "cache")


@pytest.mark.real_data
def test_real_videos(real_data: Path) -> None:
    paths = sorted((real_data / "videos").iterdir())
    assert len(paths) == 7
    for path in paths:
        expected, reader = reference(path), VideoReader(path)
        assert reader.num_frames == len(expected)
        for frames in patterns(len(expected), num_single=3, num_random=2):
            assert np.array_equal(reader.read(frames), expected[frames]), f"{path.name} {frames}"


@pytest.mark.real_data
def test_real_videos_are_the_best_stream_with_its_rate(real_data: Path) -> None:
    found = {}
    for path in (real_data / "videos").iterdir():
        reader = VideoReader(path)
        found[path.name] = (reader.num_frames, reader.width, reader.height, round(reader.fps, 2))
    assert found == {
        "av1_video.mkv": (125, 640, 360, 25.0),
        "bt709_full_range.mp4": (30, 1280, 720, 30.0),
        "h264_10bits.mp4": (30, 200, 200, 30.0),
        "h265_video.mp4": (10, 128, 128, 10.0),
        "kinetics_sample.mp4": (300, 340, 256, 30.0),
        "nasa_13013.mp4": (390, 480, 270, 29.97),
        "ucf_sample.avi": (164, 320, 240, 25.0),
    }
