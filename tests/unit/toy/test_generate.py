import dataclasses
import hashlib
from pathlib import Path

import av
import pytest

from zoopraxis.errors import ConfigError, DataError
from zoopraxis.toy import ToyConfig, ToyKitchen, generate


def _digests(root: Path) -> dict[str, str]:
    return {
        str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(root.rglob("*")) if p.is_file()
    }


def test_same_config_gives_same_bytes_with_one_and_with_two_workers(
    tmp_path: Path, tiny_kitchen: ToyKitchen, tiny_config: ToyConfig
) -> None:
    again = generate(tmp_path / "again", tiny_config, num_workers=2)
    assert _digests(again.root) == _digests(tiny_kitchen.root)


def test_another_seed_gives_other_videos_and_annotations(
    tmp_path: Path, tiny_kitchen: ToyKitchen, tiny_config: ToyConfig
) -> None:
    other = _digests(generate(tmp_path / "other", dataclasses.replace(tiny_config, seed=1)).root)
    first = _digests(tiny_kitchen.root)
    assert other.keys() == first.keys()
    differing = {name for name in first if first[name] != other[name]}
    assert {name for name in first if name.endswith(".MP4")} <= differing
    assert "annotations/EPIC_100_train.csv" in differing


def test_kitchen_tells_what_lies_where(tiny_kitchen: ToyKitchen, tiny_config: ToyConfig) -> None:
    videos = sorted(str(path.relative_to(tiny_kitchen.videos)) for path in tiny_kitchen.videos.rglob("*.MP4"))
    assert len(videos) == tiny_kitchen.num_videos == 12
    assert videos[:2] == ["P01/videos/P01_01.MP4", "P01/videos/P01_02.MP4"]
    assert videos[-1] == "P06/videos/P06_102.MP4"
    assert tiny_kitchen.num_clips == {"train": 12, "validation": 12, "test": 12}
    assert len(tiny_kitchen.verbs) == tiny_config.num_verbs
    assert len(tiny_kitchen.nouns) == tiny_config.num_nouns
    for path in (tiny_kitchen.train, tiny_kitchen.validation, tiny_kitchen.test, tiny_kitchen.test_labels):
        assert path.is_file()


def test_videos_have_the_resolution_rate_and_length_that_is_told(tiny_kitchen: ToyKitchen, tiny_config: ToyConfig) -> None:
    num_frames = 0
    for path in tiny_kitchen.videos.rglob("*.MP4"):
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            assert (stream.height, stream.width) == tiny_config.resolution
            assert float(stream.average_rate or 0) == tiny_config.fps
            num_frames += sum(1 for _ in container.decode(stream))
    assert num_frames == tiny_kitchen.num_frames


def test_broken_off_run_is_taken_up_and_gives_the_same_bytes(
    tmp_path: Path, tiny_kitchen: ToyKitchen, tiny_config: ToyConfig
) -> None:
    class StopError(Exception):
        pass

    def stop_after_two(done: int, total: int) -> None:
        if done == 2:
            raise StopError

    with pytest.raises(StopError):
        generate(tmp_path / "kitchen", tiny_config, on_progress=stop_after_two)
    written = sorted((tmp_path / "kitchen").rglob("*.MP4"))
    assert len(written) == 2
    times = [path.stat().st_mtime_ns for path in written]
    seen: list[tuple[int, int]] = []
    generate(tmp_path / "kitchen", tiny_config, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 12) for done in range(2, 13)]
    assert [path.stat().st_mtime_ns for path in written] == times
    assert _digests(tmp_path / "kitchen") == _digests(tiny_kitchen.root)


def test_refuses_a_folder_of_another_config(tiny_kitchen: ToyKitchen, tiny_config: ToyConfig) -> None:
    with pytest.raises(DataError, match=r"holds a toy kitchen of another config .*; choose another folder or delete it"):
        generate(tiny_kitchen.root, dataclasses.replace(tiny_config, seed=3))


def test_refuses_a_folder_with_other_files(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(DataError, match="exists and holds no toy kitchen; choose a new or an empty folder"):
        generate(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_refuses_no_workers(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"num_workers \(0\) must be at least 1; try num_workers=1"):
        generate(tmp_path / "kitchen", num_workers=0)
