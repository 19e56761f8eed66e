"""`policytrim demo`: clone, sweep, trim, evaluate and report on Meta-World in ten minutes."""

from __future__ import annotations

import argparse
from pathlib import Path

from policytrim_gym.cli import options as shared


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    shared.add_out(parser, default="runs/demo")
    parser.add_argument(
        "--seed", metavar="N", type=shared.number(int, 0), default=None, help="seed of everything (default: 0, or --config's)"
    )
    shared.add_config(parser)
    shared.add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Runs the demo, or goes on where a stopped one left off; prints the table.

    Raises:
        InvalidConfig: a wrong setting, or a folder with a demo of other settings or with a checkpoint.
    """
    from policytrim_gym.config import from_mapping, to_mapping
    from policytrim_gym.evaluation.report.tables import print_table
    from policytrim_gym.experiments.config import ExperimentConfig, demo_config
    from policytrim_gym.experiments.run import Experiment
    from policytrim_gym.progress import write_line

    if options.config is None:
        config = from_mapping(ExperimentConfig, {**to_mapping(demo_config(options.seed or 0)), **(options.set or {})})
    else:
        config = shared.config_of(options, ExperimentConfig, seed=options.seed)
    report = Experiment(config, options.out, say=write_line).run()
    if shared.write_json(options, report):
        return
    print_table(report)
    print(f"report: {Path(options.out) / 'report.html'}")
