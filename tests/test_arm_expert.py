"""Laws of the arm's scripted experts."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from policytrim_gym.envs.arm.arm_env import ArmEnv
from policytrim_gym.envs.arm.engines import ENGINES
from policytrim_gym.envs.arm.expert import DEMONSTRATORS, SPEED
from policytrim_gym.envs.arm.tasks import TASKS
from policytrim_gym.errors import InvalidConfig

for module in (*ENGINES, "pinocchio", "pink"):
    pytest.importorskip(module)


def demonstrate(env: ArmEnv, demonstrator: str, state: int, seed: int = 0) -> tuple[NDArray[np.float32], bool]:
    """Returns the actions of an episode of the expert (steps, action_dim), and whether it succeeded."""
    observation, _ = env.reset(options={"initial_state": state})
    expert, actions, done, info = env.make_expert(demonstrator, seed), [], False, {}
    while not done:
        actions.append(expert.action(observation))
        assert env.action_space.contains(actions[-1])
        observation, _, terminated, truncated, info = env.step(actions[-1])
        done = terminated or truncated
    return np.array(actions), info["is_success"]


@pytest.mark.slow
@pytest.mark.parametrize("demonstrator", DEMONSTRATORS)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("task", TASKS)
def test_the_expert_succeeds_within_the_action_space(task: str, engine: str, demonstrator: str) -> None:
    env = ArmEnv(task, engine)
    assert [demonstrate(env, demonstrator, state, seed=state)[1] for state in range(5)] == [True] * 5
    env.close()


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("task", TASKS)
def test_the_expert_succeeds_by_motion_of_the_tool(task: str, engine: str) -> None:
    env = ArmEnv(task, engine, action="tool_delta")
    assert [demonstrate(env, "full-speed", state)[1] for state in range(3)] == [True] * 3
    env.close()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_panda_reaches(engine: str) -> None:
    pytest.importorskip("pybullet_data")
    env = ArmEnv("reach", engine, robot="franka_panda")
    assert [demonstrate(env, "full-speed", state)[1] for state in range(3)] == [True] * 3
    env.close()


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("task", ["push", "pick-place"])
def test_a_panda_handles_objects(task: str, engine: str) -> None:
    pytest.importorskip("pybullet_data")
    env = ArmEnv(task, engine, robot="franka_panda")
    assert sum(demonstrate(env, "full-speed", state)[1] for state in range(5)) >= 4
    env.close()


def test_a_seed_draws_the_same_pace_and_another_seed_another() -> None:
    env = ArmEnv("reach")
    first, again, other = (demonstrate(env, "slow-uneven", 3, seed)[0] for seed in (7, 7, 8))
    np.testing.assert_array_equal(first, again)
    assert first.shape != other.shape or (first != other).any()


@pytest.mark.parametrize("task", TASKS)
def test_a_demonstrator_is_slower_than_full_speed_and_that_slower_than_the_arm_can(task: str) -> None:
    env = ArmEnv(task)
    steps = {name: np.mean([len(demonstrate(env, name, state, seed=state)[0]) for state in range(3)]) for name in DEMONSTRATORS}
    assert steps["slow-uneven"] > 1.3 * steps["full-speed"] > 1.3 * steps["saturated"]
    env.close()


def test_the_slow_demonstrator_changes_its_pace_and_pauses() -> None:
    env, steps = ArmEnv("reach"), []
    for seed in range(10):
        actions, _ = demonstrate(env, "slow-uneven", seed, seed)
        tool = np.array([env.kinematics.tool_pose(joints).position for joints in actions[:, :-1].astype(float)])
        steps += [*np.linalg.norm(np.diff(tool, axis=0), axis=1)]
    paces = np.array(steps) / (SPEED["slow-uneven"] * env.control_dt_s)
    assert paces.max() < 1.05
    assert (paces < 0.01).sum() >= 10, "it pauses"
    for low in (0.25, 0.5, 0.75):
        assert ((paces > low) & (paces < low + 0.25)).mean() > 0.1, "it goes at every pace"


def test_one_expert_serves_episodes_one_after_another() -> None:
    env = ArmEnv("reach")
    expert = env.make_expert("full-speed")
    lengths = []
    for _ in range(2):
        observation, _ = env.reset(options={"initial_state": 4})
        expert.reset()
        actions, terminated = [], False
        while not terminated:
            actions.append(expert.action(observation))
            observation, _, terminated, _, _ = env.step(actions[-1])
        lengths.append(np.array(actions))
    np.testing.assert_array_equal(*lengths)


def test_an_unknown_demonstrator_is_refused_by_name() -> None:
    with pytest.raises(InvalidConfig, match="full-speed.*'fast'"):
        ArmEnv("reach").make_expert("fast")
