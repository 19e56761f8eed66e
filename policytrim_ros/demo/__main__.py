"""`python -m policytrim_ros.demo`, what `make ros-demo` runs."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from policytrim_gym.cli.main import EXIT_INTERRUPTED, HelpFormatter, Parser, fail
from policytrim_gym.cli.options import number
from policytrim_gym.errors import PolicyTrimError
from policytrim_gym.evaluation.efficiency_report import EfficiencyReport
from policytrim_gym.evaluation.evaluate import evaluate_policy
from policytrim_gym.evaluation.report.build import Provenance, build_report, save_report
from policytrim_gym.evaluation.report.html import render_report
from policytrim_gym.progress import ProgressBar
from policytrim_ros.control.commands import PUBLISHED
from policytrim_ros.demo.comparison import Measured, difference_lines, table_lines
from policytrim_ros.demo.node_processes import NodeProcesses, local_domain
from policytrim_ros.demo.rollout_driver import DrivenRollout, RolloutDriver, measured_delay_steps
from policytrim_ros.demo.subject import ARM, Subject, load_subject
from policytrim_ros.launch_plan import launch_plan

DEMO = Path("runs/demo-arm")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the demo; returns the exit code."""
    options = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # also then nothing is left behind
    try:
        run(options)
    except KeyboardInterrupt:
        return fail("interrupted; all nodes have ended", False, EXIT_INTERRUPTED)
    except (PolicyTrimError, OSError) as error:
        return fail(str(error), False)
    return 0


def run(options: argparse.Namespace) -> None:
    """Runs both policies through ROS 2 and in Gymnasium, prints the table and writes the report.

    Raises:
        InvalidConfig: a folder that holds no policy for the arm.
        WorkerFailed: a node that ended or said nothing.
    """
    subjects = {"base": load_subject(options.base), "trimmed": load_subject(options.trimmed)}
    environment = local_domain()
    os.environ.update(environment)  # of the driver's own node
    measured = [measure(name, subject, environment, options, options.clip) for name, subject in subjects.items()]
    print("\n".join(table_lines(measured)))
    print("\n".join(difference_lines(measured)))
    base, trimmed = measured
    report = build_report(
        Provenance(
            policy=str(options.trimmed),
            env=f"{ARM} {subjects['base'].task} through ROS 2 ({options.engine}, controller {options.controller})",
            seed=0,
            command=" ".join(["python -m policytrim_ros.demo", *sys.argv[1:]]),
            extra={"ros": [policy.to_json() for policy in measured]},
        ),
        baseline=base.ros,
        trimmed=trimmed.ros,
        controls=[base.gym, trimmed.gym],
        untrained=[base.gym.name],
    )
    save_report(report, options.out / "report.json")
    print(f"report: {render_report(report, options.out)}")
    print(f"recordings: {options.out / 'recordings'}")


def measure(name: str, subject: Subject, environment: dict[str, str], options: argparse.Namespace, clip: str = "all") -> Measured:
    """Runs a policy's episodes through ROS 2, then the same in Gymnasium with the delay that was measured.

    Gymnasium plays a delay of up to half the horizon; where a longer one was measured, the table shows both.

    Gymnasium cuts every action to the action space. So does the node here unless `clip` says otherwise: else its gate would refuse chunks
    whose twins run in Gymnasium, and the table would show that rule instead of ROS 2.
    """
    spec, count = subject.policy.spec, options.episodes
    rollouts = drive(name, subject, environment, options, clip)
    delay_steps = measured_delay_steps(rollouts)
    delay = min(round(delay_steps), spec.horizon // 2)
    ros = EfficiencyReport.from_rollouts(
        f"{name}, ROS 2",
        [rollout.record for rollout in rollouts],
        execute_horizon=spec.horizon,
        chunk_size=spec.chunk_size,
        inference_delay_steps=delay,
    )
    factory = subject.environment(options.engine)
    with ProgressBar(count, "episode", f"{name}, Gymnasium", leave=False) as bar:
        # A horizon h with a lead of d steps runs what a horizon of h - d with a delay of d runs.
        arm = evaluate_policy(
            subject.policy, factory, spec.horizon - delay, count, inference_delay_steps=delay, on_episode=lambda _: bar.advance()
        )
    stops = tuple(reason for rollout in rollouts for reason in rollout.stops)
    refused = sum(chunk.verdict != PUBLISHED for rollout in rollouts for chunk in rollout.chunks)
    return Measured(name, ros, arm.renamed(f"{name}, Gymnasium"), delay_steps, refused, stops)


def drive(name: str, subject: Subject, environment: dict[str, str], options: argparse.Namespace, clip: str) -> list[DrivenRollout]:
    """Starts the nodes of `sim.launch.py` and runs the episodes."""
    given: dict[str, Any] = {
        **subject.arm_arguments(),
        "engine": options.engine,
        "controller": options.controller,
        "clip": clip,
        "record": options.out / "recordings" / name,
        # A simulation that is late on a busy machine slows its clock: its joints never seem stale.
        "use_sim_time": "true",
        "real_time_factor": options.real_time_factor,
    }
    plan = launch_plan("sim", {key: str(value) for key, value in given.items()})
    rollouts = []
    with NodeProcesses(plan, options.out / "logs" / name, environment) as processes:
        with RolloutDriver(int(environment["ROS_DOMAIN_ID"]), processes.check, options.real_time_factor) as driver:
            driver.wait_until_ready()
            with ProgressBar(options.episodes, "episode", f"{name}, ROS 2", leave=False) as bar:
                for index in range(options.episodes):
                    rollout = driver.run(index)
                    rollouts.append(rollout._replace(record=replace(rollout.record, task=subject.task)))
                    bar.advance()
    return rollouts


def _parser() -> Parser:
    parser = Parser(
        prog="python -m policytrim_ros.demo",
        description="Runs a base and a trimmed policy through ROS 2 and in Gymnasium, at the same test states.",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--episodes", metavar="N", type=number(int, 1), default=20, help="episodes of each policy, the first test states")
    parser.add_argument("--engine", choices=("mujoco", "pybullet"), default="mujoco", help="of physics")
    parser.add_argument("--controller", choices=("hard", "stamp"), default="hard", help="how a new trajectory replaces the present one")
    parser.add_argument(
        "--clip",
        choices=("none", "gripper", "all"),
        default="all",
        help="what policy_node cuts of a chunk; all, as Gymnasium does beside it, where policy_node's own default refuses such chunks",
    )
    parser.add_argument(
        "--real-time-factor",
        metavar="X",
        type=number(float, 0, above=True),
        default=1.0,
        help="simulated seconds in a second; below 1 for a busy machine",
    )
    parser.add_argument("--base", metavar="DIR", type=Path, default=DEMO / "base", help="the policy before the trim")
    parser.add_argument("--trimmed", metavar="DIR", type=Path, default=DEMO / "trimmed", help="the policy after it")
    parser.add_argument("--out", metavar="DIR", type=Path, default=Path("runs/ros-demo"), help="for report, recordings and logs")
    return parser


if __name__ == "__main__":
    sys.exit(main())
