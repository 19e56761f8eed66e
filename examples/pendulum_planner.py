"""The small task of the other examples: a hand-written planner swings a pendulum up, with a wrong idea of the pendulum.

The planner answers with a chunk of 16 torques, which it plans on a model that is 20 % too light. Far from the top that does not matter
and the whole chunk can run; near the top it does, and only the first few torques are right. So no fixed horizon is the best one, and a
controller has something to learn. Run by itself, this file prints what every fixed horizon does:

    python examples/pendulum_planner.py
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from policytrim_gym import CallablePolicy, FixedSelector, HorizonSelector, PolicySpec, evaluate_policy

CHUNK_SIZE = 16
HORIZONS = (1, 2, 4, 8, 16)
TEST_EPISODES = 40
DT_S, GRAVITY, MASS, MAX_TORQUE = 0.05, 10.0, 0.8, 2.0


class SwingUp(gym.Wrapper[Any, Any, Any, Any]):
    """Ends an episode with success when the pendulum has stood nearly still near the top for 10 steps."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts an episode."""
        self._upright_steps = 0
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Steps and looks where the pendulum is."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        cosine, _, velocity = observation
        self._upright_steps = self._upright_steps + 1 if cosine > 0.98 and abs(velocity) < 1.0 else 0
        success = self._upright_steps >= 10
        return observation, reward, terminated or success, truncated and not success, {**info, "is_success": success}


def make_env() -> gym.Env[Any, Any]:
    """Returns the task."""
    return SwingUp(gym.make("Pendulum-v1"))


def plan_chunk(observation: Mapping[str, Any]) -> np.ndarray:
    """Plans torques by simulating a controller on the planner's own model, (CHUNK_SIZE, 1)."""
    cosine, sine, velocity = (float(number) for number in observation["state"])
    angle = np.arctan2(sine, cosine)
    torques = np.zeros((CHUNK_SIZE, 1))
    for step in range(CHUNK_SIZE):
        energy = MASS * velocity**2 / 6 + MASS * GRAVITY * (np.cos(angle) - 1) / 2  # 0 at rest upright
        near_top = np.cos(angle) > 0.85
        torque = -12 * angle - 3 * velocity if near_top else -4 * energy * (np.sign(velocity) or 1.0)
        torque = min(max(torque, -MAX_TORQUE), MAX_TORQUE)
        torques[step] = torque
        velocity = min(max(velocity + (1.5 * GRAVITY * np.sin(angle) + 3.0 * torque / MASS) * DT_S, -8.0), 8.0)
        angle = (angle + velocity * DT_S + np.pi) % (2 * np.pi) - np.pi
    return torques


def make_policy() -> CallablePolicy:
    """Returns the planner as a policy."""
    return CallablePolicy(plan_chunk, PolicySpec(CHUNK_SIZE, action_dim=1, execute_horizon=2, observation_shapes={"state": (3,)}))


def print_table(more: Sequence[HorizonSelector] = ()) -> None:
    """Prints success, steps and calls of every fixed horizon and of further selectors, all on the same test episodes."""
    print(f"{'':24}{'success':>8}{'steps':>8}{'calls':>8}")
    for selector in (*(FixedSelector(horizon) for horizon in HORIZONS), *more):
        arm = evaluate_policy(make_policy(), make_env, num_episodes=TEST_EPISODES, num_workers=0, selector=selector)
        print(f"{arm.name:24}{arm.success_rate:8.0%}{arm.steps_restricted_mean:8.1f}{arm.num_replans_mean:8.1f}")


def main() -> None:
    """Prints what can be had without training."""
    print_table()


if __name__ == "__main__":
    main()
