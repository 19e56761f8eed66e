"""`policytrim train-horizon`: a controller of a frozen policy's horizon, resumable."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from policytrim_gym.cli import options as shared


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    shared.add_policy(parser)
    shared.add_env(parser)
    shared.add_out(parser)
    parser.add_argument("--algo", metavar="NAME", default=None, help="ppo, a2c, dqn or qrdqn (default: ppo)")
    parser.add_argument(
        "--timesteps", metavar="N", type=shared.number(int, 1), default=None, help="calls of the policy in training (default: 100000)"
    )
    parser.add_argument(
        "--horizons",
        metavar="H,H,...",
        type=comma_list(shared.number(int, 1)),
        default=None,
        help="choices of the controller (default: 2,4,8,16,32)",
    )
    parser.add_argument(
        "--playback-rates",
        metavar="X,X,...",
        type=comma_list(shared.number(float, 1)),
        default=None,
        help="each with each horizon; 1,1.5,2 lets a frozen policy save steps as well (default: 1)",
    )
    parser.add_argument("--seed", metavar="N", type=shared.number(int, 0), default=None, help="of network, exploration and environments")
    parser.add_argument("--workers", metavar="N", type=shared.number(int, 0), default=None, help="rollout processes of the validations")
    shared.add_config(parser)
    shared.add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Trains the controller into the run folder, or goes on with what the folder holds; prints what the best one gave.

    Raises:
        InvalidConfig: a wrong setting, or a folder with another training.
        CorruptCheckpoint: the policy or the state to go on from is damaged.
    """
    from policytrim_gym.cli.subjects import load_subject
    from policytrim_gym.progress import write_line
    from policytrim_gym.training.horizon import train_horizon
    from policytrim_gym.training.horizon_config import HorizonTrainingConfig
    from policytrim_gym.training.training_log import validation_words

    config = shared.config_of(
        options,
        HorizonTrainingConfig,
        algo=options.algo,
        total_timesteps=options.timesteps,
        horizons=options.horizons,
        playback_rates=options.playback_rates,
        seed=options.seed,
        num_workers=options.workers,
    )
    _, factory = load_subject(options)
    state = train_horizon(options.policy, factory, options.out, config, report=write_line)
    best = state.best
    assert best is not None
    reached = best["validation_success"] >= state.success_floor
    result = {"selector": str(options.out), "reached_floor": reached, "success_floor": state.success_floor, "best": best}
    if shared.write_json(options, {**result, "stock": state.stock, "stopped_early": state.stopped_early}):
        return
    print(f"{options.out} holds the best controller, after {best['timesteps']} of {config.total_timesteps} calls")
    print(f"validation: {validation_words(best)}; stock: {validation_words(state.stock)}")
    if not reached:
        print(f"no controller reached the success floor of {state.success_floor:.1%}: this one is below it")
    print(f"prove it on test states: policytrim evaluate --policy {options.policy} --selector {options.out}")


def comma_list(item: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    """Returns an argparse type for items between commas.

    >>> comma_list(int)("2,4,8")
    [2, 4, 8]
    """

    def parse(text: str) -> list[Any]:
        return [item(part) for part in text.split(",")]

    return parse
