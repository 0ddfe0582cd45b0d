"""Where each frame of a video lies among its packets, and which packets must be decoded to get some of the frames.

A video file is a row of packets in decoding order; its frames are numbered from 0 in presentation order.

N frames, P packets; times are in units of the stream's time base unless a name says seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

__all__ = [
    "UPRIGHT",
    "Int64Array",
    "Packet",
    "PacketIndex",
    "Run",
    "StreamInfo",
    "frame_rate",
    "index_from_packets",
    "index_in_order",
    "is_reference_free",
    "plan_runs",
    "turn_of",
    "unit_length_size",
]

Int64Array = npt.NDArray[np.int64]

UPRIGHT = (1, 0, 0, 1)
"""The `StreamInfo.turn` of a video that is shown as it is coded."""

_KEYFRAME, _SKIPPABLE = 1, 2


@dataclass(frozen=True, slots=True)
class Packet:
    """What the index needs to know of one packet.

    Attributes:
        pts: Presentation time, or None where the container does not tell it.
        seek: The time to seek to in order to land here.
        is_keyframe: Decoding can begin here.
        is_skippable: No other packet refers to it.
        is_hidden: It is decoded but not shown (cut off by an edit list).
        is_corrupt: The demuxer found it incomplete.
    """

    pts: int | None
    seek: int
    is_keyframe: bool
    is_skippable: bool
    is_hidden: bool
    is_corrupt: bool


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What is the same for all frames of a video stream.

    Attributes:
        stream: Number of the stream in the file.
        width: Width as coded, px (before rotation).
        height: Height as coded, px.
        turn: Signs (a, b, c, d) of the display matrix: a pixel at (x, y) is shown at (a x + c y, b x + d y).
        fps: Frames per second, the mean where the rate varies.
        tick_numerator: With `tick_denominator` the length of a unit of time, seconds.
        tick_denominator: See there.
    """

    stream: int
    width: int
    height: int
    turn: tuple[int, int, int, int]
    fps: float
    tick_numerator: int
    tick_denominator: int

    @property
    def tick_seconds(self) -> float:
        """Length of a unit of time, seconds."""
        return self.tick_numerator / self.tick_denominator


def turn_of(matrix: npt.NDArray[np.int32]) -> tuple[int, int, int, int]:
    """The right-angled turn or mirroring nearest to a display matrix of shape (9,), as signs; see `StreamInfo.turn`."""
    a, b, _, c, d = matrix[:5].tolist()
    if abs(a) >= abs(b):
        return (-1 if a < 0 else 1, 0, 0, -1 if d < 0 else 1)
    return (0, -1 if b < 0 else 1, -1 if c < 0 else 1, 0)


def frame_rate(pts: Sequence[int], tick_seconds: float, nominal: Fraction | None) -> float:
    """Frames per second: the container's `nominal` rate, unless the times `pts` say otherwise; 25 where neither tells."""
    span = (max(pts) - min(pts)) * tick_seconds if pts else 0.0
    if span <= 0:
        return float(nominal) if nominal else 25.0
    measured = (len(pts) - 1) / span
    return float(nominal) if nominal and abs(float(nominal) / measured - 1) < 0.01 else measured


