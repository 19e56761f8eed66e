"""Trains the weights of a small policy with SB3's PPO, at a fixed horizon and for fewer steps, on one Meta-World task.

    python examples/weights_ppo.py
    python examples/weights_ppo.py --task door-open-v3 --timesteps 300000

The base is cloned from the slow, uneven demonstrator unless `--out` holds it already. PPO then sees one chunk as one action: it is paid at
the end of the episode, 1 for a success and more for a fast one. The defaults are small: they show the calls, their figures prove little.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import gymnasium as gym
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env

from policytrim_gym import ApplyTrimReward, EfficiencyReport, ExecuteChunk, TrimReward, evaluate_policy, load_policy
from policytrim_gym.policies.sb3_chunk_policy import ChunkActorCriticPolicy, instruction_encoder
from policytrim_gym.policies.state_policy import StatePolicy
from policytrim_gym.rollouts.env_factory import EnvFactory
from policytrim_gym.training.clone import CloneConfig, clone_into
from policytrim_gym.wrappers.encode_instruction import EncodeInstruction
from policytrim_gym.wrappers.fail_at_time_limit import FailAtTimeLimit

ENV_ID = "PolicyTrim/MetaWorld-v0"


class StopAfterSteps(BaseCallback):
    """Ends the training after so many physical steps; SB3 itself counts chunks."""

    def __init__(self, physical_steps: int) -> None:
        super().__init__()
        self._left = physical_steps

    def _on_step(self) -> bool:
        self._left -= sum(info["chunk"]["executed_steps"] for info in self.locals["infos"])
        return self._left > 0


def make_chunk_env(base: StatePolicy, task: str, horizon: int, mean_steps: float) -> gym.Env:
    """Returns the task with a chunk as its action, from random training states."""
    env = gym.make(ENV_ID, tasks=[task], max_episode_steps=min(500, int(2 * mean_steps)))
    env = EncodeInstruction(env, instruction_encoder(base))
    env = ExecuteChunk(env, base.spec.chunk_size, horizon)
    return FailAtTimeLimit(ApplyTrimReward(env, TrimReward(beta=0.0, base_steps=1.3 * mean_steps)))


def show(label: str, arm: EfficiencyReport) -> None:
    """Prints one arm: success with its interval, then calls and steps over successes."""
    low, high = arm.success_rate_ci95
    success = f"success {arm.success_rate:.0%} ({low:.0%} to {high:.0%})"
    costs = f"{arm.num_replans_mean_success:.1f} calls, {arm.steps_mean_success:.0f} steps" if arm.steps_mean_success else "none solved"
    print(f"{label:<12} {arm.name:<6} {success}, {costs}")


def main() -> None:
    """Clones, trains and evaluates before and after on the same test states."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="drawer-close-v3")
    parser.add_argument("--horizon", type=int, default=16, help="actions that run of each chunk, of 32")
    parser.add_argument("--timesteps", type=int, default=100_000, help="physical training steps")
    parser.add_argument("--episodes", type=int, default=50, help="test episodes")
    parser.add_argument("--out", type=Path, default=Path("runs/example"))
    options = parser.parse_args()
    factory = EnvFactory(ENV_ID, {"tasks": [options.task]})

    folder = options.out / f"base-{options.task}"
    if not (folder / "model.safetensors").exists():
        clone_into(folder, factory, CloneConfig(demonstrator="slow-uneven", demos_per_task=15, gradient_steps=1500))
    base = load_policy(str(folder))
    assert isinstance(base, StatePolicy)
    entering = evaluate_policy(base, factory, options.horizon, options.episodes, split="validation", num_workers=0)

    env = make_vec_env(lambda: make_chunk_env(base, options.task, options.horizon, entering.steps_restricted_mean), n_envs=8, seed=0)
    model = PPO(
        ChunkActorCriticPolicy,
        env,
        policy_kwargs={"policy": base, "execute_horizon": options.horizon, "action_std": 0.15},
        n_steps=32,  # calls of each environment
        batch_size=128,
        n_epochs=3,
        gamma=1.0,  # a step is one call: a discount would reward few calls, whatever they cost
        gae_lambda=1.0,
        learning_rate=2e-4,
        seed=0,
        device="cpu",
    )
    print(f"training for {options.timesteps} physical steps; the base takes {entering.steps_restricted_mean:.0f} an episode", flush=True)
    model.learn(options.timesteps, callback=StopAfterSteps(options.timesteps))
    trained = model.policy.to_chunk_policy()
    trained.save_pretrained(str(options.out / f"ppo-{options.task}"))

    for label, policy in (("before PPO", base), ("after PPO", trained)):
        show(label, evaluate_policy(policy, factory, options.horizon, options.episodes, num_workers=0))


if __name__ == "__main__":
    main()
