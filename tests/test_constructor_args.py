"""Every wrapper records each of its constructor's arguments, so that its spec makes it again."""

from __future__ import annotations

import inspect
import pkgutil
from importlib import import_module

import gymnasium as gym
import pytest
from gymnasium.utils import RecordConstructorArgs
from scripted_envs import CountingEnv, numbered_policy

import policytrim_gym.wrappers
from policytrim_gym.wrappers.control_horizon import ControlHorizon
from policytrim_gym.wrappers.encode_instruction import EncodeInstruction
from policytrim_gym.wrappers.execute_chunk import ExecuteChunk
from policytrim_gym.wrappers.fail_at_time_limit import FailAtTimeLimit
from policytrim_gym.wrappers.record_chunk_statistics import RecordChunkStatistics
from policytrim_gym.wrappers.trim_reward import ApplyTrimReward, TrimReward

MADE = {
    ExecuteChunk: lambda: ExecuteChunk(CountingEnv(), 4),
    RecordChunkStatistics: lambda: RecordChunkStatistics(ExecuteChunk(CountingEnv(), 4)),
    ApplyTrimReward: lambda: ApplyTrimReward(ExecuteChunk(CountingEnv(), 4), TrimReward()),
    ControlHorizon: lambda: ControlHorizon(CountingEnv(), numbered_policy(), (1, 2)),
    EncodeInstruction: lambda: EncodeInstruction(CountingEnv(), lambda text: [len(text)]),
    FailAtTimeLimit: lambda: FailAtTimeLimit(CountingEnv()),
}


def wrapper_classes() -> set[type]:
    modules = [import_module(f"policytrim_gym.wrappers.{info.name}") for info in pkgutil.iter_modules(policytrim_gym.wrappers.__path__)]
    return {
        value
        for module in modules
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, gym.Wrapper) and value.__module__ == module.__name__
    }


def test_the_list_here_is_complete() -> None:
    assert wrapper_classes() == set(MADE)


@pytest.mark.parametrize("wrapper", MADE)
def test_every_argument_is_recorded_before_anything_else(wrapper: type) -> None:
    arguments = list(inspect.signature(wrapper.__init__).parameters)[2:]  # without self and env
    assert list(MADE[wrapper]()._saved_kwargs) == arguments
    first = inspect.getsource(wrapper.__init__).partition("-> None:")[2].strip()
    assert first.startswith("RecordConstructorArgs.__init__(")
    assert issubclass(wrapper, RecordConstructorArgs)
