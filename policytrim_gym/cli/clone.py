"""`policytrim clone`: a base policy from demonstrations of the environment's scripted expert."""

from __future__ import annotations

import argparse

from policytrim_gym.cli import options as shared
from policytrim_gym.run_folder import WEIGHTS_FILE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    shared.add_out(parser, resumes=False)
    shared.add_env(parser)
    parser.add_argument(
        "--model", choices=("state", "tiny-vla", "pi0"), default=None, help="state: an MLP (default); tiny-vla, pi0: on images"
    )
    parser.add_argument("--demonstrator", choices=("slow-uneven", "full-speed"), default=None, help="how the expert moves")
    parser.add_argument(
        "--demos",
        metavar="N",
        type=shared.number(int, 1),
        default=None,
        help="successful demonstrations of each task (default: 240 in all, at least 40)",
    )
    parser.add_argument("--seed", metavar="N", type=shared.number(int, 0), default=None, help="of demonstrations, weights and batches")
    parser.add_argument("--workers", metavar="N", type=shared.number(int, 1), default=2, help="processes that demonstrate")
    shared.add_config(parser)
    shared.add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Records demonstrations, trains on them, saves the checkpoint; a folder that holds the same clone already is left as it is.

    Raises:
        InvalidConfig: a wrong setting, or a folder with another checkpoint.
        InvalidSpec: the environment has no scripted expert, or no images for a model that needs them.
        MissingExtra: a package that the model needs is not installed.
        NoDemonstrations: the expert fails too often.
        CannotWrite: the folder cannot be written into.
    """
    from policytrim_gym.rollouts.env_factory import EnvFactory
    from policytrim_gym.training.clone import clone_into, held_clone
    from policytrim_gym.training.clone_config import CloneConfig

    given = {"model": options.model, "demonstrator": options.demonstrator, "demos_per_task": options.demos, "seed": options.seed}
    config = shared.config_of(options, CloneConfig, **given)
    factory = EnvFactory(*shared.env_of(options))
    if (options.out / WEIGHTS_FILE).exists():
        facts = held_clone(options.out, factory, config)
    else:
        facts = clone_into(options.out, factory, config, options.workers)
    result = {"policy": str(options.out), "env": facts.env, "env_kwargs": facts.env_kwargs, **(facts.demonstrations or {})}
    if shared.write_json(options, result):
        return
    for task, counts in (facts.demonstrations or {}).get("tasks", {}).items():
        print(f"{task}: {counts['kept']} demonstrations of {counts['steps_mean']:.0f} steps, {counts['failed']} failed")
    print(f"{options.out} holds the clone, stock horizon {facts.execute_horizon} of {config.chunk_size}")
