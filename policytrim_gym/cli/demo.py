"""`policytrim demo`: clone, sweep, trim, evaluate and report in ten minutes, on Meta-World, from its pixels, or on the arm."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from policytrim_gym.cli import options as shared
from policytrim_gym.errors import InvalidConfig

if TYPE_CHECKING:
    from policytrim_gym.experiments.config import ExperimentConfig

OUT, ARM_OUT, PIXELS_OUT = Path("runs/demo"), Path("runs/demo-arm"), Path("runs/demo-pixels")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--arm", action="store_true", help="push with the robot arm in MuJoCo, then in PyBullet, instead of four tasks of Meta-World"
    )
    which.add_argument("--pixels", action="store_true", help="the tiny VLA on five tasks of Meta-World, from a camera of 64 pixels")
    parser.add_argument(
        "--base",
        metavar="DIR",
        type=Path,
        default=None,
        help="a checkpoint that is the configured clone already, such as one of checkpoints/ (default: clone anew)",
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        default=None,
        help=f"run folder; what it holds already is resumed (default: {OUT}, with --arm {ARM_OUT}, with --pixels {PIXELS_OUT})",
    )
    parser.add_argument(
        "--seed", metavar="N", type=shared.number(int, 0), default=None, help="seed of everything (default: 0, or --config's)"
    )
    shared.add_config(parser)
    shared.add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Runs the demo, or goes on where a stopped one left off; prints the table.

    Raises:
        InvalidConfig: a wrong setting, a folder with a demo of other settings or with a checkpoint, or a base that is another clone.
    """
    from policytrim_gym.evaluation.report.tables import print_table
    from policytrim_gym.experiments.run import Experiment
    from policytrim_gym.progress import write_line

    config = config_of(options)
    out = options.out or (ARM_OUT if options.arm else PIXELS_OUT if options.pixels else OUT)
    report = Experiment(config, out, say=write_line, base=options.base).run()
    if shared.write_json(options, report):
        return
    print_table(report)
    print(f"report: {out / 'report.html'}")


def config_of(options: argparse.Namespace) -> ExperimentConfig:
    """Returns one of the three demos, or the experiment of `--config`; `--set` replaces keys of any.

    Raises:
        InvalidConfig: a wrong setting, or `--arm` or `--pixels` with `--config`.
    """
    from policytrim_gym.config import from_mapping, to_mapping
    from policytrim_gym.experiments.config import ExperimentConfig
    from policytrim_gym.experiments.demos import arm_demo_config, demo_config, pixels_demo_config

    if options.config is not None:
        for flag in ("arm", "pixels"):
            if getattr(options, flag):
                raise InvalidConfig(f"--{flag} is a demo with settings of its own; give it without --config {options.config}")
        return shared.config_of(options, ExperimentConfig, seed=options.seed)
    demo = (arm_demo_config if options.arm else pixels_demo_config if options.pixels else demo_config)(options.seed or 0)
    return from_mapping(ExperimentConfig, {**to_mapping(demo), **(options.set or {})})
