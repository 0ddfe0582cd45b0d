"""Long videos and their segments, of EPIC-KITCHENS' files and in general; other formats have tests of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from zoopraxis.data.index import ClipIndex
from zoopraxis.data.segments import read_segments
from zoopraxis.errors import AnnotationError, ConfigError

HEADER = "narration_id,participant_id,video_id,start_timestamp,stop_timestamp,verb_class,noun_class\n"
INFO = "video_id,duration,fps,resolution\n"


def row(number: int, start: str, stop: str, video: str = "P01_11") -> str:
    return f"{video}_{number},P01,{video},00:00:{start},00:00:{stop},{number % 3},{number % 5}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [row(0, "01.00", "02.50"), row(0, "00.50", "04.00", "P01_102"), row(1, "02.00", "02.25"), row(2, "05.00", "10.00")]
    (tmp_path / "EPIC_100_validation.csv").write_text(HEADER + "".join(rows))
    (tmp_path / "EPIC_100_video_info.csv").write_text(INFO + "P01_11,10.0,59.94,1920x1080\nP01_102,7.5,50,1920x1080\n")
    return tmp_path


def change(folder: Path, *rows: str) -> Path:
    path = folder / "EPIC_100_validation.csv"
    path.write_text(HEADER + row(0, "01.00", "02.50") + "".join(rows))
    return path


def test_videos_and_segments_are_as_the_file_has_them(folder: Path) -> None:
    found = read_segments(folder / "EPIC_100_validation.csv")
    assert found.video_ids.tolist() == ["P01_11", "P01_102"]
    np.testing.assert_array_equal(found.durations, [10.0, 7.5])
    np.testing.assert_array_equal(found.covered, found.durations)
    np.testing.assert_array_equal(found.fps, [59.94, 50])
    assert found.heads == {"verb": 97, "noun": 300}
    assert found.index.clip_ids.tolist() == ["P01_11_0", "P01_102_0", "P01_11_1", "P01_11_2"]
    assert set(found.index.column("split")) == {"val"}
    np.testing.assert_array_equal(found.video, [0, 1, 0, 0])


def test_annotations_without_a_row_are_refused(folder: Path) -> None:
    path = folder / "EPIC_100_validation.csv"
    path.write_text(HEADER)
    with pytest.raises(AnnotationError, match=r"validation\.csv has no videos and no segments; check the path"):
        read_segments(path, require_lengths=False)


def test_lengths_that_are_named_must_have_all_videos(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "lengths.csv").write_text(INFO + "P01_11,10.0,59.94,1920x1080\n")
    path = folder / "EPIC_100_validation.csv"
    with pytest.raises(AnnotationError, match=r"1 of 2 videos of .* are not in .*lengths\.csv \(first: P01_102\)"):
        read_segments(path, videos=tmp_path / "lengths.csv", require_lengths=False)


def test_segments_of_a_video(folder: Path) -> None:
    found = read_segments(folder / "EPIC_100_validation.csv")
    times, labels = found.segments(0)
    np.testing.assert_array_equal(times, [[1.0, 2.5], [2.0, 2.25], [5.0, 10.0]])
    np.testing.assert_array_equal(labels["verb"], [0, 1, 2])
    np.testing.assert_array_equal(found.of_video(1), [1])


def test_some_of_the_videos(folder: Path) -> None:
    found = read_segments(folder / "EPIC_100_validation.csv")
    for picked in ([1], np.array([False, True])):
        other = found.select(picked)
        assert other.video_ids.tolist() == ["P01_102"]
        np.testing.assert_array_equal(other.segments(0)[0], [[0.5, 4.0]])
    assert found.select([1, 0]).video.tolist() == [1, 0, 1, 1]


def test_some_of_the_heads(folder: Path) -> None:
    found = read_segments(folder / "EPIC_100_validation.csv")
    assert found.of_heads(["noun"]).heads == {"noun": 300}
    assert found.of_heads([]) is found
    with pytest.raises(ConfigError, match=r"the annotations have no labels 'nuon'; did you mean 'noun'\?"):
        found.of_heads(["nuon"])


def test_broken_segments_can_be_left_out(folder: Path) -> None:
    path = change(folder, row(1, "05.00", "04.00"), row(2, "06.00", "07.00"), row(3, "05.00", "12.00"))
    found = read_segments(path, broken="drop")
    assert found.index.clip_ids.tolist() == ["P01_11_0", "P01_11_2"]
    assert found.labels["noun"].tolist() == [0, 2]
    assert found.notes == (f"2 of 4 segments of {path} are broken and left out (first: P01_11_1)",)
    assert found.select([0]).of_heads(["noun"]).notes == found.notes
    (folder / "EPIC_100_video_info.csv").write_text(INFO + "P01_11,0.5,59.94,1920x1080\n")
    with pytest.raises(AnnotationError, match=r"are reversed.*data\.broken_segments=drop, --broken-segments drop\), or check"):
        read_segments(path, broken="drop")
    with pytest.raises(ConfigError, match=r"broken segments cannot be 'dorp'; did you mean 'drop'\?"):
        read_segments(path, broken="dorp")  # type: ignore[arg-type]


def test_a_folder_has_a_file_for_each_split(folder: Path) -> None:
    assert len(read_segments(folder, split="validation")) == 2
    with pytest.raises(AnnotationError, match=r"has no EPIC_100_train\.csv or EPIC_100_train\.pkl; give the file itself"):
        read_segments(folder, split="train")
    with pytest.raises(AnnotationError, match=r"is a folder of several splits; give the file of one, or the split"):
        read_segments(folder)


def test_a_test_split_has_videos_without_segments(folder: Path) -> None:
    path = folder / "EPIC_100_test_timestamps.csv"
    path.write_text("narration_id,video_id,start_timestamp,stop_timestamp\nP01_11_0,P01_11,00:00:01.00,00:00:02.00\n")
    found = read_segments(path)
    assert found.video_ids.tolist() == ["P01_11"]
    assert len(found.index) == 0
    assert found.segments(0)[0].shape == (0, 2)
    assert found.heads == {"verb": 97, "noun": 300}


def test_frames_at_30_a_second(tmp_path: Path) -> None:
    (tmp_path / "training.csv").write_text("narration_id,video,start,stop,verb,noun,action\nP01_01_0,P01_01,15,90,3,7,2413\n")
    (tmp_path / "video_lengths_30fps.csv").write_text("video,frames\nP01_01,300\n")
    (tmp_path / "EPIC_100_video_info.csv").write_text(INFO + "P01_01,10.01,60,1920x1080\n")
    found = read_segments(tmp_path / "training.csv")
    np.testing.assert_array_equal(found.segments(0)[0], [[0.5, 3.0]])
    assert found.durations.tolist() == [10.0]
    assert found.segments(0)[1]["noun"].tolist() == [7]


def test_an_index_of_clips_of_long_videos(tmp_path: Path) -> None:
    index = ClipIndex.from_columns(
        clip_id=["a", "b"],
        source=["one", "two"],
        labels={"label": [1, 0]},
        class_names={"label": ["x", "y"]},
        start_seconds=[0.0, 1.0],
        stop_seconds=[1.0, 2.0],
        split=["train", "val"],
    )
    index.save(tmp_path / "clips.parquet")
    (tmp_path / "lengths.txt").write_text("one.mp4,4.5\ntwo.mp4,3\n")
    found = read_segments(tmp_path / "clips.parquet", split="val", videos=tmp_path / "lengths.txt")
    assert found.video_ids.tolist() == ["two"]
    assert found.index.clip_ids.tolist() == ["b"]
    assert found.class_names == {"label": ("x", "y")}
    with pytest.raises(AnnotationError, match=r"has other classes of head 'label' than those given; make it anew"):
        read_segments(tmp_path / "clips.parquet", class_names={"label": ["y", "x"]})


def test_lengths_may_come_from_a_file_that_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("P01_11.MP4,12.5\nP01_102.MP4,8\n")
    found = read_segments(folder / "EPIC_100_validation.csv", videos=tmp_path / "mine.txt")
    np.testing.assert_array_equal(found.durations, [12.5, 8.0])
    assert np.isnan(found.fps).all()


def test_lengths_must_be_known(folder: Path, tmp_path: Path) -> None:
    path = folder / "EPIC_100_validation.csv"
    (tmp_path / "mine.txt").write_text("P01_11.MP4,12.5\n")
    with pytest.raises(AnnotationError, match=r"1 of 2 videos of .* are not in .*mine\.txt \(first: P01_102\); add them"):
        read_segments(path, videos=tmp_path / "mine.txt")
    (folder / "EPIC_100_video_info.csv").unlink()
    with pytest.raises(
        AnnotationError, match=r"the length of 2 of 2 videos of .* is not known \(first: P01_11\); give the file"
    ):
        read_segments(path)
    assert np.isnan(read_segments(path, require_lengths=False).durations).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            row(1, "05.00", "04.00"),
            r"1 of 2 segments of .* are reversed.*\(first: P01_11_1, 5 to 4 s of P01_11, which has 10 s\)",
        ),
        (row(1, "05.00", "05.00"), r"1 of 2 segments of .* are of zero length \(first: P01_11_1"),
        (row(1, "05.00", "12.00"), r"1 of 2 segments of .* go past the end of their video \(first: P01_11_1, 5 to 12 s.*10 s"),
        (row(1, "10.10", "10.30"), r"1 of 2 segments of .* go past the end of their video \(first: P01_11_1"),
        ("P01_11_1,P01,P01_11,,00:00:05.00,1,1\n", r"1 of 2 segments of .* have no times \(first: P01_11_1, nan to 5 s"),
    ],
)
def test_segments_that_cannot_be_are_refused(folder: Path, wrong: str, message: str) -> None:
    with pytest.raises(AnnotationError, match=message):
        read_segments(change(folder, wrong))


def test_a_segment_may_stop_a_little_after_its_video(folder: Path) -> None:
    found = read_segments(change(folder, row(1, "05.00", "10.40")))
    np.testing.assert_array_equal(found.times[1], [5.0, 10.4])


def test_what_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(AnnotationError, match=r"the annotations .*nothing\.csv do not exist; check the path"):
        read_segments(folder / "nothing.csv")
    with pytest.raises(ConfigError, match=r"unknown format of segments 'epik'; did you mean 'epic'\?"):
        read_segments(folder / "EPIC_100_validation.csv", format="epik")
    (folder / "list.txt").write_text("a\n")
    with pytest.raises(AnnotationError, match=r"cannot tell the format of .*list\.txt from its name; name it: epic"):
        read_segments(folder / "list.txt")


def test_the_official_validation_annotations(real_data: Path) -> None:
    found = read_segments(real_data / "epic100" / "EPIC_100_validation.csv")
    assert len(found) == 138
    assert len(found.index) == 9668
    assert len(found.class_names["verb"]) == 97
    assert found.class_names["noun"][0] == "tap"
    assert found.durations.sum() / 3600 == pytest.approx(13.2, abs=0.1)
    assert sum(len(found.of_video(number)) for number in range(len(found))) == 9668
    past_end = (found.times[:, 1] > found.durations[found.video]).sum()
    assert past_end == 1


def test_the_baselines_training_annotations(real_data: Path) -> None:
    found = read_segments(real_data / "epic100" / "train_30fps.csv")
    assert len(found) == 495
    assert len(found.index) == 67217
    assert set(found.index.column("split")) == {"train"}
    np.testing.assert_allclose(found.segments(0)[0][0], [4 / 30, 101 / 30])
    assert found.durations[0] == pytest.approx(49565 / 30)


def test_the_official_test_videos(real_data: Path) -> None:
    found = read_segments(real_data / "epic100", split="test")
    assert len(found) == 67
    assert len(found.index) == 0
