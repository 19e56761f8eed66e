"""Runs one experiment for each training seed, pools them, and prints the table; what the headline benchmarks share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from policytrim_gym.evaluation.report.tables import markdown_table
from policytrim_gym.evaluation.report.verdict import Target
from policytrim_gym.experiments.config import ExperimentConfig
from policytrim_gym.experiments.pool import pool_experiments
from policytrim_gym.experiments.run import Experiment


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """Returns a parser with the options that all benchmarks of several seeds have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--workers", type=int, default=1, help="rollout processes")
    parser.add_argument("--out", type=Path, required=True)
    return parser


def run_seeds(options: argparse.Namespace, config_of: Callable[[int], ExperimentConfig], targets: Sequence[Target]) -> None:
    """Runs the experiments of all seeds and pools them: the main arms of every seed first, then the ablations.

    Args:
        options: as `make_parser` declares them; stopped and started again with the same, it goes on.
        config_of: training seed -> its experiment.
        targets: figures that were set before the measurement.
    """
    command = " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    configs = {seed: replace(config_of(seed), num_workers=options.workers) for seed in options.seeds}
    folders = {seed: options.out / f"seed-{seed}" for seed in configs}
    has_ablations = any(config.ablations for config in configs.values())
    for with_ablations in (False, True) if has_ablations else (False,):
        for seed, config in configs.items():
            Experiment(config if with_ablations else replace(config, ablations=()), folders[seed], targets=targets).run()
        print(markdown_table(pool_experiments(folders, options.out, targets, command)))
