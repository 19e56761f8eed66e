"""`policytrim sweep`: what horizons and playback rates give without any training."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from policytrim_gym.cli import options as shared
from policytrim_gym.cli import subjects
from policytrim_gym.cli.proof import setting_in

if TYPE_CHECKING:
    from policytrim_gym.evaluation.sweep import HorizonSweep


MARGIN = 0.05
"""How much of stock's success a longer horizon may lose and still be named; by the point estimate, since a sweep is small."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    subjects.add_subject(parser, split="validation")
    parser.add_argument(
        "--horizons",
        metavar="H",
        nargs="+",
        type=shared.numbers(int, 1),
        action=shared.AddNumbers,
        default=None,
        help="actions run of each chunk, such as 5,8,10 (default: halvings of the chunk size down to 4, and the policy's own)",
    )
    parser.add_argument(
        "--playback-rates",
        metavar="X",
        nargs="+",
        type=shared.numbers(float, 0, above=True),
        action=shared.AddNumbers,
        default=None,
        help="each with each horizon (default: 1 1.5 2 3, or 1 alone where the policy does not say which actions are deltas)",
    )


def run(options: argparse.Namespace) -> None:
    """Rolls every setting out on the same states; prints the table, the longest horizon that keeps success, and the strongest setting."""
    from policytrim_gym.cli.episode_bar import EpisodeBar
    from policytrim_gym.evaluation.evaluate import Evaluator
    from policytrim_gym.evaluation.report.words import percent
    from policytrim_gym.evaluation.sweep import sweep_horizons
    from policytrim_gym.policies.checkpoint_facts import warn_unproven

    policy, factory = subjects.load_subject(options)
    horizons = options.horizons or halvings(policy.spec.chunk_size)
    rates = options.playback_rates or ([1.0] if policy.spec.action_kinds is None else [1.0, 1.5, 2.0, 3.0])
    num_arms = len({*horizons, policy.spec.horizon}) * len({*rates, 1.0})
    with Evaluator(factory, options.workers) as evaluator:
        count = subjects.num_episodes(options, evaluator)
        subjects.announce(options, evaluator, count)
        warn_unproven(options.policy, setting_in(evaluator, policy.spec.chunk_size, inference_delay_steps=0), factory.defaults())
        with EpisodeBar(num_arms * count) as bar:
            sweep = sweep_horizons(
                policy,
                evaluator,
                horizons,
                count,
                options.seed,
                rates,
                split=options.split,
                margin=MARGIN,
                on_episode=bar,
            )
    if shared.write_json(options, {**sweep_json(sweep), **subjects.latency_json(policy)}):
        return
    print("\n".join(subjects.table_of(sweep.arms, sweep.front)))
    longest, stock = sweep.largest_not_inferior, sweep.stock
    print(
        f"stock: {stock.name}, success {percent(stock.success_rate)}; longest horizon within {100 * MARGIN:g} points of it: "
        f"{longest.execute_horizon}, success {percent(longest.success_rate)}"
    )
    print(f"strongest setting without training: {sweep.best_untrained.name}")
    subjects.print_latency(policy)


def halvings(chunk_size: int) -> list[int]:
    """Returns chunk_size, half of it, and so on down to 4 at least, shortest first.

    >>> halvings(32), halvings(2)
    ([4, 8, 16, 32], [2])
    """
    horizons = [chunk_size]
    while horizons[0] // 2 >= 4:
        horizons.insert(0, horizons[0] // 2)
    return horizons


def sweep_json(sweep: HorizonSweep) -> dict[str, Any]:
    """Returns a sweep as JSON-ready values: arms as in report.json, and the names of those that stand out."""
    return {
        "arms": [arm.to_json() for arm in sweep.arms],
        "front": [arm.name for arm in sweep.front],
        "stock": sweep.stock.name,
        "largest_not_inferior": sweep.largest_not_inferior.name,
        "best_untrained": asdict(sweep.best_untrained),
    }
