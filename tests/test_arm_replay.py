"""The law that an episode of the arm does not depend on what happened before it."""

from __future__ import annotations

import numpy as np
import pytest

from policytrim_gym.envs.arm.arm_env import ArmEnv
from policytrim_gym.envs.arm.tasks import OBJECT


def wild_motion(env: ArmEnv, initial_state: int, num_steps: int) -> np.ndarray:
    """Returns where joints and object were while the arm made large random motions, also into the table, (num_steps, dof + 8)."""
    random = np.random.default_rng(initial_state)
    low, high = env.action_space.low, env.action_space.high
    env.reset(options={"initial_state": initial_state})
    rows = []
    for step in range(num_steps):
        if step % 8 == 0:
            action = random.uniform(low, high).astype(np.float32)
        env.step(action)
        rows.append(np.concatenate([env.engine.joint_state().positions, *env.engine.body_pose(OBJECT)]))
    return np.array(rows)


@pytest.mark.parametrize("engine", ["mujoco", "pybullet"])
@pytest.mark.parametrize("task", ["push", "pick-place"])
def test_an_episode_replays_exactly_after_any_other(engine: str, task: str) -> None:
    env = ArmEnv(task, engine)
    first = wild_motion(env, 2, 16)
    for other, num_steps in ((5, 9), (6, 33)):  # left in the middle of a motion
        wild_motion(env, other, num_steps)
        np.testing.assert_array_equal(wild_motion(env, 2, 16), first)
    env.close()
