"""Trains an SB3 PPO to choose how much of a fixed policy's chunk runs before the policy is asked again.

The policy is a hand-written swing-up controller for Pendulum that plans a chunk of 16 torques with a wrong model of the pendulum (no
friction, 20 % too light): what it plans is good at first and worse further on. PPO sees the plan and picks 1, 2, 4, 8 or 16 actions
of it; each question to the policy costs 2 points of reward. The table at the end compares it with every fixed choice.

    python examples/control_horizon_ppo.py
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from policytrim_gym import CallablePolicy, ControlHorizon, PolicySpec, RecordChunkStatistics

CHUNK_SIZE = 16
HORIZONS = (1, 2, 4, 8, 16)
COST_OF_A_CALL = 2.0
TRAINING_CALLS = 30_000
TEST_EPISODES = 10
DT_S, GRAVITY, MASS, MAX_TORQUE = 0.05, 10.0, 0.8, 2.0


def plan_chunk(observation: Mapping[str, Any]) -> np.ndarray:
    """Plans torques by simulating the controller on its own model; (CHUNK_SIZE, 1)."""
    cosine, sine, velocity = observation["state"]
    angle = np.arctan2(sine, cosine)
    torques = np.zeros((CHUNK_SIZE, 1))
    for step in range(CHUNK_SIZE):
        energy = MASS * velocity**2 / 6 + MASS * GRAVITY * (np.cos(angle) - 1) / 2  # 0 at rest upright
        near_top = np.cos(angle) > 0.85
        torque = -12 * angle - 3 * velocity if near_top else -4 * energy * (np.sign(velocity) or 1.0)
        torque = np.clip(torque, -MAX_TORQUE, MAX_TORQUE)
        torques[step] = torque
        velocity = np.clip(velocity + (1.5 * GRAVITY * np.sin(angle) + 3.0 * torque / MASS) * DT_S, -8, 8)
        angle = (angle + velocity * DT_S + np.pi) % (2 * np.pi) - np.pi
    return torques


def charge_for_calls(env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    """Takes the price of one inference from every step of the wrapper, which is one call of the policy."""
    return gym.wrappers.TransformReward(env, lambda reward: float(reward) - COST_OF_A_CALL)


def make_env() -> gym.Env[Any, Any]:
    """Pendulum under the planning policy, with the horizon as the action."""
    policy = CallablePolicy(plan_chunk, PolicySpec(chunk_size=CHUNK_SIZE, action_dim=1, observation_shapes={"state": (3,)}))
    # Pendulum has no success to trim for, so the environment's own reward stays: reward=None.
    env = ControlHorizon(gym.make("Pendulum-v1"), policy, horizons=HORIZONS, reward=None, observation="flat")
    return RecordChunkStatistics(charge_for_calls(env))


def evaluate(choose: Callable[[np.ndarray], int]) -> tuple[float, float]:
    """Returns the mean return after the price of calls, and the mean number of calls, on the same initial states for everyone."""
    env, returns, calls = make_env(), [], []
    for episode in range(TEST_EPISODES):
        observation, _ = env.reset(seed=10_000 + episode)
        total, ended = 0.0, False
        while not ended:
            observation, reward, terminated, truncated, info = env.step(choose(observation))
            total += float(reward)
            ended = terminated or truncated
        returns.append(total)
        calls.append(info["rollout"]["num_replans"])
    return float(np.mean(returns)), float(np.mean(calls))


def main() -> None:
    """Trains the choice and prints it beside every fixed one."""
    model = PPO(
        "MlpPolicy",
        VecNormalize(make_vec_env(make_env, n_envs=4, seed=0), norm_obs=False, gamma=0.98),
        n_steps=256,
        batch_size=256,
        gamma=0.98,  # a step of this environment is one call of the policy, not one physical step
        learning_rate=1e-3,
        ent_coef=0.003,
        seed=0,
        device="cpu",
    )
    model.learn(TRAINING_CALLS)
    rows = {f"always {horizon} actions": evaluate(lambda _, index=index: index) for index, horizon in enumerate(HORIZONS)}
    rows["chosen by PPO"] = evaluate(lambda observation: int(model.predict(observation, deterministic=True)[0]))
    print(f"{'':20}{'return - calls':>16}{'calls':>8}")
    for name, (mean_return, mean_calls) in rows.items():
        print(f"{name:20}{mean_return:16.1f}{mean_calls:8.1f}")


if __name__ == "__main__":
    main()
