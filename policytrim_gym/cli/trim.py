"""`policytrim trim`: both stages, resumable."""

from __future__ import annotations

import argparse
import sys

from policytrim_gym.cli import options as shared


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    shared.add_policy(parser)
    shared.add_env(parser)
    shared.add_out(parser)
    parser.add_argument(
        "--timesteps",
        metavar="N",
        type=shared.number(int, 1),
        default=1_000_000,
        help="physical training steps of the warm start and both stages (each stage has one iteration at least)",
    )
    parser.add_argument("--seed", metavar="N", type=shared.number(int, 0), default=None, help="of initial states, noise and minibatches")
    parser.add_argument("--workers", metavar="N", type=shared.number(int, 0), default=None, help="rollout processes; 0 uses this one")
    parser.add_argument(
        "--recipe",
        metavar="NAME",
        default=None,
        help="settings for a model by its name, in place of --config: groot, openvla_oft, pi05, pi0_flow_sde",
    )
    shared.add_config(parser)
    shared.add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Trims the policy into the run folder, or goes on with what the folder holds; prints what the best checkpoint gave.

    Raises:
        InvalidConfig: a wrong setting, or a folder with another run.
        CorruptCheckpoint: the policy or the state to go on from is damaged.
    """
    from policytrim_gym.cli.subjects import load_subject
    from policytrim_gym.policies.checkpoint_facts import load_facts
    from policytrim_gym.training.recipes import load_recipe
    from policytrim_gym.training.training_log import floor_words, validation_words
    from policytrim_gym.training.trim import trim
    from policytrim_gym.training.trim_config import TrimConfig

    recipe = None if options.recipe is None else load_recipe(options.recipe)
    config = shared.config_of(
        options, TrimConfig, recipe=None if recipe is None else recipe.trim, seed=options.seed, num_workers=options.workers
    )
    if recipe is not None:
        print(f"recipe for {recipe.model}, {recipe.status}; from {recipe.source}", file=sys.stderr)
    _, factory = load_subject(options)
    trainer = trim(options.policy, factory, options.out, config, options.timesteps, load_facts(options.policy))
    facts = load_facts(options.out)
    assert facts is not None and facts.evidence is not None
    if shared.write_json(options, {"policy": str(options.out), "execute_horizon": facts.execute_horizon, **facts.evidence}):
        return
    print(f"{options.out} holds the trimmed policy: horizon {facts.execute_horizon}")
    best, floor = trainer.state.best_validation, trainer.state.success_floor - config.success_tolerance
    print(f"validation: {validation_words(best)}{floor_words(best, floor)}")
    print(f"prove it on test states: policytrim evaluate --policy {options.out}")
