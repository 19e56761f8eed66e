"""Laws of drawing images only when a policy will look."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.wrappers import TransformAction
from scripted_envs import CountingEnv, numbered_policy

from policytrim_gym.envs.arm.arm_env import ArmEnv
from policytrim_gym.rollouts.worker import EnvSlot
from policytrim_gym.wrappers.control_horizon import ControlHorizon
from policytrim_gym.wrappers.execute_chunk import ChunkWindow, ExecuteChunk
from policytrim_gym.wrappers.lazy_step import lazy_step

H = 4


class DrawingEnv(CountingEnv):
    """Logs the steps whose image it draws, 0 for a reset; its image reads the step of the last look. Refuses an action of 2."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(observation="dict", **kwargs)
        self.look = True
        self.drawn: list[int] = []

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if action[0] == 2:
            raise ValueError("no such action")
        return super().step(action)

    def _observe(self) -> Any:
        observation = super()._observe()
        if self.look or self.steps in (0, self.terminate_at, self.truncate_at):
            self.drawn.append(self.steps)
        return {**observation, "image_front": np.full((4, 4, 3), self.drawn[-1], np.uint8)}


class LookedAt(CountingEnv):
    """Has a `look` of its own meaning."""

    def look(self) -> str:
        return "around"


@pytest.mark.parametrize("horizon", [1, 3, 4])
def test_a_chunk_draws_its_last_step_alone(horizon: int) -> None:
    env = ExecuteChunk(TransformAction(DrawingEnv(), lambda action: action, None), H, horizon)
    env.reset()
    for _ in range(2):
        observation = env.step(np.zeros((H, 2)))[0]
    assert env.unwrapped.drawn == [0, horizon, 2 * horizon]
    assert observation["image_front"].max() == 2 * horizon
    assert env.unwrapped.look is True


@pytest.mark.parametrize("end", ["terminate_at", "truncate_at"])
def test_the_end_of_an_episode_is_drawn_wherever_in_a_chunk_it_comes(end: str) -> None:
    env = ExecuteChunk(DrawingEnv(**{end: 2}), H)
    env.reset()
    assert env.step(np.zeros((H, 2)))[0]["image_front"].max() == 2
    assert env.unwrapped.drawn == [0, 2]


def test_a_resampled_window_draws_its_own_last_step() -> None:
    env = ExecuteChunk(DrawingEnv(), H)
    env.reset()
    env.step(ChunkWindow(np.zeros((2, 2)), execute_horizon=3, playback_rate=1.5))
    assert env.unwrapped.drawn == [0, 2]


def test_a_controller_of_horizons_draws_where_its_policy_looks() -> None:
    env = ControlHorizon(DrawingEnv(), numbered_policy(), (2, 5))
    env.reset()
    env.step(0), env.step(1)
    assert env.unwrapped.drawn == [0, 2, 7]


@pytest.mark.parametrize(("keep_trajectory", "drawn"), [(False, [0, 3, 6]), (True, [0, 1, 2, 3, 4, 5, 6])])
def test_a_rollout_draws_where_its_policy_looks_and_a_trajectory_every_step(keep_trajectory: bool, drawn: list[int]) -> None:
    slot = EnvSlot(DrawingEnv)  # type: ignore[arg-type]
    slot.reset(0, None)
    results = [slot.run(np.zeros((3, 2), np.float32), keep_trajectory) for _ in range(2)]
    assert slot.env.drawn == drawn  # type: ignore[attr-defined]
    assert [step["image_front"].max() for result in results for step in result.trajectory] == drawn[:-1] * keep_trajectory


def test_an_environment_whose_step_fails_looks_again() -> None:
    env = ExecuteChunk(DrawingEnv(), H)
    env.reset()
    with pytest.raises(ValueError, match="no such action"):
        env.step(np.array([[0, 0], [2, 0], [0, 0], [0, 0]]))
    assert env.unwrapped.look is True


def test_another_meaning_of_look_is_left_alone() -> None:
    env = LookedAt()
    env.reset()
    lazy_step(env, np.zeros(2), look=False)
    assert env.look() == "around"


@pytest.mark.parametrize("engine", ["mujoco", "pybullet"])
def test_the_arm_shows_after_a_chunk_what_it_shows_when_each_step_is_drawn(engine: str) -> None:
    envs = [ArmEnv("push", engine, "pixels", image_size=32) for _ in range(2)]
    chunked, stepped = ExecuteChunk(envs[0], H), envs[1]
    draws = 0
    render = envs[0].engine.render

    def counted(*arguments: Any) -> Any:
        nonlocal draws
        draws += 1
        return render(*arguments)

    envs[0].engine.render = counted  # type: ignore[method-assign]
    first = [env.reset(options={"initial_state": 1})[0] for env in (chunked, stepped)]
    assert_equal(*first)
    for call in range(3):
        chunk = np.tile(np.append(stepped.robot.home + 0.1 * (call + 1), 0.3), (H, 1)).astype(np.float32)
        last = [stepped.step(action)[0] for action in chunk][-1]
        assert_equal(chunked.step(chunk)[0], last)
    assert draws == 2 * (1 + 3)  # two cameras; the reset and three chunks
    chunked.close(), stepped.close()


def assert_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for key in one:
        np.testing.assert_array_equal(one[key], other[key])
