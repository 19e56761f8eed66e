"""The table of the robot arm: one policy for pushing and for pick and place, three training seeds, then the other physics engine.

    python benchmarks/arm_headline.py --out runs/headline-arm
    python benchmarks/arm_headline.py --engine pybullet --out runs/headline-arm-pybullet

Slow, uneven demonstrations. Each seed is an experiment of its own, as in headline.py; stock and trimmed policy are also run in the
engine that they were not trained in, on the same test states. Stopped and started again, it goes on where it was.
"""

from __future__ import annotations

from functools import partial

from seeds import make_parser, run_seeds

from policytrim_gym.evaluation.report.verdict import Target
from policytrim_gym.experiments.config import ARM, ExperimentConfig
from policytrim_gym.experiments.demos import arm_trim_config
from policytrim_gym.training.clone import CloneConfig

OTHER_ENGINE = {"mujoco": "pybullet", "pybullet": "mujoco"}
TARGETS = (Target("stock", "replans", 5.0), Target("stock", "steps", 1.4))


def arm_config(engine: str, seed: int) -> ExperimentConfig:
    """Returns the experiment of one seed, trained in an engine."""
    return ExperimentConfig(
        env=ARM,
        env_kwargs={"task": ["push", "pick-place"], "engine": engine},
        transfer_env_kwargs={"engine": OTHER_ENGINE[engine]},
        clone=CloneConfig(demonstrator="slow-uneven", demos_per_task=500, chunk_size=32, execute_horizon=8, gradient_steps=8000),
        trim=arm_trim_config(),
        total_timesteps=1_200_000,
        horizons=(8, 16, 32),
        playback_rates=(1.0, 1.5, 2.0, 3.0),
        delays=(1, 3),
        sweep_states=80,
        test_states=250,
        ablations=(),
        margin=0.03,
        seed=seed,
    )


def main() -> None:
    """Runs all seeds and pools them."""
    parser = make_parser(__doc__)
    parser.add_argument("--engine", choices=tuple(OTHER_ENGINE), default="mujoco", help="that the policy is trained in")
    options = parser.parse_args()
    run_seeds(options, partial(arm_config, options.engine), TARGETS)


if __name__ == "__main__":
    main()
