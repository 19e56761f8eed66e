"""Measures how long the arm stands still between chunks: asynchronous, synchronous, and driven by the official openpi-client.

Real processes on the machine's clock, by which the policy takes its time, too: sim_arm_node, monitor_node, and `policytrim serve` with a
policy that takes 150 ms and never stands still; 20 Hz, 16 steps of chunks of 32. policy_node runs its chunks asynchronously and
synchronously; then the ActionChunkBroker and the Runtime of openpi-client send one action a step to the same arm
(`ros_openpi_driver.py`). The same episodes, one way after another, in one run.

Idle is measured twice: from joint states, as the share of the episode in which no joint moved, and from `gap_s` of monitor_node, as that in
which no step of any chunk ran, be it that the arm still went to the last target. An episode begins when its first chunk takes over. Goal:
asynchronous at most 2 % idle by both.

    python benchmarks/ros_idle.py
    python benchmarks/ros_idle.py --episodes 2 --seconds 6 --json runs/ros_idle.json
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from ros_openpi_driver import ARM_TOPIC
from ros_probe import SETTLE_S, Probe, machine, timing_parser
from ros_scripted_policies import DT_S, HORIZON, INFERENCE_S, ROBOT
from ros_standstill import standstill
from sensor_msgs.msg import JointState

from policytrim_gym.errors import PolicyTrimError
from policytrim_gym.files import write_json_atomic
from policytrim_ros import messages
from policytrim_ros.control.chunk_execution import ChunkExecution
from policytrim_ros.control.commands import NOT_ARMED, PUBLISHED
from policytrim_ros.demo.logged_process import LoggedProcess
from policytrim_ros.demo.node_processes import NodeProcesses, local_domain
from policytrim_ros.demo.rollout_driver import RolloutDriver
from policytrim_ros.launch_plan import LaunchPlan, NodeStart, Value

GOAL = 0.02
HERE = Path(__file__).resolve().parent
RESULTS_S = 10.0
"""The last chunk of an episode may be told of so late: monitor_node waits for the stop that follows it [s]."""
WAYS = ("policy_node, asynchronous", "policy_node, synchronous", "openpi-client, ActionChunkBroker")
COLUMNS = ("episodes", "idle, joint states", "idle, monitor", "longest", "calls", "policy p50", "refused, stops", "real time")


@dataclass
class Heard:
    """What a way to drive the arm left on the topics."""

    arrivals_s: list[float] = field(default_factory=list)  # of joint states, on a steady clock
    times_s: list[float] = field(default_factory=list)  # their stamps
    positions: list[list[float]] = field(default_factory=list)
    executions: list[ChunkExecution] = field(default_factory=list)
    verdicts: Counter[str] = field(default_factory=Counter)
    stops: list[str] = field(default_factory=list)

    def listen(self, probe: Probe) -> None:
        """Begins to hear."""
        probe.listen(JointState, "joint_states", self._joints_arrived)
        probe.listen(DiagnosticArray, "execution", self._execution_arrived)
        probe.listen(DiagnosticArray, "chunk_info", self._info_arrived)
        probe.sleep(SETTLE_S)

    def num_ended(self) -> int:
        """Returns how many episodes have been told of to their end."""
        return len({execution.rollout for execution in self.executions if execution.reason.value == "rollout_ended"} - {0})

    def real_time_factor(self) -> float:
        """Returns how many simulated seconds went by in a second; below 1 the simulation was too slow, and the arm's stamps fell behind."""
        return (self.times_s[-1] - self.times_s[0]) / (self.arrivals_s[-1] - self.arrivals_s[0])

    def _joints_arrived(self, message: Any) -> None:
        measured = messages.from_joint_state(message)
        self.arrivals_s.append(time.monotonic())
        self.times_s.append(messages.to_seconds(message.header.stamp))
        self.positions.append([measured[name] for name in ROBOT.config.joints])

    def _execution_arrived(self, message: Any) -> None:
        self.executions.append(ChunkExecution.from_values({pair.key: pair.value for pair in message.status[0].values}))

    def _info_arrived(self, message: Any) -> None:
        self.verdicts[messages.from_chunk_info(message).verdict] += 1


def episode_figures(heard: Heard) -> list[dict[str, float]]:
    """Returns idle shares, the longest standstill [s], calls and inference times of each episode."""
    times, positions = np.array(heard.times_s), np.array(heard.positions)
    figures = []
    for number in range(1, heard.num_ended() + 1):
        chunks = [execution for execution in heard.executions if execution.rollout == number]
        begin_s, end_s = min(_begin_s(chunk) for chunk in chunks), max(chunk.end_s for chunk in chunks)
        inside = (times >= begin_s) & (times <= end_s)
        measured = standstill(times[inside], positions[inside])
        inferences = [chunk.record.inference_s for chunk in chunks if chunk.record.inference_s is not None]
        figures.append(
            {
                "duration_s": end_s - begin_s,
                "idle_joint_states": measured.still_s / measured.duration_s,
                "idle_monitor": sum(chunk.gap_s for chunk in chunks) / (end_s - begin_s),
                "longest_still_s": measured.longest_s,
                "calls": len(inferences),
                "inference_p50_s": float(np.median(inferences)),
            }
        )
    return figures


def _begin_s(chunk: ChunkExecution) -> float:
    assert chunk.record.join_s is not None
    return chunk.record.join_s


