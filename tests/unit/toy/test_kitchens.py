import dataclasses
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pytest

from zoopraxis.toy import ToyConfig
from zoopraxis.toy.kitchens import MARGIN_PX, draw_camera, draw_kitchen
from zoopraxis.toy.render import kitchen_of, render_video
from zoopraxis.toy.script import VideoScript, write_scripts
from zoopraxis.toy.things import NOUNS, Pose, draw_thing


def _mean_colors(config: ToyConfig, domain: str) -> npt.NDArray[np.float64]:
    """The mean color of the first frame of each video of a domain, shape (videos, 3)."""
    scripts: Iterable[VideoScript] = (s for s in write_scripts(config) if s.domain == domain)
    return np.array([next(render_video(config, script)).mean(axis=(0, 1)) for script in scripts])


def test_without_shift_a_kitchen_does_not_depend_on_its_domain() -> None:
    config = ToyConfig(domain_shift=0.0)
    for script in write_scripts(config):
        other = "target" if script.domain == "source" else "source"
        assert kitchen_of(config, script) == kitchen_of(config, dataclasses.replace(script, domain=other))


def test_shift_moves_the_target_alone_and_the_farther_the_larger_it_is(tiny_config: ToyConfig) -> None:
    colors = {
        (shift, domain): _mean_colors(dataclasses.replace(tiny_config, num_participants=24, domain_shift=shift), domain)
        for shift in (0.0, 0.5, 1.0)
        for domain in ("source", "target")
    }
    np.testing.assert_array_equal(colors[0.0, "source"], colors[1.0, "source"])
    casts = {key: (value[:, 2] / value[:, 0]).mean() for key, value in colors.items()}
    assert casts[0.0, "source"] == pytest.approx(casts[0.0, "target"], rel=0.2)
    assert casts[0.0, "target"] * 1.1 < casts[0.5, "target"] < casts[1.0, "target"] / 1.1


def test_participants_have_kitchens_of_their_own_in_all_their_videos() -> None:
    config = ToyConfig()
    scripts = write_scripts(config)
    kitchens = {script.participant_id: kitchen_of(config, script) for script in scripts}
    assert len(set(kitchens.values())) == config.num_participants
    assert all(kitchen_of(config, script) == kitchens[script.participant_id] for script in scripts)


def test_camera_shakes_within_the_margin() -> None:
    for seed in range(20):
        kitchen = draw_kitchen(np.random.default_rng(seed), shift=2.0)
        camera = draw_camera(np.random.default_rng(seed), kitchen)
        places = np.array([camera.at(seconds) for seconds in np.linspace(0, 60, 200)])
        assert 0.1 < np.abs(places[:, :2]).max() <= kitchen.jitter < MARGIN_PX
        assert np.abs(places[:, 2] - 1).max() <= 0.03


def test_frames_show_the_thing_only_while_it_is_there(tiny_config: ToyConfig) -> None:
    script = write_scripts(tiny_config)[0]
    swapped = dataclasses.replace(script, actions=tuple(dataclasses.replace(a, noun=(a.noun + 1) % 8) for a in script.actions))
    frames = list(render_video(tiny_config, script))
    assert len(frames) == script.num_frames
    assert frames[0].shape == (*tiny_config.resolution, 3)
    assert frames[0].dtype == np.uint8
    others = list(render_video(tiny_config, swapped))
    first = script.actions[0]
    for number in range(script.actions[1].start_frame - script.actions[1].rest_before):
        is_there = first.start_frame - first.rest_before <= number < first.stop_frame + first.rest_after
        assert np.array_equal(frames[number], others[number]) != is_there


def test_nouns_differ_in_shape_or_color_and_are_drawn_inside_the_frame_only() -> None:
    assert len({(noun.shape, noun.color) for noun in NOUNS}) == len({noun.name for noun in NOUNS}) == 16
    assert len({noun.shape for noun in NOUNS[:8]}) == len({noun.color for noun in NOUNS[:8]}) == 8
    for noun in NOUNS:
        frame = np.zeros((20, 20, 3), dtype=np.float32)
        draw_thing(frame, noun, Pose(0, 0), 7.0)
        assert frame.min() >= 0
        np.testing.assert_allclose(frame.max(axis=(0, 1)), noun.color, rtol=1e-3)
        edge = np.zeros((20, 20, 3), dtype=np.float32)
        draw_thing(edge, noun, Pose(10, 3), 7.0)
        assert edge[:, -1].any()
        outside = np.zeros((20, 20, 3), dtype=np.float32)
        draw_thing(outside, noun, Pose(40, 3), 7.0)
        assert not outside.any()
