from __future__ import annotations

from pathlib import Path

import pytest

from zoopraxis.files import atomic_path, write_bytes, write_text


def test_what_is_written_is_there_and_nothing_else(tmp_path: Path) -> None:
    write_text(tmp_path / "new" / "note.txt", "grüß dich")
    assert (tmp_path / "new" / "note.txt").read_text(encoding="utf-8") == "grüß dich"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["note.txt"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "results.npz"
    write_bytes(target, b"old")

    def write_half() -> None:
        with atomic_path(target) as temporary:
            temporary.write_bytes(b"ne")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        write_half()
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_the_file_is_not_seen_before_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "model.ckpt"
    with atomic_path(target) as temporary:
        temporary.write_bytes(b"whole")
        assert not target.exists()
        assert temporary.suffix == target.suffix
    assert target.read_bytes() == b"whole"
