"""The experiments that `policytrim demo` runs, and what they share with the benchmarks of the same policies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal

from policytrim_gym.experiments.config import ARM, META_WORLD, ExperimentConfig
from policytrim_gym.policies.tiny_vla.settings import TinyVLASettings
from policytrim_gym.training.clone_config import CloneConfig
from policytrim_gym.training.trim_config import TrimConfig
from policytrim_gym.training.warm_start import WarmStartConfig

PIXEL_TASKS = ("door-open-v3", "button-press-topdown-v3", "drawer-close-v3", "drawer-open-v3", "faucet-open-v3")
"""Tasks of Meta-World whose goal can be seen at 64 pixels, and that leave something to win at whole chunks."""


def demo_config(seed: int = 0) -> ExperimentConfig:
    """Returns the demo on states: four tasks, and few enough states and steps for ten minutes on two cores."""
    return ExperimentConfig(
        tasks=("reach-v3", "push-v3", "pick-place-v3", "button-press-topdown-v3"),
        clone=CloneConfig(demos_per_task=25, gradient_steps=2500),
        trim=TrimConfig(warm_start=WarmStartConfig(states_per_task=40, gradient_steps=1500), validation_states=25, num_validations=5),
        total_timesteps=300_000,
        horizons=(8, 16, 32),
        playback_rates=(1.0, 2.0, 3.0),
        sweep_states=20,
        test_states=40,
        ablations=(),
        margin=0.05,
        seed=seed,
    )


def arm_trim_config() -> TrimConfig:
    """Returns the trim of joint targets.

    Played two and a half times as fast, untrained chunks of joint targets lose next to no success, so the warm start gives nearly all of
    the speed and the training has to win the success of whole chunks back. Hence more states for the warm start (with a weaker base, 60
    gave 42 % success at the whole chunk and 500 gave 75 %), less noise (a chunk must end within a centimetre), more rollouts an iteration
    (two tasks, not six), and a `kappa` and an `advantage_eps` that let a failure weigh more than a step.
    """
    return TrimConfig(
        groups_per_task=6,
        stage1_fraction=0.25,
        kappa=0.4,
        advantage_eps=0.15,
        exploration_start={"action_std": 0.08, "gain_std": 0.10},
        exploration_end={"action_std": 0.05, "gain_std": 0.03},
        validation_states=60,
        num_validations=6,
        warm_start=WarmStartConfig(playback_rates=(1.0, 2.0, 2.5), states_per_task=1000, gradient_steps=12_000),
    )


def arm_demo_config(seed: int = 0) -> ExperimentConfig:
    """Returns the demo on the arm: pushing in MuJoCo, then in PyBullet; 14 minutes on two busy cores.

    So little training does not make whole chunks of fast motion reliable: the same recipe with h=32 and the faster rates of
    `arm_trim_config` lost 8 points of success (100 test states), this one 4 and 6, at 3.7x fewer calls.
    """
    return ExperimentConfig(
        env=ARM,
        env_kwargs={"task": "push", "engine": "mujoco"},
        transfer_env_kwargs={"engine": "pybullet"},
        clone=CloneConfig(demos_per_task=500, gradient_steps=8000),
        trim=replace(
            arm_trim_config(),
            windows=(8, 16, 24),
            horizon_tolerance=0.05,
            kappa=0.2,
            warm_start=WarmStartConfig(playback_rates=(1.5, 2.0), states_per_task=1000, gradient_steps=5000),
            validation_states=60,
            num_validations=4,
        ),
        total_timesteps=350_000,
        horizons=(8, 16, 24),
        playback_rates=(1.0, 2.0, 3.0),
        sweep_states=60,
        test_states=100,
        ablations=(),
        margin=0.05,
        seed=seed,
    )


def pixels_clone_config(head: Literal["gaussian", "flow"] = "gaussian") -> CloneConfig:
    """Returns the clone from pixels of demo and benchmark."""
    return CloneConfig(
        model="tiny-vla",
        tiny_vla=TinyVLASettings(head=head),
        demos_per_task=30,
        chunk_size=24,
        execute_horizon=6,
        gradient_steps=4000,
        batch_size=64,
    )


def pixels_demo_config(seed: int = 0) -> ExperimentConfig:
    """Returns the demo from pixels: a short trim of a base that need not be cloned anew."""
    return ExperimentConfig(
        env=META_WORLD,
        env_kwargs={"observation": "pixels"},
        tasks=PIXEL_TASKS,
        clone=pixels_clone_config(),
        trim=TrimConfig(
            groups_per_task=3,
            stage1_fraction=0.1,
            num_minibatches=4,
            max_chunks_per_pass=128,
            validation_states=12,
            num_validations=3,
            warm_start=WarmStartConfig(playback_rates=(2.0,), states_per_task=60, gradient_steps=1000, batch_size=64),
        ),
        total_timesteps=200_000,
        horizons=(6, 24),
        playback_rates=(1.0, 2.0),
        ensemble_horizon=6,
        delays=(),
        sweep_states=12,
        test_states=20,
        ablations=(),
        margin=0.05,
        seed=seed,
    )


DEMOS: Mapping[str, Callable[[int], ExperimentConfig]] = {"state": demo_config, "pixels": pixels_demo_config, "arm": arm_demo_config}
"""By what the policy sees, or moves; each takes the seed."""