def nodes(uri: str, seconds: float, asynchronous: bool | None) -> LaunchPlan:
    """Returns the nodes of a way; `asynchronous` None: without policy_node."""
    arm: dict[str, Value] = {"task": "push", "image_rate_hz": 0.0, "max_episode_steps": round(seconds / DT_S)}
    remapped = () if asynchronous is not None else (("joint_trajectory", ARM_TOPIC),)
    plan = [NodeStart("sim_arm_node", (), arm, remapped)]
    if asynchronous is not None:
        policy: dict[str, Value] = {"policy": uri, "execute_horizon": HORIZON, "asynchronous": asynchronous, "autostart": True}
        plan.append(NodeStart("policy_node", (), policy))
    plan.append(NodeStart("monitor_node", (), {}))
    return LaunchPlan(tuple(plan), {})


def drive(way: str, server: LoggedProcess, arguments: argparse.Namespace, folder: Path) -> Heard:
    """Runs the episodes one way, in a domain of its own."""
    domain = local_domain()
    os.environ.update(domain)
    heard, episodes, uri = Heard(), arguments.episodes, address(server)
    asynchronous = {WAYS[0]: True, WAYS[1]: False}.get(way)
    with ExitStack() as stack:
        processes = stack.enter_context(NodeProcesses(nodes(uri, arguments.seconds, asynchronous), folder, domain))
        checks: list[Callable[[], Any]] = [processes.check, server.check]

        def check() -> None:
            for check_one in checks:
                check_one()

        probe = stack.enter_context(Probe("ros_idle", check))
        if asynchronous is None:
            command = [sys.executable, str(HERE / "ros_openpi_driver.py"), "--policy", uri, "--episodes", str(episodes)]
            driven = stack.enter_context(LoggedProcess(command, folder / "openpi_driver.log", {}))
            checks.append(driven.has_ended)
            heard.listen(probe)
            probe.until(driven.has_ended, "the episodes of openpi-client", 60.0 + episodes * (arguments.seconds + 10.0))
        else:
            driver = stack.enter_context(RolloutDriver(int(domain["ROS_DOMAIN_ID"]), check))
            driver.wait_until_ready()
            heard.listen(probe)
            for index in range(episodes):
                heard.stops += driver.run(index).stops
        probe.until(lambda: heard.num_ended() >= episodes, "the last chunks", RESULTS_S)
    return heard


def serving(folder: Path, stack: ExitStack) -> LoggedProcess:
    """Starts the policy server, and returns when it serves."""
    policy = "python:ros_scripted_policies:slow_circle_policy"
    command = [sys.executable, "-m", "policytrim_gym", "serve", "--policy", policy, "--port", "0"]
    server = stack.enter_context(LoggedProcess(command, folder / "serve.log", {"PYTHONPATH": str(HERE)}))
    with Probe("ros_idle_start", server.check) as probe:
        probe.until(lambda: "Ctrl-C stops" in server.said, "the policy server")
    return server


def address(server: LoggedProcess) -> str:
    """Returns where the policy server said that it serves."""
    return "ws://" + server.said.partition("ws://")[2].partition(";")[0]


def row(way: str, heard: Heard, figures: Sequence[dict[str, float]]) -> str:
    """Returns a line of the table: means, in brackets the lowest and the highest episode."""

    def spread(key: str) -> str:
        values = [100 * figure[key] for figure in figures]
        return f"{np.mean(values):.1f} % ({min(values):.1f} to {max(values):.1f})"

    refused = sum(count for verdict, count in heard.verdicts.items() if verdict not in (PUBLISHED, NOT_ARMED))
    longest, inference_s = max(figure["longest_still_s"] for figure in figures), np.median([f["inference_p50_s"] for f in figures])
    calls = sum(figure["calls"] for figure in figures)
    cells = (f"{longest:.2f} s", f"{calls}", f"{1000 * inference_s:.0f} ms", f"{refused}, {len(heard.stops)}")
    return _line(
        way,
        f"{len(figures)}",
        spread("idle_joint_states"),
        spread("idle_monitor"),
        *cells,
        f"{heard.real_time_factor():.3f}",
    )


def _line(*cells: str) -> str:
    return "".join(cell.ljust(width) for cell, width in zip(cells, (34, 10, 24, 24, 9, 7, 12, 16, 9))).rstrip()


def main() -> int:
    """Measures, prints, and returns 1 when the goal is missed."""
    parser = timing_parser(__doc__, 20.0, "each episode")
    parser.add_argument("--episodes", type=int, default=10, help="of each way")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # also then every process is ended
    before, results = machine(), {}
    print(_line("", *COLUMNS))
    try:
        with TemporaryDirectory() as temporary, ExitStack() as stack:
            folder = arguments.logs or Path(temporary)
            os.environ.update(local_domain())
            server = serving(folder, stack)
            for number, way in enumerate(WAYS):
                heard = drive(way, server, arguments, folder / str(number))
                figures = episode_figures(heard)
                rest = {"verdicts": dict(heard.verdicts), "stops": heard.stops, "real_time_factor": heard.real_time_factor()}
                results[way] = {"episodes": figures, **rest}
                print(row(way, heard, figures), flush=True)
    except KeyboardInterrupt:
        return 130
    except PolicyTrimError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    after = machine()
    loads = f"{before['cores']} cores, load {before['load']} to {after['load']}"
    print(f"policy {1000 * INFERENCE_S:.0f} ms, {arguments.seconds:g} s an episode; {loads}")
    if arguments.json:
        write_json_atomic(arguments.json, {"seconds": arguments.seconds, "before": before, "after": after, "ways": results})
    idle = [np.mean([figure[key] for figure in results[WAYS[0]]["episodes"]]) for key in ("idle_joint_states", "idle_monitor")]
    return int(max(idle) > GOAL)


if __name__ == "__main__":
    sys.exit(main())
