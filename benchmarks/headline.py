"""The headline table: six state tasks, three training seeds, every control on the same test states.

    python benchmarks/headline.py --demonstrator slow-uneven --out runs/headline-slow
    python benchmarks/headline.py --demonstrator full-speed --out runs/headline-full

Each seed is an experiment of its own (clone, sweep on validation states, trim, test, then the ablation); the pooled report pairs the
arms over all seeds and tasks. Stopped and started again, it goes on where it was. About 45 minutes a seed on one core.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from policytrim_gym.evaluation.report.tables import markdown_table
from policytrim_gym.evaluation.report.verdict import Target
from policytrim_gym.experiments.config import Ablation, ExperimentConfig
from policytrim_gym.experiments.pool import pool_experiments
from policytrim_gym.experiments.run import Experiment
from policytrim_gym.training.clone import CloneConfig
from policytrim_gym.training.trim_config import TrimConfig

ABLATIONS: tuple[Ablation, ...] = ("stage 2 only",)
TARGETS = {
    "slow-uneven": (Target("stock", "replans", 6.0), Target("stock", "steps", 1.6), Target("best_untrained", "either", 1.3)),
    "full-speed": (Target("stock", "replans", 4.5), Target("stock", "steps", 1.15), Target("best_untrained", "either", 1.15)),
}


def headline_config(demonstrator: str, seed: int, num_workers: int, ablations: tuple[Ablation, ...]) -> ExperimentConfig:
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
        ablations=ablations,
        num_workers=num_workers,
        seed=seed,
    )


def main() -> None:
    """Runs all seeds and pools them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demonstrator", choices=tuple(TARGETS), required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--workers", type=int, default=1, help="rollout processes")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    targets = TARGETS[options.demonstrator]
    command = " ".join(["python", "benchmarks/headline.py", *sys.argv[1:]])
    folders = {seed: options.out / f"seed-{seed}" for seed in options.seeds}
    for ablations in ((), ABLATIONS):  # the main arms of all seeds first
        for seed, folder in folders.items():
            Experiment(headline_config(options.demonstrator, seed, options.workers, ablations), folder, targets=targets).run()
        report = pool_experiments(folders, options.out, targets, command)
        print(markdown_table(report))


if __name__ == "__main__":
    main()
