"""Measures what ExecuteChunk with RecordChunkStatistics costs over a hand-written chunk loop.

Both run the same episodes (same seeds, same chunks) in two copies of one environment, chunk by chunk in turn, so that a change in the
machine's load meets both. CPU time is compared, which other processes disturb least. Printed is the ratio of the medians over all chunks,
beside the median of the paired ratios. Goal: at most 1.03.

    python benchmarks/wrapper_overhead.py
    python benchmarks/wrapper_overhead.py --env Pendulum-v1 --max-ratio 2
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from policytrim_gym import ExecuteChunk, RecordChunkStatistics


class HandWrittenLoop:
    """Runs chunks as users write it without this package."""

    def __init__(self, env: gym.Env[Any, Any], horizon: int) -> None:
        self.env, self.horizon = env, horizon
        self.steps, self.success = 0, False

    def step(self, chunk: NDArray[Any]) -> tuple[float, bool]:
        """Returns the reward of the chunk and whether the episode ended."""
        total = 0.0
        for action in chunk[: self.horizon]:
            _, reward, terminated, truncated, info = self.env.step(action)
            self.steps += 1
            total += float(reward)
            self.success = self.success or bool(info.get("success", False))
            if terminated or truncated:
                return total, True
        return total, False


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    """Returns the CPU time of a call [s] and its result."""
    started_s = time.process_time()
    result = run()
    return time.process_time() - started_s, result


def measure(make_env: Callable[[], gym.Env[Any, Any]], arguments: argparse.Namespace) -> tuple[list[float], list[float]]:
    """Returns the CPU time of each chunk [s] by hand and wrapped, from the same episodes."""
    by_hand_env = make_env()
    wrapped = RecordChunkStatistics(ExecuteChunk(make_env(), arguments.chunk_size, arguments.execute_horizon))
    wrapped.action_space.seed(0)
    by_hand_s, wrapped_s = [], []
    for episode in range(arguments.episodes + 1):
        loop = HandWrittenLoop(by_hand_env, arguments.execute_horizon)
        by_hand_env.reset(seed=episode)
        wrapped.reset(seed=episode)
        for call in range(arguments.calls):
            chunk = wrapped.action_space.sample()
            # Whoever runs second finds warmer caches, so they take turns.
            if call % 2:
                hand_time_s, (reward, ended) = timed(lambda loop=loop, chunk=chunk: loop.step(chunk))
                wrapped_time_s, step = timed(lambda chunk=chunk: wrapped.step(chunk))
            else:
                wrapped_time_s, step = timed(lambda chunk=chunk: wrapped.step(chunk))
                hand_time_s, (reward, ended) = timed(lambda loop=loop, chunk=chunk: loop.step(chunk))
            if not np.isclose(reward, step[1]) or ended != (step[2] or step[3]):
                raise RuntimeError(f"the two loops differ: rewards {reward} and {step[1]}, ended {ended} and {step[2:4]}")
            if episode > 0:  # the first one warms up
                by_hand_s.append(hand_time_s)
                wrapped_s.append(wrapped_time_s)
            if ended:
                break
    by_hand_env.close()
    wrapped.close()
    return by_hand_s, wrapped_s


def main() -> int:
    """Prints the median ratio; returns 1 when it is above --max-ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="PolicyTrim/MetaWorld-v0", help="id of an environment with a Box action space")
    parser.add_argument("--chunk-size", type=int, default=32)
    parser.add_argument("--execute-horizon", type=int, default=8)
    parser.add_argument("--calls", type=int, default=25, help="most chunks in one episode")
    parser.add_argument("--episodes", type=int, default=40)
    parser.add_argument("--max-ratio", type=float, default=1.03)
    arguments = parser.parse_args()
    by_hand_s, wrapped_s = measure(lambda: gym.make(arguments.env, disable_env_checker=True), arguments)
    ratio = float(np.median(wrapped_s) / np.median(by_hand_s))
    low, paired, high = np.percentile(np.divide(wrapped_s, by_hand_s), [25, 50, 75])
    print(f"{arguments.env}: a chunk by hand {1e6 * np.median(by_hand_s):.0f} us, wrapped {1e6 * np.median(wrapped_s):.0f} us")
    print(f"ratio of medians {ratio:.3f}; paired over {len(by_hand_s)} chunks: median {paired:.3f}, quartiles {low:.3f} to {high:.3f}")
    print(f"goal: median of the paired ratios <= {arguments.max_ratio}")
    return int(paired > arguments.max_ratio)


if __name__ == "__main__":
    sys.exit(main())
