"""Indexes that are kept give way and go stale as they should. (Making them is tested with the files, in test_decoding.)"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from zoopraxis.data.indexing import FileKey, IndexMemory, load_index, save_index
from zoopraxis.data.packets import Packet, PacketIndex, StreamInfo, index_from_packets

INFO = StreamInfo(stream=3, width=64, height=48, turn=(0, 1, -1, 0), fps=29.97, tick_numerator=1001, tick_denominator=30000)


def make_index(num_frames: int) -> PacketIndex:
    packets = [Packet(number, number, number % 4 == 0, number % 4 == 3, False, False) for number in range(num_frames)]
    index = index_from_packets(packets, INFO)
    assert index is not None
    return index


def test_memory_keeps_what_was_used_last() -> None:
    index = make_index(100)
    memory = IndexMemory(max_bytes=2 * index.num_bytes)
    keys = [FileKey(f"{name}.mp4", 1, 1) for name in "abc"]
    memory.put(keys[0], index)
    memory.put(keys[1], index)
    assert memory.get(keys[0]) is index
    memory.put(keys[2], index)
    assert memory.get(keys[1]) is None
    assert memory.get(keys[0]) is index
    assert memory.get(keys[2]) is index


def test_an_index_larger_than_memory_is_still_kept() -> None:
    memory = IndexMemory(max_bytes=1)
    key = FileKey("long.mp4", 1, 1)
    index = make_index(10)
    memory.put(key, index)
    assert memory.get(key) is index


def test_a_saved_index_comes_back_whole_for_the_same_state_only(tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    path.write_bytes(b"x")
    key, index = FileKey.of(path), make_index(50)
    save_index(tmp_path / "cache", key, index)
    loaded = load_index(tmp_path / "cache", key)
    assert loaded is not None
    assert loaded.info == INFO
    for name in ("frame_pts", "frame_packet", "packet_pts", "packet_seek", "packet_flags"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(index, name))
        assert getattr(loaded, name).dtype == getattr(index, name).dtype
    os.utime(path, ns=(0, key.mtime_ns + 1))
    assert load_index(tmp_path / "cache", FileKey.of(path)) is None
