"""Which packets hold which frames, and which must be decoded."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from zoopraxis.data.packets import (
    Packet,
    PacketIndex,
    StreamInfo,
    frame_rate,
    index_from_packets,
    is_reference_free,
    plan_runs,
    turn_of,
    unit_length_size,
)

INFO = StreamInfo(stream=0, width=64, height=48, turn=(1, 0, 0, 1), fps=25.0, tick_numerator=1, tick_denominator=25)


def packet(pts: int | None, kind: str = "P", *, hidden: bool = False, corrupt: bool = False) -> Packet:
    """Kind: I (keyframe), P, or b (no other packet refers to it)."""
    return Packet(pts, 0 if pts is None else pts, kind == "I", kind == "b", hidden, corrupt)


def stream(text: str) -> list[Packet]:
    """Packets in decoding order, written as `I0 P3 b1 b2`."""
    return [packet(int(word[1:]), word[0]) for word in text.split()]


def index(text: str) -> PacketIndex:
    made = index_from_packets(stream(text), INFO)
    assert made is not None
    return made


def test_frames_are_numbered_in_presentation_order() -> None:
    made = index("I0 P3 b1 b2 I4 P6 b5")
    np.testing.assert_array_equal(made.frame_pts, np.arange(7))
    np.testing.assert_array_equal(made.frame_packet, [0, 2, 3, 1, 4, 6, 5])
    assert made.is_seekable


def test_a_run_begins_at_a_keyframe_and_leaves_out_what_nobody_wants() -> None:
    (run,) = plan_runs(index("I0 P3 b1 b2 I4 P7 b5 b6 P8"), np.array([6, 8]))
    assert run.pts == [4, 7, 5, 6, 8]
    assert run.is_sent == [True, True, False, True, True]
    assert run.frames == {6: 6, 8: 8}
    assert run.seek == 4


def test_pictures_that_lead_a_keyframe_are_decoded_from_the_one_before() -> None:
    made = index("I0 P2 b1 I5 b3 b4 P7 b6")
    runs = plan_runs(made, np.array([1, 4, 6]))
    assert [run.pts[0] for run in runs] == [0, 5]
    assert [sorted(run.frames) for run in runs] == [[1, 4], [6]]
    assert runs[0].is_sent == [True, True, True, True, False, True]


@pytest.mark.parametrize(
    "packets",
    [
        [],
        [packet(0, "I"), packet(None)],
        [packet(0, "I"), packet(1), packet(1)],
        [packet(0, "P"), packet(1, "I")],
        [packet(3, "I"), packet(1, "b"), packet(4)],
        [packet(0, "I"), packet(1, corrupt=True)],
    ],
    ids=["none", "no_time", "time_repeated", "begins_in_a_group", "leading_pictures", "damaged"],
)
def test_packets_that_do_not_tell_the_frames_are_not_trusted(packets: list[Packet]) -> None:
    assert index_from_packets(packets, INFO) is None


def test_hidden_and_undelivered_packets_are_no_frames() -> None:
    hidden = index_from_packets([packet(-2, "I", hidden=True), packet(-1, hidden=True), packet(0), packet(1)], INFO)
    assert hidden is not None
    np.testing.assert_array_equal(hidden.frame_packet, [2, 3])
    (run,) = plan_runs(hidden, np.array([1]))
    assert run.pts == [-2, -1, 0, 1]
    undelivered = index_from_packets([packet(0), packet(1, "I"), packet(2)], INFO, delivered=[1, 2])
    assert undelivered is not None
    np.testing.assert_array_equal(undelivered.frame_pts, [1, 2])


def test_units_of_h264_tell_whether_others_refer_to_them() -> None:
    parameters, slice_referred, slice_free = b"\x67aa", b"\x41bbb", b"\x01ccc"

    def with_lengths(*units: bytes) -> memoryview:
        return memoryview(b"".join(len(unit).to_bytes(4, "big") + unit for unit in units))

    def with_codes(*units: bytes) -> memoryview:
        return memoryview(b"".join(b"\x00\x00\x00\x01" + unit for unit in units))

    for write, length_size in ((with_lengths, 4), (with_codes, 0)):
        assert is_reference_free(write(b"\x06sei", slice_free, slice_free), length_size)
        assert not is_reference_free(write(parameters, slice_referred), length_size)
        assert not is_reference_free(write(slice_free, slice_referred), length_size), "fields of one frame"
        assert not is_reference_free(write(parameters), length_size), "no picture in it"


def test_length_of_units_is_told_by_the_header() -> None:
    assert unit_length_size(b"\x01\x64\x00\x1f\xff\xe1") == 4
    assert unit_length_size(b"\x01\x64\x00\x1f\xfd\xe1") == 2
    assert unit_length_size(b"\x00\x00\x00\x01\x67") == 0
    assert unit_length_size(None) == 0


def test_display_matrices_are_taken_as_right_angles() -> None:
    one = 1 << 16
    assert turn_of(np.array([0, one, 0, -one, 0, 0, 0, 0, 1 << 30], dtype=np.int32)) == (0, 1, -1, 0)
    assert turn_of(np.array([-one, 9, 0, -9, -one, 0, 0, 0, 1 << 30], dtype=np.int32)) == (-1, 0, 0, -1)


def test_frame_rate_is_the_containers_unless_times_differ() -> None:
    ntsc = Fraction(30000, 1001)
    assert frame_rate([0, 33, 67, 100], 0.001, ntsc) == float(ntsc)
    assert frame_rate([0, 1, 2, 5], 0.1, ntsc) == pytest.approx(6)
    assert frame_rate([0], 0.1, ntsc) == float(ntsc)
    assert frame_rate([], 0.1, None) == 25
