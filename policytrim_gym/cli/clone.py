"""`policytrim clone`: a base policy from demonstrations of the environment's scripted expert."""

from __future__ import annotations

import argparse

from policytrim_gym.cli import options as shared
from policytrim_gym.errors import InvalidConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    shared.add_out(parser)
    shared.add_env(parser)
    parser.add_argument("--demonstrator", choices=("slow-uneven", "full-speed"), default=None, help="how the expert moves")
    parser.add_argument("--demos", metavar="N", type=shared.number(int, 1), default=None, help="successful demonstrations of each task")
    parser.add_argument("--seed", metavar="N", type=shared.number(int, 0), default=None, help="of demonstrations, weights and batches")
    parser.add_argument("--workers", metavar="N", type=shared.number(int, 1), default=2, help="processes that demonstrate")
    shared.add_config(parser)
    shared.add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Records demonstrations, trains on them, saves the checkpoint; a folder that holds the same clone already is left as it is.

    Raises:
        InvalidConfig: a wrong setting, or a folder with another clone.
        NoDemonstrations: the expert fails too often.
    """
    from policytrim_gym.config import to_mapping
    from policytrim_gym.policies.checkpoint_facts import load_facts
    from policytrim_gym.rollouts.env_factory import EnvFactory
    from policytrim_gym.training.clone import CloneConfig, clone_into

    config = shared.config_of(options, CloneConfig, demonstrator=options.demonstrator, demos_per_task=options.demos, seed=options.seed)
    env, env_kwargs = shared.env_of(options)
    wanted = (env, env_kwargs, to_mapping(config))
    facts = load_facts(options.out) if (options.out / "model.safetensors").exists() else None
    if facts is None:
        facts = clone_into(options.out, EnvFactory(env, env_kwargs), config, options.workers)
    elif wanted != (facts.env, facts.env_kwargs, facts.settings):
        raise InvalidConfig(f"{options.out} holds a clone with other settings: {facts.env} {facts.env_kwargs}; choose another --out")
    result = {"policy": str(options.out), "env": facts.env, "env_kwargs": facts.env_kwargs, **(facts.demonstrations or {})}
    if shared.write_json(options, result):
        return
    for task, counts in (facts.demonstrations or {}).get("tasks", {}).items():
        print(f"{task}: {counts['kept']} demonstrations of {counts['steps_mean']:.0f} steps, {counts['failed']} failed")
    print(f"{options.out} holds the clone, stock horizon {facts.execute_horizon} of {config.chunk_size}")
