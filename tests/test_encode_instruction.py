"""Laws of the instruction as numbers."""

from __future__ import annotations

import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from scripted_envs import CountingEnv
from stable_baselines3.common.env_checker import check_env as check_sb3_env

from policytrim_gym.errors import InvalidSpec
from policytrim_gym.wrappers.encode_instruction import EncodeInstruction
from policytrim_gym.wrappers.execute_chunk import ExecuteChunk


def lengths(text: str) -> list[int]:
    """Two token ids: of a sentence's letters and of its words."""
    return [len(text), len(text.split())]


class NamesItsTask(gym.Wrapper):
    """Another instruction in every episode, in the info of reset only."""

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        self.episodes = 0

    def reset(self, **kwargs):
        observation, info = self.env.reset(**kwargs)
        self.episodes += 1
        return observation, {**info, "instruction": "word " * self.episodes}


@pytest.mark.parametrize("kind", ["box", "dict"])
def test_everything_but_the_instruction_is_as_without_the_wrapper(kind: str) -> None:
    plain, encoded = CountingEnv(truncate_at=3, observation=kind), EncodeInstruction(CountingEnv(truncate_at=3, observation=kind), lengths)
    theirs, ours = [plain.reset(seed=0)], [encoded.reset(seed=0)]
    for _ in range(3):
        theirs.append(plain.step(np.ones(2)))
        ours.append(encoded.step(np.ones(2)))
    for (observation, *rest), (seen, *our_rest) in zip(theirs, ours):
        assert rest == our_rest
        assert seen.pop("instruction").tolist() == [5, 1]  # "count"
        np.testing.assert_equal(seen, observation if kind == "dict" else {"state": observation})


def test_the_tokens_are_those_of_the_episode() -> None:
    env = EncodeInstruction(NamesItsTask(CountingEnv()), lengths)
    for episode in (1, 2, 3):
        assert env.reset()[0]["instruction"][1] == episode
        assert env.step(np.zeros(2))[0]["instruction"][1] == episode


def test_an_observation_kept_by_the_caller_does_not_change() -> None:
    env = EncodeInstruction(NamesItsTask(CountingEnv()), lengths)
    first, _ = env.reset()
    first["instruction"][:] = 99
    assert env.step(np.zeros(2))[0]["instruction"].tolist() == [5, 1]


def test_inside_and_outside_of_a_chunk_are_the_same() -> None:
    inside = ExecuteChunk(EncodeInstruction(CountingEnv(), lengths), 4)
    outside = EncodeInstruction(ExecuteChunk(CountingEnv(), 4), lengths)
    np.testing.assert_equal(inside.reset(seed=0)[0], outside.reset(seed=0)[0])
    np.testing.assert_equal(inside.step(np.ones((4, 2))), outside.step(np.ones((4, 2))))


def test_a_vector_of_it_gives_its_rows() -> None:
    vector = SyncVectorEnv([lambda: EncodeInstruction(CountingEnv(truncate_at=3), lengths)] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
    observations, _ = vector.reset(seed=0)
    assert observations["instruction"].tolist() == [[5, 1], [5, 1]]


def test_the_checkers_of_gymnasium_and_sb3_pass() -> None:
    env = EncodeInstruction(CountingEnv(truncate_at=5), lengths)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # recommendations about infinite bounds and wrapped environments
        check_env(env, skip_render_check=True)
        check_sb3_env(env, warn=False)


def test_spaces_that_do_not_fit_are_named() -> None:
    image = CountingEnv()
    image.observation_space = gym.spaces.Box(0, 255, (4, 4, 3), np.uint8)
    with pytest.raises(InvalidSpec, match=r"one-dimensional Box or a Dict of Boxes.*\(4, 4, 3\)"):
        EncodeInstruction(image, lengths)
    with pytest.raises(InvalidSpec, match=r"instruction already, got \['instruction', 'state'\]"):
        EncodeInstruction(EncodeInstruction(CountingEnv(), lengths), lengths)


def test_tokens_that_do_not_fit_are_named() -> None:
    varying = EncodeInstruction(NamesItsTask(CountingEnv()), lambda text: [1] * len(text.split()))
    varying.reset()
    with pytest.raises(InvalidSpec, match=r"1 integers in 0\.\.16777216, got \[1, 1\] for 'word word '"):
        varying.reset()
    for wrong in ([0.5], [-1], [2**24 + 1]):
        with pytest.raises(InvalidSpec, match="encode must return 1 integers"):
            EncodeInstruction(CountingEnv(), lambda text, wrong=wrong: wrong).reset()


def test_an_environment_that_asks_for_nothing_is_refused() -> None:
    silent = CountingEnv()
    del silent.instruction
    with pytest.raises(InvalidSpec, match="must say what it asks for.*got None"):
        EncodeInstruction(silent, lengths).reset()
