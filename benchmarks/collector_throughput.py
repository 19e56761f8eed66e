"""Two collector processes against two bare simulator loops at the same time, interleaved in one run.

    python benchmarks/collector_throughput.py

The bare loops step Meta-World's own environment with the actions that the collector's policy would send; the collector adds the policy,
the pipes and the adapter. Goal: at least 0.75 of the bare rate, at chunks of 32 actions.
"""

from __future__ import annotations

import argparse
import statistics
import time
from multiprocessing import get_context

import numpy as np

from policytrim_gym.evaluation.playback import PlaybackController
from policytrim_gym.experiments.config import META_WORLD
from policytrim_gym.policies.state_policy import StatePolicy, StatePolicyConfig
from policytrim_gym.policies.word_tokenizer import WordTokenizer
from policytrim_gym.rollouts.collector import RolloutCollector
from policytrim_gym.rollouts.env_factory import EnvFactory
from policytrim_gym.rollouts.episode import EpisodeRequest

TASK = "push-v3"
EPISODE_STEPS = 160


def bare_steps(num_episodes: int) -> int:
    """Steps Meta-World's own environment with random actions; returns the steps."""
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    env = ALL_V3_ENVIRONMENTS[TASK]()
    env._set_task_called, env._freeze_rand_vec = True, False
    actions = np.random.default_rng(0).uniform(-1, 1, (EPISODE_STEPS, 4))
    for _ in range(num_episodes):
        env.reset()
        for action in actions:
            env.step(action)
    return num_episodes * EPISODE_STEPS


def main() -> None:
    """Measures both in turn and prints the median ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--episodes", type=int, default=60, help="in all, each time")
    options = parser.parse_args()
    config = StatePolicyConfig(state_size=39, action_dim=4, action_kinds=("delta",) * 3 + ("position",))
    policy = StatePolicy(config, WordTokenizer(["push"]))
    requests = [
        EpisodeRequest(32, task=TASK, split="train", initial_state=index, max_steps=EPISODE_STEPS) for index in range(options.episodes)
    ]
    factory = EnvFactory(META_WORLD, {"tasks": [TASK]})
    ratios = []
    with RolloutCollector(factory, num_workers=2) as collector, get_context("spawn").Pool(2) as pool:
        collector.collect(requests[:8], PlaybackController(policy))
        pool.map(bare_steps, [1, 1])
        for _ in range(options.repeats):
            started = time.perf_counter()
            steps = sum(pool.map(bare_steps, [options.episodes // 2] * 2))
            bare_rate = steps / (time.perf_counter() - started)
            started = time.perf_counter()
            rollouts = collector.collect(requests, PlaybackController(policy))
            rate = sum(rollout.steps for rollout in rollouts) / (time.perf_counter() - started)
            ratios.append(rate / bare_rate)
            print(f"bare {bare_rate:7.0f} steps/s, collector {rate:7.0f} steps/s, ratio {ratios[-1]:.2f}")
    print(f"median ratio {statistics.median(ratios):.2f} (goal at least 0.75)")


if __name__ == "__main__":
    main()
