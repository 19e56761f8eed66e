"""The headline table: six state tasks, three training seeds, every control on the same test states.

    python benchmarks/headline.py --demonstrator slow-uneven --out runs/headline-slow
    python benchmarks/headline.py --demonstrator full-speed --out runs/headline-full

Each seed is an experiment of its own (clone, sweep on validation states, trim, test, then the ablation); the pooled report pairs the
arms over all seeds and tasks. Stopped and started again, it goes on where it was. About 45 minutes a seed on one core.
"""

from __future__ import annotations

from functools import partial

from seeds import make_parser, run_seeds

from policytrim_gym.evaluation.report.verdict import Target
from policytrim_gym.experiments.config import ExperimentConfig
from policytrim_gym.training.clone import CloneConfig
from policytrim_gym.training.trim_config import TrimConfig

TARGETS = {
    "slow-uneven": (Target("stock", "replans", 6.0), Target("stock", "steps", 1.6), Target("best_untrained", "either", 1.3)),
    "full-speed": (Target("stock", "replans", 4.5), Target("stock", "steps", 1.15), Target("best_untrained", "either", 1.15)),
}


def headline_config(demonstrator: str, seed: int) -> ExperimentConfig:
    """Returns the experiment of one seed."""
    return ExperimentConfig(
        clone=CloneConfig(demonstrator=demonstrator, demos_per_task=40, gradient_steps=4000),
        trim=TrimConfig(stage1_fraction=0.12, validation_states=30, num_validations=6),
        total_timesteps=700_000,
        horizons=(8, 16, 32),
        playback_rates=(1.0, 1.5, 2.0, 3.0),
        delays=(1, 3),
        sweep_states=40,
        test_states=100,
        ablations=("stage 2 only",),
        seed=seed,
    )


def main() -> None:
    """Runs all seeds and pools them."""
    parser = make_parser(__doc__)
    parser.add_argument("--demonstrator", choices=tuple(TARGETS), required=True)
    options = parser.parse_args()
    run_seeds(options, partial(headline_config, options.demonstrator), TARGETS[options.demonstrator])


if __name__ == "__main__":
    main()