@dataclass(frozen=True, slots=True, eq=False)
class PacketIndex:
    """The frames of one video and the packets that hold them.

    Attributes:
        info: What holds for the whole stream.
        frame_pts: Presentation time of each frame, shape (N,), ascending.
        frame_packet: The packet of each frame, shape (N,); empty if frames can only be told by counting from the start.
        packet_pts: Presentation times in decoding order, shape (P,); empty as above.
        packet_seek: Times to seek to in order to land at a packet, shape (P,); empty as above.
        packet_flags: Whether a packet is a keyframe (bit 0), and whether no other refers to it (bit 1), shape (P,), uint8.
    """

    info: StreamInfo
    frame_pts: Int64Array
    frame_packet: Int64Array
    packet_pts: Int64Array
    packet_seek: Int64Array
    packet_flags: npt.NDArray[np.uint8]

    @property
    def num_frames(self) -> int:
        """N."""
        return len(self.frame_pts)

    @property
    def is_seekable(self) -> bool:
        """Whether a frame can be recognized by its presentation time after a jump into the file."""
        return len(self.frame_packet) > 0

    @property
    def num_bytes(self) -> int:
        """Memory taken."""
        arrays = (self.frame_pts, self.frame_packet, self.packet_pts, self.packet_seek, self.packet_flags)
        return sum(array.nbytes for array in arrays)


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of packets to decode in one go.

    Attributes:
        seek: The time to seek to.
        pts: Presentation time of each packet of the stretch, from its keyframe to the last one wanted.
        is_sent: For each packet whether the decoder needs it.
        frames: Presentation time to frame number, for the frames wanted.
    """

    seek: int
    pts: list[int]
    is_sent: list[bool]
    frames: dict[int, int]


def index_from_packets(
    packets: Sequence[Packet], info: StreamInfo, delivered: Iterable[int] | None = None
) -> PacketIndex | None:
    """Index a stream whose packets and frames correspond one to one.

    Args:
        packets: All packets of the stream, in decoding order.
        info: What holds for the whole stream.
        delivered: Presentation times that decoding the whole file gave; None trusts the packets, if nothing speaks against it.

    Returns:
        The index, or None if the packets do not tell the frames: times are missing or repeated, or (without `delivered`) some
        are damaged or the file begins in the middle of a group of pictures, whose first packets may give no frame.
    """
    times = [packet.pts for packet in packets if packet.pts is not None]
    if not packets or len(times) != len(packets) or len(set(times)) != len(times):
        return None
    pts = np.asarray(times, dtype=np.int64)
    if delivered is None:
        is_shown = ~np.asarray([packet.is_hidden for packet in packets])
        starts_clean = packets[0].is_keyframe and bool(np.all(pts[is_shown] >= pts[0]))
        if not starts_clean or any(packet.is_corrupt for packet in packets):
            return None
    else:
        is_shown = np.isin(pts, np.asarray(list(delivered), dtype=np.int64))
    shown = np.flatnonzero(is_shown)
    frame_packet = shown[np.argsort(pts[shown], kind="stable")]
    flags = [_KEYFRAME * packet.is_keyframe + _SKIPPABLE * packet.is_skippable for packet in packets]
    return PacketIndex(
        info=info,
        frame_pts=pts[frame_packet],
        frame_packet=frame_packet,
        packet_pts=pts,
        packet_seek=np.asarray([packet.seek for packet in packets], dtype=np.int64),
        packet_flags=np.asarray(flags, dtype=np.uint8),
    )


def index_in_order(pts: Int64Array, info: StreamInfo) -> PacketIndex:
    """Index a stream whose frames, at the ascending times `pts` of shape (N,), can only be counted from the start."""
    empty = np.empty(0, dtype=np.int64)
    return PacketIndex(info, pts, empty, empty, empty, np.empty(0, dtype=np.uint8))


def is_reference_free(packet: memoryview, length_size: int) -> bool:
    """Whether an H.264 packet holds a picture that no other picture refers to.

    Told from the packet itself, because few files carry the table of dependencies.

    Args:
        packet: Its bytes.
        length_size: Bytes of the length before each unit (MP4, Matroska), or 0 if units follow start codes (MPEG-TS).

    Source: ITU-T H.264, section 7.4.1 (nal_ref_idc) and Annex B.
    """
    headers = _unit_headers_by_length(packet, length_size) if length_size else _unit_headers_by_code(bytes(packet))
    slices = [header for header in headers if header & 31 in (1, 2, 5)]
    return bool(slices) and all(header & 96 == 0 for header in slices)


def unit_length_size(extradata: bytes | None) -> int:
    """Bytes of the length before each unit of an H.264 packet, 0 for start codes; told by the codec's header (avcC)."""
    return (extradata[4] & 3) + 1 if extradata and len(extradata) > 4 and extradata[0] == 1 else 0


def _unit_headers_by_length(packet: memoryview, length_size: int) -> list[int]:
    headers, at = [], 0
    while at + length_size < len(packet):
        headers.append(packet[at + length_size])
        at += length_size + int.from_bytes(packet[at : at + length_size], "big")
    return headers


def _unit_headers_by_code(packet: bytes) -> list[int]:
    headers = []
    at = packet.find(b"\x00\x00\x01")
    while 0 <= at < len(packet) - 3:
        headers.append(packet[at + 3])
        at = packet.find(b"\x00\x00\x01", at + 3)
    return headers


def plan_runs(index: PacketIndex, frames: Int64Array) -> list[Run]:
    """The stretches to decode for some frames, each from the last keyframe that serves.

    A keyframe serves a frame if it comes before it both in decoding and in presentation order: the pictures that follow an open
    group's keyframe but are shown before it refer to the group before.

    Args:
        index: A seekable index.
        frames: Frame numbers, shape (K,), ascending, without repeats.
    """
    keyframes = np.flatnonzero(index.packet_flags & _KEYFRAME)
    groups: dict[int, list[int]] = {}
    for frame in frames.tolist():
        packet, pts = int(index.frame_packet[frame]), int(index.frame_pts[frame])
        at = int(np.searchsorted(keyframes, packet, side="right")) - 1
        while at >= 0 and index.packet_pts[keyframes[at]] > pts:
            at -= 1
        groups.setdefault(int(keyframes[at]) if at >= 0 else 0, []).append(frame)
    return [_run(index, start, wanted) for start, wanted in sorted(groups.items())]


def _run(index: PacketIndex, start: int, frames: list[int]) -> Run:
    wanted = index.frame_packet[frames]
    stop = int(wanted.max()) + 1
    is_sent = (index.packet_flags[start:stop] & _SKIPPABLE) == 0
    is_sent[wanted - start] = True
    return Run(
        seek=int(index.packet_seek[start]),
        pts=index.packet_pts[start:stop].tolist(),
        is_sent=is_sent.tolist(),
        frames={int(index.frame_pts[frame]): frame for frame in frames},
    )
