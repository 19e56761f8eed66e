"""`policytrim demo`: clone, sweep, trim, evaluate and report in ten minutes, on Meta-World, from its pixels, or on the arm."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from policytrim_gym.cli import options as shared
from policytrim_gym.errors import InvalidConfig

if TYPE_CHECKING:
    from policytrim_gym.experiments.config import ExperimentConfig

OUT = {"state": Path("runs/demo"), "pixels": Path("runs/demo-pixels"), "arm": Path("runs/demo-arm")}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    which = parser.add_mutually_exclusive_group()
    for name, words in (
        ("arm", "push with the robot arm in MuJoCo, then in PyBullet, instead of four tasks of Meta-World"),
        ("pixels", "the tiny VLA on five tasks of Meta-World, from a camera of 64 pixels"),
    ):
        which.add_argument(f"--{name}", dest="demo", action="store_const", const=name, default="state", help=words)
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
        help=f"run folder; what it holds already is resumed (default: {OUT['state']}, --pixels: {OUT['pixels']}, --arm: {OUT['arm']})",
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
    out = options.out or OUT[options.demo]
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
    from policytrim_gym.experiments.demos import DEMOS

    if options.config is not None:
        if options.demo != "state":
            raise InvalidConfig(f"--{options.demo} is a demo with settings of its own; give it without --config {options.config}")
        return shared.config_of(options, ExperimentConfig, seed=options.seed)
    return from_mapping(ExperimentConfig, {**to_mapping(DEMOS[options.demo](options.seed or 0)), **(options.set or {})})
