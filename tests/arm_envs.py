"""Arm environments and simple motion for tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from policytrim_gym.envs.arm.arm_env import ArmEnv


def make(task: object = "push", engine: str = "mujoco", observation: str = "state", **arguments: object) -> ArmEnv:
    size = {"image_size": 16} if observation == "pixels" else {}
    return ArmEnv(task, engine, observation, **size, **arguments)


def stay(env: ArmEnv) -> NDArray[np.float32]:
    """Returns the action that asks for where the arm is told to be."""
    command = env.command
    return np.append(env.action_mode.towards(command[:-1], command[:-1]), command[-1]).astype(np.float32)


def wander(env: ArmEnv, num_steps: int, seed: int = 0, **reset: object) -> NDArray[np.float32]:
    """Returns the states (num_steps + 1, n) of a reset and a random walk of small steps after it."""
    random = np.random.default_rng(seed)
    states = [env.reset(**reset)[0]["state"]]
    for _ in range(num_steps):
        way = random.uniform(-0.1, 0.1, env.robot.dof)
        targets = np.clip(env.command[:-1] + way, env.robot.arm_limits.lower, env.robot.arm_limits.upper)
        action = np.append(env.action_mode.towards(targets, env.command[:-1]), 0.5)
        states.append(env.step(np.clip(action, env.action_space.low, env.action_space.high))[0]["state"])
    return np.array(states)


def where(**options: object) -> dict:
    return {"options": {"initial_state": 0, **options}}
