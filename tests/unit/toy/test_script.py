import dataclasses

from zoopraxis.toy import ToyConfig
from zoopraxis.toy.script import VideoScript, write_scripts


def _num_overlaps(scripts: list[VideoScript]) -> int:
    pairs = [pair for script in scripts for pair in zip(script.actions, script.actions[1:], strict=False)]
    return sum(second.start_frame < first.stop_frame for first, second in pairs)


def test_actions_lie_inside_their_video_with_unlabelled_stretches_around_each() -> None:
    config = ToyConfig()
    least = round(config.unlabelled_seconds[0] * config.fps)
    for script in write_scripts(config):
        free_from = 0
        for action in script.actions:
            assert action.start_frame - free_from >= least
            assert config.action_seconds[0] <= (action.stop_frame - action.start_frame) / config.fps <= config.action_seconds[1]
            assert action.start_frame - action.rest_before >= free_from
            free_from = action.stop_frame
        assert script.num_frames - free_from >= least


def test_resting_things_never_meet_the_next_action_without_overlap() -> None:
    for script in write_scripts(ToyConfig()):
        for first, second in zip(script.actions, script.actions[1:], strict=False):
            assert first.stop_frame + first.rest_after <= second.start_frame - second.rest_before


def test_overlap_gives_its_share_of_overlapping_segments_and_never_three_at_once() -> None:
    assert _num_overlaps(write_scripts(ToyConfig(overlap=0.0))) == 0
    scripts = write_scripts(ToyConfig(overlap=1.0))
    assert _num_overlaps(scripts) == sum(len(script.actions) // 2 for script in scripts)
    for script in scripts:
        for frame in range(script.num_frames):
            assert sum(action.start_frame <= frame < action.stop_frame for action in script.actions) <= 2
    assert 0 < _num_overlaps(write_scripts(ToyConfig(overlap=0.2))) < 300


def test_verbs_and_nouns_are_as_frequent_as_asked_and_independent_of_each_other() -> None:
    config = ToyConfig(actions_per_video=32, num_tail_verbs=0, num_tail_nouns=0)
    pairs = [(a.verb, a.noun) for s in write_scripts(config) if s.split == "train" for a in s.actions]
    assert {sum(verb == v for v, _ in pairs) for verb in range(8)} == {len(pairs) // 8}
    assert {sum(noun == n for _, n in pairs) for noun in range(8)} == {len(pairs) // 8}
    assert len(set(pairs)) == 64


def test_a_verb_and_its_partner_are_equally_frequent() -> None:
    scripts = write_scripts(dataclasses.replace(ToyConfig(), tail_frequency=0.5))
    for split in ("train", "validation", "test"):
        verbs = [action.verb for script in scripts if script.split == split for action in script.actions]
        for verb in range(0, 8, 2):
            assert abs(verbs.count(verb) - verbs.count(verb + 1)) <= 1
