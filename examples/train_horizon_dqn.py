"""Trains an SB3 DQN to choose how much of a fixed planner's chunk runs before the planner is asked again.

DQN learns what each choice is worth from a buffer of past calls, so that it needs fewer of them than PPO.
The task and the planner are those of `pendulum_planner.py`. The table at the end compares the trained choice with every fixed one, on
episodes that the training has not seen.

    python examples/train_horizon_dqn.py
"""

from __future__ import annotations

import tempfile

import gymnasium as gym
from pendulum_planner import HORIZONS, make_env, make_policy, print_table
from stable_baselines3 import DQN
from stable_baselines3.common.env_util import make_vec_env

from policytrim_gym import ControlHorizon, LearnedSelector, TrimReward, save_selector

# About 1.3 times what the planner takes at its stock horizon of 2: slower and more expensive successes save nothing.
REWARD = TrimReward(beta=0.0, kappa=0.8, lam=0.0, base_steps=50.0, kappa_calls=0.8, base_calls=25.0)
TRAINING_CALLS = 20_000


def make_training_env() -> gym.Env:
    """Returns the task with the choice of the horizon as its action; running out of time is a failure and earns nothing."""
    return ControlHorizon(make_env(), make_policy(), HORIZONS, REWARD, observation="flat")


def main() -> None:
    """Trains the choice, saves it, and prints it beside every fixed one."""
    model = DQN(
        "MlpPolicy",
        make_vec_env(make_training_env, n_envs=4, seed=1_000_000),  # the table's episodes have the seeds 0, 1, ...
        buffer_size=TRAINING_CALLS,
        learning_starts=500,
        batch_size=128,
        train_freq=4,
        gradient_steps=4,
        target_update_interval=500,
        exploration_fraction=0.4,
        n_steps=10,  # the reward comes at an episode's end: whole episodes instead of a chain of guesses
        gamma=1.0,  # a step is one call, as long as its horizon: below 1, the discount alone would pay for calling less often
        learning_rate=5e-4,
        seed=1_000_000,
        device="cpu",
    )
    model.learn(TRAINING_CALLS)
    with tempfile.TemporaryDirectory() as folder:
        # With a checkpoint folder as policy_uri, `policytrim evaluate --policy ... --selector FOLDER` takes it as well.
        save_selector(model, folder, make_training_env())
        print_table([LearnedSelector.load(folder, make_policy())])


if __name__ == "__main__":
    main()
