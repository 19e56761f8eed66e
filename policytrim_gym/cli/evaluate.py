"""`policytrim evaluate`: one policy at one setting, on fixed initial states."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from policytrim_gym.cli import options as shared
from policytrim_gym.cli import subjects
from policytrim_gym.cli.proof import ProofWriter, add_write_proof, setting_in
from policytrim_gym.errors import InvalidConfig

if TYPE_CHECKING:
    from policytrim_gym.spec import PolicySpec


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    subjects.add_subject(parser, split="test")
    parser.add_argument(
        "--horizon", metavar="H", type=shared.number(int, 1), default=None, help="actions run of each chunk (default: the policy's)"
    )
    parser.add_argument(
        "--playback-rate", metavar="X", type=shared.number(float, 0, above=True), default=1.0, help="2 plays a chunk in half the steps"
    )
    parser.add_argument(
        "--selector",
        metavar="TEXT",
        default=None,
        help="who chooses horizon and playback rate of each chunk: fixed:16, fixed:16x2, disagreement:0.2, action-delta:0.05, "
        "or a folder of train-horizon or its model.zip",
    )
    parser.add_argument("--delay", metavar="STEPS", type=shared.number(int, 0), default=0, help="steps that pass while inferring")
    add_write_proof(parser)


def run(options: argparse.Namespace) -> None:
    """Rolls the policy out and prints the arm, whole and task by task.

    Raises:
        InvalidConfig: a selector together with what it chooses, or what cannot be a proof.
    """
    from policytrim_gym.cli.episode_bar import EpisodeBar
    from policytrim_gym.evaluation.evaluate import Evaluator, evaluate_policy
    from policytrim_gym.policies.checkpoint_facts import warn_unproven
    from policytrim_gym.selectors.loading import load_selector

    if options.selector is not None and (options.horizon is not None or options.playback_rate != 1.0):
        given = f"--horizon {options.horizon} and --playback-rate {options.playback_rate:g}"
        raise InvalidConfig(f"--selector chooses horizon and playback rate itself, got {given} too")
    policy, factory = subjects.load_subject(options)
    selector = None if options.selector is None else load_selector(options.selector, options.policy)
    with Evaluator(factory, options.workers) as evaluator:
        count = subjects.num_episodes(options, evaluator)
        subjects.announce(options, evaluator, count)
        horizon = options.horizon if options.horizon is not None or selector is not None else horizon_beside_delay(options, policy.spec)
        setting = setting_in(evaluator, policy.spec.chunk_size, options.delay)
        if selector is None:  # a selector has evidence of its own
            setting = replace(setting, execute_horizon=horizon, playback_rate=options.playback_rate)
        warn_unproven(options.policy, setting, factory.defaults())
        proof = None if options.write_proof is None else ProofWriter(options, setting)
        with EpisodeBar(count) as bar:
            arm = evaluate_policy(
                policy,
                evaluator,
                horizon,
                count,
                options.seed,
                options.delay,
                options.playback_rate,
                split=options.split,
                selector=selector,
                on_episode=bar,
            )
    if proof is not None:
        subjects.say(options, f"{proof.write(arm)} holds the proof")
    if shared.write_json(options, {**arm.to_json(), **subjects.latency_json(policy)}):
        return
    by_task = [part.renamed(task) for task, part in arm.by_task().items()]
    print("\n".join(subjects.table_of([arm, *(by_task if len(by_task) > 1 else [])])))
    subjects.print_latency(policy)


def horizon_beside_delay(options: argparse.Namespace, spec: PolicySpec) -> int:
    """Returns the policy's own horizon, cut to chunk_size - delay: the actions behind it are those that run while the policy infers."""
    longest = spec.chunk_size - options.delay
    if not options.delay <= longest < spec.horizon:  # beyond half a chunk no horizon is left; the evaluation says so
        return spec.horizon
    subjects.say(options, f"horizon {longest} in place of {spec.horizon}: a delay of {options.delay} leaves no more of {spec.chunk_size}")
    return longest
