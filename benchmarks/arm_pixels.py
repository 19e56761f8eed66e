"""The table of the robot arm from pixels: the tiny VLA pushes what two cameras of 64 pixels see, then runs in the other physics engine.

    python benchmarks/arm_pixels.py --out runs/arm-pixels

Slow, uneven demonstrations; both cameras, the arm's own measurements and the instruction are all that the policy gets. What it trains
goes through ROS 2 by `ros_against_gym.py --policy runs/arm-pixels/seed-0/trimmed`. Stopped and started again, it goes on.
"""

from __future__ import annotations

from dataclasses import replace

from seeds import make_parser, run_seeds

from policytrim_gym.evaluation.report.verdict import Target
from policytrim_gym.experiments.config import ARM, ExperimentConfig
from policytrim_gym.experiments.demos import arm_trim_config
from policytrim_gym.training.clone_config import CloneConfig
from policytrim_gym.training.warm_start import WarmStartConfig

TARGETS = (Target("stock", "replans", 4.0), Target("stock", "steps", 1.3))


def arm_pixels_config(seed: int) -> ExperimentConfig:
    """Returns the experiment of one seed."""
    return ExperimentConfig(
        env=ARM,
        env_kwargs={"task": "push", "engine": "mujoco", "observation": "pixels", "image_size": 64},
        transfer_env_kwargs={"engine": "pybullet"},
        clone=CloneConfig(model="tiny-vla", demos_per_task=200, chunk_size=32, execute_horizon=8, gradient_steps=5000, batch_size=64),
        trim=replace(
            arm_trim_config(),
            num_minibatches=4,
            max_chunks_per_pass=128,
            num_validations=4,
            warm_start=WarmStartConfig(playback_rates=(1.5, 2.0), states_per_task=400, gradient_steps=3000, batch_size=64),
        ),
        total_timesteps=250_000,
        horizons=(8, 16, 32),
        playback_rates=(1.0, 2.0),
        ensemble_horizon=8,
        delays=(3,),
        sweep_states=60,
        test_states=200,
        ablations=(),
        seed=seed,
    )


def main() -> None:
    """Runs all seeds and pools them."""
    run_seeds(make_parser(__doc__).parse_args(), arm_pixels_config, TARGETS)


if __name__ == "__main__":
    main()
