import numpy as np
import numpy.typing as npt
import pytest

from zoopraxis.toy.motions import VERBS, Verb, draw_motion, pose_at
from zoopraxis.toy.render import pose_in_frame
from zoopraxis.toy.script import Action
from zoopraxis.toy.things import NOUNS, draw_thing

_FORWARDS = [verb for verb in VERBS if not verb.is_backwards]


def _partner(verb: Verb) -> Verb:
    return VERBS[VERBS.index(verb) ^ 1]


def _render(verb: Verb, *, seed: int, num_frames: int = 13) -> npt.NDArray[np.float32]:
    """An action's frames as the toy kitchen shows them, without kitchen; shape (T, H, W, 3)."""
    motion = draw_motion(verb, np.random.default_rng(seed), side=48, radius=7.0)
    action = Action(VERBS.index(verb), 4, 5, 5 + num_frames, 0, 0, 0.0)
    frames = np.zeros((num_frames, 48, 64, 3), dtype=np.float32)
    for number, frame in enumerate(frames):
        pose = pose_in_frame(action, motion, 5 + number)
        assert pose is not None
        draw_thing(frame, NOUNS[action.noun], pose, 7.0)
    return frames


@pytest.mark.parametrize("verb", _FORWARDS, ids=lambda verb: verb.name)
def test_each_verb_is_its_partner_played_backwards(verb: Verb) -> None:
    for seed in range(3):
        forwards, backwards = _render(verb, seed=seed), _render(_partner(verb), seed=seed)
        assert forwards.max() > 100
        np.testing.assert_allclose(forwards, backwards[::-1], atol=1e-2)
        assert np.abs(forwards - backwards).max() > 50


@pytest.mark.parametrize("verb", _FORWARDS, ids=lambda verb: verb.name)
def test_where_a_thing_is_seen_does_not_depend_on_the_direction(verb: Verb) -> None:
    means = []
    for either in (verb, _partner(verb)):
        rng = np.random.default_rng(0)
        motions = [draw_motion(either, rng, side=48, radius=7.0) for _ in range(400)]
        seen = [pose_at(either, motion, phase) for motion in motions for phase in np.linspace(0, 1, 9)]
        means.append(np.mean([(p.x, p.y, p.angle, p.scale, p.gap, p.x**2, p.y**2, p.gap**2) for p in seen], axis=0))
    np.testing.assert_allclose(means[0], means[1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_things_stay_in_the_central_square(verb: Verb) -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        motion = draw_motion(verb, rng, side=48, radius=7.0)
        for phase in (0.0, 0.25, 0.5, 0.75, 1.0):
            pose = pose_at(verb, motion, phase)
            assert max(abs(pose.x), abs(pose.y)) <= 24 - 7.0 + 1


def test_directions_are_what_their_names_say() -> None:
    ends = {}
    for verb in VERBS:
        motion = draw_motion(verb, np.random.default_rng(2), side=48, radius=7.0)
        ends[verb.name] = (pose_at(verb, motion, 0.0), pose_at(verb, motion, 0.1), motion)
    assert ends["move-right"][1].x > ends["move-right"][0].x
    assert ends["move-left"][1].x < ends["move-left"][0].x
    assert ends["lift"][1].y < ends["lift"][0].y
    assert ends["lower"][1].y > ends["lower"][0].y
    assert ends["open"][1].gap > ends["open"][0].gap == 0
    assert ends["close"][1].gap < ends["close"][0].gap
    first, second, motion = ends["stir-clockwise"]
    radius_x, radius_y = first.x - motion.x, first.y - motion.y
    assert radius_x * (second.y - first.y) - radius_y * (second.x - first.x) > 0
