"""The vector twin of ControlHorizon against a hand-written chunk loop over the same environments, in turn in one process.

    python benchmarks/vec_control_horizon.py

Both ask the same policy (random weights) once for all environments and run 16 actions of every chunk in Meta-World. The twin adds what a
learner needs: observations with chunk and summary, rewards, infos, the record of each episode, and a last chunk where time ran out.
Goal: at least 0.8 of the loop's rate of physical steps.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import DummyVecEnv

from policytrim_gym.experiments.config import META_WORLD
from policytrim_gym.policies.state_policy import StatePolicy, StatePolicyConfig
from policytrim_gym.policies.word_tokenizer import WordTokenizer
from policytrim_gym.policy import ChunkPolicy
from policytrim_gym.rollouts.env_factory import EnvFactory
from policytrim_gym.wrappers.execute_chunk import ExecuteChunk
from policytrim_gym.wrappers.vec_control_horizon import VecControlHorizon

TASK = "push-v3"
EXECUTE_HORIZON = 16


class HandWrittenLoop:
    """What one would write without this package's wrappers."""

    def __init__(self, envs: list[gym.Env[Any, Any]], policy: ChunkPolicy) -> None:
        self._envs = envs
        self._policy = policy
        self._observations = [self._reset(env, seed) for seed, env in enumerate(envs)]

    @staticmethod
    def _reset(env: gym.Env[Any, Any], seed: int | None = None) -> dict[str, Any]:
        observation, info = env.reset(seed=seed)
        return {**observation, "instruction": info["instruction"]}

    def run(self, num_calls: int) -> int:
        """Returns the physical steps of so many batched calls."""
        num_steps = 0
        for _ in range(num_calls):
            chunks = self._policy.predict_action_chunks(self._observations)
            for index, (env, chunk) in enumerate(zip(self._envs, chunks)):
                for action in chunk.actions[:EXECUTE_HORIZON]:
                    observation, _, terminated, truncated, info = env.step(action)
                    num_steps += 1
                    if terminated or truncated:
                        self._observations[index] = self._reset(env)
                        break
                else:
                    self._observations[index] = {**observation, "instruction": info["instruction"]}
        return num_steps


class Twin:
    """The same with the twin, which is told the same horizon each time."""

    def __init__(self, envs: list[gym.Env[Any, Any]], policy: ChunkPolicy) -> None:
        chunked = DummyVecEnv([lambda env=env: ExecuteChunk(env, policy.spec.chunk_size) for env in envs])
        self._env = VecControlHorizon(chunked, policy, horizons=(EXECUTE_HORIZON,))
        self._env.seed(0)
        self._env.reset()

    def run(self, num_calls: int) -> int:
        """Returns the physical steps of so many batched calls."""
        actions = np.zeros(self._env.num_envs, dtype=np.int64)
        return sum(info["chunk"]["executed_steps"] for _ in range(num_calls) for info in self._env.step(actions)[-1])


def rate(loop: HandWrittenLoop | Twin, num_calls: int) -> float:
    """Returns physical steps a second."""
    started = time.perf_counter()
    return loop.run(num_calls) / (time.perf_counter() - started)


def main() -> None:
    """Measures both in turn and prints the median ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument(
        "--calls", type=int, default=64, help="batched policy calls, each time; two episodes of 500 steps of each environment"
    )
    parser.add_argument("--envs", type=int, default=8)
    options = parser.parse_args()
    config = StatePolicyConfig(state_size=39, action_dim=4, action_kinds=("delta",) * 3 + ("position",))
    policy = StatePolicy(config, WordTokenizer(["push"]))
    factory = EnvFactory(META_WORLD, {"tasks": [TASK]})
    loops = [kind([factory() for _ in range(options.envs)], policy) for kind in (HandWrittenLoop, Twin)]
    for loop in loops:
        rate(loop, 4)
    ratios = []
    for repeat in range(options.repeats):
        # Turn about: a machine that slows down must not always slow the same one.
        order = loops if repeat % 2 == 0 else loops[::-1]
        rates = {type(loop).__name__: rate(loop, options.calls) for loop in order}
        ratios.append(rates["Twin"] / rates["HandWrittenLoop"])
        print(f"loop {rates['HandWrittenLoop']:7.0f} steps/s, twin {rates['Twin']:7.0f} steps/s, ratio {ratios[-1]:.2f}")
    print(f"median ratio {statistics.median(ratios):.2f} (goal at least 0.80)")


if __name__ == "__main__":
    main()
