"""Which clips a report shows, and how their frames come onto the page.

N clips, T frames, H x W pixels.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zoopraxis.errors import DataError
from zoopraxis.evaluation.probabilities import log_softmax
from zoopraxis.evaluation.report_page import escape
from zoopraxis.evaluation.results import Results

__all__ = ["Judgement", "ReadStrip", "clips_html", "confident_wrong_clips", "judge", "worst_clips"]

IntArray = npt.NDArray[np.int64]
UInt8Array = npt.NDArray[np.uint8]
ReadStrip = Callable[[str], UInt8Array | None]

_MAX_FRAMES = 8
_FRAME_HEIGHT = 120
_JPEG_QUALITY = 82


@dataclass(frozen=True, eq=False)
class Judgement:
    """The answers of one head, or of all heads together.

    Attributes:
        confidences: Probability of the answer, shape (N,); of several heads, the product.
        true_probabilities: Probability of the right answer, shape (N,).
        is_right: Whether the answer is right, of all heads, shape (N,).
    """

    confidences: npt.NDArray[np.float64]
    true_probabilities: npt.NDArray[np.float64]
    is_right: npt.NDArray[np.bool_]


def judge(results: Results, labels: Mapping[str, IntArray], heads: Sequence[str]) -> Judgement:
    """Judge the answers of some heads together, each answer being the head's best class."""
    confidence, truth = np.zeros(len(results)), np.zeros(len(results))
    is_right = np.ones(len(results), dtype=np.bool_)
    for head in heads:
        logs = log_softmax(results.scores[head])
        answers = results.scores[head].argmax(axis=1)
        confidence += np.take_along_axis(logs, answers[:, None], axis=1)[:, 0]
        truth += np.take_along_axis(logs, labels[head][:, None], axis=1)[:, 0]
        is_right &= answers == labels[head]
    return Judgement(np.exp(confidence), np.exp(truth), is_right)


def confident_wrong_clips(judgement: Judgement, count: int) -> IntArray:
    """Rows of the wrong answers that were given with the greatest confidence, the surest first; at most `count`."""
    wrong = np.flatnonzero(~judgement.is_right)
    order = np.argsort(-judgement.confidences[wrong], kind="stable")
    return wrong[order][:count]


def worst_clips(judgement: Judgement, count: int, *, without: IntArray) -> IntArray:
    """Rows of the wrong answers whose right answer was held for the least likely, least first; none of `without`."""
    wrong = np.setdiff1d(np.flatnonzero(~judgement.is_right), without)
    order = np.argsort(judgement.true_probabilities[wrong], kind="stable")
    return wrong[order][:count]


def clips_html(
    rows: IntArray,
    results: Results,
    labels: Mapping[str, IntArray],
    judgement: Judgement,
    class_names: Mapping[str, Sequence[str]],
    read_strip: ReadStrip | None,
) -> str:
    """One block a clip: its id, each head's answer and truth, and its frames where they can be read."""
    blocks = []
    for row in rows.tolist():
        clip_id = str(results.clip_ids[row])
        answers = "".join(
            _answer(head, class_names[head], int(results.scores[head][row].argmax()), int(labels[head][row]))
            for head in results.scores
        )
        sure = f"confidence {_percent(judgement.confidences[row])}, truth {_percent(judgement.true_probabilities[row])}"
        strip = _strip(clip_id, read_strip) if read_strip is not None else ""
        blocks.append(f'<div class="clip"><span class="id">{escape(clip_id)}</span>{answers}<span>{sure}</span>{strip}</div>')
    return "\n".join(blocks)


def _percent(probability: float) -> str:
    return f"{100 * probability:.1f}%" if probability >= 0.001 else "below 0.1%"


def _answer(head: str, names: Sequence[str], answer: int, truth: int) -> str:
    if answer == truth:
        return f'<span class="answer">{escape(head)}: <span class="good">{escape(names[truth])}</span></span>'
    return (
        f'<span class="answer">{escape(head)}: <span class="bad">{escape(names[answer])}</span>'
        f' instead of <span class="good">{escape(names[truth])}</span></span>'
    )


def _strip(clip_id: str, read_strip: ReadStrip) -> str:
    try:
        frames = read_strip(clip_id)
    except DataError as error:
        return f"<p>{escape(str(error))}</p>"
    if frames is None or len(frames) == 0:
        return "<p>no frames</p>"
    picked = np.unique(np.linspace(0, len(frames) - 1, min(_MAX_FRAMES, len(frames))).round().astype(np.int64))
    images = [_image(frames[number], f"frame {number + 1} of {len(frames)} of {clip_id}") for number in picked]
    return f'<div class="strip">{"".join(images)}</div>'


def _image(frame_HWC: UInt8Array, text: str) -> str:
    from simplejpeg import encode_jpeg

    data = encode_jpeg(_reduce(frame_HWC), quality=_JPEG_QUALITY, colorspace="RGB")
    return f'<img src="data:image/jpeg;base64,{base64.b64encode(data).decode()}" alt="{escape(text)}">'


def _reduce(frame_HWC: UInt8Array) -> UInt8Array:
    """The frame made smaller by a whole factor, each pixel the mean of a block."""
    factor = max(1, frame_HWC.shape[0] // _FRAME_HEIGHT)
    height, width = frame_HWC.shape[0] // factor, frame_HWC.shape[1] // factor
    blocks = frame_HWC[: height * factor, : width * factor].reshape(height, factor, width, factor, -1)
    return np.ascontiguousarray(blocks.mean(axis=(1, 3)).round().astype(np.uint8))
