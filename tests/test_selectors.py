"""Laws of choosing the horizon chunk by chunk."""

from __future__ import annotations

import numpy as np
import pytest
from test_evaluate import make_pendulum, pendulum_policy, timeless

from policytrim_gym.chunk import ActionChunk
from policytrim_gym.chunk_summary import chunk_summary, chunk_summary_size
from policytrim_gym.errors import InvalidConfig, InvalidHorizon, InvalidSpec
from policytrim_gym.evaluation.evaluate import evaluate_policy
from policytrim_gym.policy import CallablePolicy
from policytrim_gym.replan import HorizonChoice, HorizonMenu, ReplanContext
from policytrim_gym.selectors.selector import FixedSelector, HorizonSelector
from policytrim_gym.spec import PolicySpec
from policytrim_gym.wrappers.control_horizon import ControlHorizon

SPEC = PolicySpec(chunk_size=8, action_dim=2, action_kinds=("delta", "position"))


class RecordingSelector(HorizonSelector):
    """Goes through a list of choices and keeps what it was shown."""

    name, choices = "recording", ()

    def __init__(self, choices: list[HorizonChoice]) -> None:
        self.choices = tuple(choices)
        self.contexts: list[ReplanContext] = []

    def select(self, contexts) -> list[HorizonChoice]:
        chosen = [self.choices[(len(self.contexts) + index) % len(self.choices)] for index in range(len(contexts))]
        self.contexts += contexts
        return chosen


@pytest.mark.parametrize(("horizon", "rate", "delay"), [(3, 1.0, 0), (3, 2.0, 0), (3, 1.0, 2)])
def test_a_fixed_selector_is_the_fixed_setting(horizon: int, rate: float, delay: int) -> None:
    setting = {"num_episodes": 2, "num_workers": 0, "inference_delay_steps": delay}
    fixed = evaluate_policy(pendulum_policy(), make_pendulum, horizon, playback_rate=rate, **setting)
    selected = evaluate_policy(pendulum_policy(), make_pendulum, selector=FixedSelector(horizon, rate), **setting)
    assert timeless(selected) == timeless(fixed)
    assert selected.name == fixed.name and selected.selector == FixedSelector(horizon, rate).name


def test_a_selector_sees_what_control_horizon_shows() -> None:
    """The evaluation and the wrapper that trains a controller must agree, or a learned selector is asked about another world."""
    choices = [HorizonChoice(2), HorizonChoice(6, 2.0), HorizonChoice(6)]
    selector = RecordingSelector(choices)
    evaluate_policy(pendulum_policy(), make_pendulum, num_episodes=1, num_workers=0, seed=4, selector=selector)
    env = ControlHorizon(make_pendulum(), pendulum_policy(), (2, 6), reward=None, playback_rates=(1.0, 2.0))
    observation, _ = env.reset(seed=4)
    for index, context in enumerate(selector.contexts):
        built = env._layout.build(context)
        assert built.keys() == observation.keys()
        for key in built:
            np.testing.assert_array_equal(built[key], observation[key], err_msg=key)
        observation, _, terminated, truncated, _ = env.step(env.menu.index(choices[index % 3]))
    assert truncated and not terminated


def test_selector_and_settings_that_contradict_it_are_refused() -> None:
    run = {"num_episodes": 1, "num_workers": 0}
    with pytest.raises(InvalidConfig, match="give execute_horizon or a selector, got 3 and h=3"):
        evaluate_policy(pendulum_policy(), make_pendulum, 3, selector=FixedSelector(3), **run)
    with pytest.raises(InvalidConfig, match="chooses the playback rate itself"):
        evaluate_policy(pendulum_policy(), make_pendulum, selector=FixedSelector(3), playback_rate=2.0, **run)
    with pytest.raises(InvalidHorizon, match="got 7"):
        evaluate_policy(pendulum_policy(), make_pendulum, selector=FixedSelector(7), **run)
    with pytest.raises(InvalidSpec, match="choose one of them"):
        evaluate_policy(pendulum_policy(), make_pendulum, selector=FixedSelector(3, 2.0), inference_delay_steps=1, **run)
    unknown = CallablePolicy(lambda observation: np.zeros((6, 1)), PolicySpec(6, 1))
    with pytest.raises(InvalidSpec, match="action_kinds"):
        evaluate_policy(unknown, make_pendulum, selector=FixedSelector(3, 2.0), **run)


def test_menu_numbers_and_choices_are_one_to_one() -> None:
    menu = HorizonMenu((2, 4, 8), (1.0, 1.5), SPEC)
    choices = [menu.unpack(number) for number in range(len(menu))]
    assert len(set(choices)) == len(menu) == 6
    assert [menu.index(choice) for choice in choices] == list(range(6))
    for wrong in (6, -1, 0.0, "1", np.array([1])):
        with pytest.raises(InvalidHorizon, match=r"0\.\.5"):
            menu.unpack(wrong)


def test_disagreement_compares_the_same_moments() -> None:
    """A policy that repeats its plan disagrees nowhere, whatever part of it was played; one that shifts it by a constant, everywhere."""
    plan = np.arange(32.0).reshape(16, 2)
    old = ActionChunk(plan[:8])
    for consumed in range(1, 9):
        same = ReplanContext({}, ActionChunk(plan[consumed : consumed + 8]), old, consumed)
        shifted = ReplanContext({}, ActionChunk(plan[consumed : consumed + 8] + 0.5), old, consumed)
        assert same.overlap_disagreement().shape == (8 - consumed, 2)
        assert (same.overlap_disagreement() == 0).all() and (shifted.overlap_disagreement() == 0.5).all()
    assert ReplanContext({}, old).overlap_disagreement().shape == (0, 2)


def test_chunk_summary_scales_with_the_chunk_and_a_steady_chunk_does_not_bend() -> None:
    chunk = np.random.default_rng(0).normal(size=(8, 2)).astype(np.float32)
    once, twice = chunk_summary(chunk, (2, 8)), chunk_summary(2 * chunk, (2, 8))
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-6)
    assert once.shape == (chunk_summary_size(2, 2),)
    steady = chunk_summary(np.ones((8, 2), np.float32), (2, 8))
    assert steady.tolist() == [1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0]
