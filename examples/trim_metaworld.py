"""Trims one Meta-World task from Python: clone, free sweep, TrimGRPO, evaluation on test states.

    python examples/trim_metaworld.py
    python examples/trim_metaworld.py --task door-open-v3 --timesteps 200000

The clone imitates the slow, uneven demonstrator. The defaults are small: they show the calls, their figures prove little.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from policytrim_gym import EfficiencyReport, TrimGRPO, evaluate_policy, load_policy, sweep_horizons
from policytrim_gym.rollouts.env_factory import EnvFactory
from policytrim_gym.training.clone import CloneConfig, clone_into
from policytrim_gym.training.trim_config import TrimConfig
from policytrim_gym.training.warm_start import WarmStartConfig


def show(label: str, arm: EfficiencyReport) -> None:
    """Prints one arm: success with its interval, then calls and steps over successes."""
    low, high = arm.success_rate_ci95
    success = f"success {arm.success_rate:.0%} ({low:.0%} to {high:.0%})"
    costs = f"{arm.num_replans_mean_success:.1f} calls, {arm.steps_mean_success:.0f} steps" if arm.steps_mean_success else "none solved"
    print(f"{label:<20} {arm.name:<8} {success}, {costs}")


def main() -> None:
    """Runs the four steps; what `--out` holds already is cloned no second time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="drawer-close-v3")
    parser.add_argument("--timesteps", type=int, default=40_000, help="physical training steps")
    parser.add_argument("--episodes", type=int, default=40, help="of each setting, in the sweep and on the test states")
    parser.add_argument("--out", type=Path, default=Path("runs/example"))
    options = parser.parse_args()
    env = EnvFactory("PolicyTrim/MetaWorld-v0", {"tasks": [options.task]})

    base_folder = options.out / f"base-{options.task}"
    if not (base_folder / "model.safetensors").exists():
        clone_into(base_folder, env, CloneConfig(demonstrator="slow-uneven", demos_per_task=15, gradient_steps=1500))
    base = load_policy(str(base_folder))
    sweep = sweep_horizons(base, env, (8, 16, 32), options.episodes, playback_rates=(1.0, 2.0))
    opponent = next(arm for arm in sweep.arms if arm.name == sweep.best_untrained.name)

    config = TrimConfig(warm_start=WarmStartConfig(states_per_task=20, gradient_steps=500), validation_states=20, num_validations=3)
    trainer = TrimGRPO(load_policy(str(base_folder)), env, config).learn(options.timesteps, progress_bar=True)
    trainer.save(options.out / f"trimmed-{options.task}")

    count, horizon, rate = options.episodes, opponent.execute_horizon, opponent.playback_rate
    show("stock", evaluate_policy(base, env, num_episodes=count))
    show("strongest untrained", evaluate_policy(base, env, horizon, count, playback_rate=rate))
    show("trimmed", evaluate_policy(trainer.policy, env, num_episodes=count))


if __name__ == "__main__":  # the rollout processes import this file
    main()
