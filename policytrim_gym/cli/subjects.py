"""What evaluation commands work on: the policy of `--policy` in the environment that it knows."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from policytrim_gym.cli import options as shared
from policytrim_gym.cli.text_table import aligned
from policytrim_gym.errors import InvalidConfig

if TYPE_CHECKING:
    from policytrim_gym.evaluation.efficiency_report import EfficiencyReport
    from policytrim_gym.evaluation.evaluate import Evaluator
    from policytrim_gym.policy import ChunkPolicy
    from policytrim_gym.rollouts.env_factory import EnvFactory

EPISODES_PER_TASK = 50
MOST_TASKS_NAMED = 10
COLUMNS = ("h", "playback", "delay", "success", "steps", "steps, all", "calls", "calls, all", "wall-clock")


def add_subject(parser: argparse.ArgumentParser, split: str) -> None:
    """Adds the options of every command that rolls a policy out."""
    shared.add_policy(parser)
    shared.add_observation_map(parser)
    parser.add_argument(
        "--inference-timeout",
        metavar="S",
        type=shared.number(float, 0, above=True),
        default=60.0,
        help="seconds that one answer of a server may take; a first one may compile",
    )
    shared.add_env(parser)
    parser.add_argument("--split", choices=("train", "validation", "test"), default=split, help="which initial states")
    parser.add_argument(
        "--episodes",
        metavar="N",
        type=shared.number(int, 1),
        default=None,
        help=f"episodes of each arm, a multiple of the number of tasks (default: {EPISODES_PER_TASK} a task)",
    )
    shared.add_seed(parser)
    parser.add_argument("--workers", metavar="N", type=shared.number(int, 0), default=2, help="rollout processes; 0 uses this one")
    shared.add_json(parser)


def load_subject(options: argparse.Namespace) -> tuple[ChunkPolicy, EnvFactory]:
    """Returns the policy, and the environment by the options, else by what the checkpoint or the observation map knows.

    Raises:
        InvalidConfig: none of them names one; a policy that is evaluated in an environment it was not made for would only look bad.
    """
    from policytrim_gym.policies.checkpoint_facts import load_facts
    from policytrim_gym.policies.mapped_policy import load_mapped_policy
    from policytrim_gym.rollouts.env_factory import EnvFactory

    # trim and train-horizon change or watch the model itself, and have neither option
    observation_map, timeout_s = getattr(options, "observation_map", None), getattr(options, "inference_timeout", None)
    policy = load_mapped_policy(options.policy, observation_map or "", timeout_s)
    facts = load_facts(options.policy, policy.spec.chunk_size) if Path(options.policy).is_dir() else None
    knowing = facts if facts is not None and facts.env is not None else getattr(policy, "observation_map", None)
    if knowing is not None and knowing.env is not None:
        return policy, EnvFactory(*shared.env_of(options, knowing.env, knowing.env_kwargs))
    if options.env is None and options.env_kwargs is None:
        raise InvalidConfig(
            f"{options.policy} does not say which environment it was made for (no policytrim.json that names one): "
            "give --env or --env-kwargs, such as --env-kwargs 'tasks=[reach-v3]'"
        )
    return policy, EnvFactory(*shared.env_of(options))


def num_episodes(options: argparse.Namespace, evaluator: Evaluator) -> int:
    """Returns `--episodes`, or the default for each task."""
    return options.episodes if options.episodes is not None else EPISODES_PER_TASK * len(evaluator.tasks)


def announce(options: argparse.Namespace, evaluator: Evaluator, count: int) -> None:
    """Says what an evaluation is about to run on: environment, tasks, split and episodes of each arm."""
    tasks = [task for task in evaluator.tasks if task is not None]
    names = ", ".join(tasks) if len(tasks) <= MOST_TASKS_NAMED else f"{len(tasks)} tasks"
    noun = "states" if evaluator.has_initial_states else "episodes"
    say(options, f"{evaluator.collector.factory.name} {names}".rstrip() + f": {count} {options.split} {noun}")


def say(options: argparse.Namespace, line: str) -> None:
    """Prints a line of the result's context, on stderr where stdout holds JSON alone."""
    print(line, file=sys.stderr if options.json == "-" else sys.stdout, flush=True)


def table_of(arms: Sequence[EfficiencyReport], front: Sequence[EfficiencyReport] = ()) -> list[str]:
    """Returns the arms as lines of text; a dot marks those that no other arm betters."""
    from policytrim_gym.evaluation.report.tables import ArmRow

    names = {arm.name for arm in front}
    cells = [ArmRow(arm, "control", None, None, arm.name in names).cells() for arm in arms]
    rows = [["arm", *COLUMNS], *([arm.name, *(row[column] for column in COLUMNS)] for arm, row in zip(arms, cells))]
    marks = [" ", *("●" if arm.name in names else " " for arm in arms)]
    return [f"{mark} {line}" for mark, line in zip(marks, aligned(rows))]


def latency_json(policy: ChunkPolicy) -> dict[str, Any]:
    """Returns {"latency": ...} of a policy behind a server, as `LatencyStatistics` has it; {} of one in this process."""
    statistics = policy.latency
    return {} if statistics is None else {"latency": asdict(statistics)}


def print_latency(policy: ChunkPolicy) -> None:
    """Prints how long a server took to answer, and how many control steps that is; nothing for a policy in this process."""
    statistics = policy.latency
    if statistics is None or statistics.p50_s is None or statistics.p99_s is None:
        return
    line = f"latency of {statistics.num_calls:,} calls: median {1e3 * statistics.p50_s:.1f} ms, 99 % below {1e3 * statistics.p99_s:.1f} ms"
    if statistics.server_p50_s is not None:
        line += f" (inference alone: median {1e3 * statistics.server_p50_s:.1f} ms)"
    control_dt_s = policy.spec.control_dt_s
    if control_dt_s is not None:
        steps = math.ceil(statistics.p99_s / control_dt_s)
        bridged = f"--delay {steps}" if 2 * steps <= policy.spec.chunk_size else f"more than half a chunk of {policy.spec.chunk_size}"
        line += f"; an arm that does not wait runs up to {steps} of its {control_dt_s:g} s steps meanwhile: {bridged}"
    print(line)
