"""Measures how long policy_node takes from the newest observation to the chunk that it publishes, without inference.

Real processes on the machine's clock: policy_node, with a policy that answers at once, and monitor_node. This process is the arm: at 100 Hz
it publishes joint states, stamped as they are sent, and it plays the trajectories that come back. Of each chunk are known, from stamps on
topics: when its observation was measured, when the answer came and how long the policy took (`chunk_info`), when the chunk was out (the
stamp of `chunk_info`, which is published after the trajectory), and when this process had the trajectory.

The parts: from the measurement to the question, from the policy's answer to the chunk, and the policy between them. Both ways
ask when a joint state arrives: asynchronous execution with the last one before the question is due, synchronous execution with the first
one after the window. Goal for all but the policy: p50 at most 5 ms, p99 at most 20 ms.

    python benchmarks/ros_latency.py
    python benchmarks/ros_latency.py --seconds 20 --json runs/ros_latency.json
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from numpy.typing import NDArray
from ros_probe import SETTLE_S, Probe, machine, timing_parser
from ros_scripted_policies import ROBOT
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from policytrim_gym.errors import PolicyTrimError, WorkerFailed
from policytrim_gym.files import write_json_atomic
from policytrim_ros import messages
from policytrim_ros.control.commands import NOT_ARMED, PUBLISHED, ChunkRecord
from policytrim_ros.control.execution_log import answered_s, asked_s
from policytrim_ros.demo.node_processes import NodeProcesses, local_domain
from policytrim_ros.launch_plan import LaunchPlan, NodeStart, Value
from policytrim_ros.sim.trajectory_player import TrajectoryPlayer

GOAL_P50_S, GOAL_P99_S = 0.005, 0.02
RATE_HZ = 100.0
WARM_UP = 10
"""The first chunks, in which what is needed later is loaded."""
WHOLE = "whole without policy"
PARTS = ("measured to question", "policy", "answer to chunk out", WHOLE, "whole, chunk at the arm")


class PlayedArm:
    """An arm that is where its controller has it, as a node of this process, and what is told of its chunks."""

    def __init__(self, probe: Probe) -> None:
        self._probe, self._names = probe, ROBOT.config.joints
        self._player = TrajectoryPlayer(self._names, ROBOT.home, probe.now_s())
        self._states = probe.node.create_publisher(JointState, "joint_states", 10)
        self._arrivals_s: dict[float, float] = {}  # of trajectories, by their stamps
        self._told: list[tuple[ChunkRecord, float]] = []  # and when it was
        probe.node.create_timer(1.0 / RATE_HZ, self._publish)
        probe.listen(JointTrajectory, "joint_trajectory", self._trajectory_arrived)
        probe.listen(DiagnosticArray, "chunk_info", self._info_arrived)
        probe.until(lambda: self._states.get_subscription_count() >= 2, "policy_node and monitor_node")
        probe.sleep(SETTLE_S)

    def samples(self) -> NDArray[np.float64]:
        """Returns the parts of each published chunk, in the order of PARTS, (n, 5) [s]."""
        rows = []
        for record, out_s in [told for told in self._told if told[0].verdict == PUBLISHED][WARM_UP:]:
            assert record.stamp_s is not None and record.inference_s is not None
            begin_s = record.observation_stamp_s
            parts = (asked_s(record) - begin_s, record.inference_s, out_s - answered_s(record))
            rows.append((*parts, parts[0] + parts[2], self._arrivals_s[record.stamp_s] - begin_s - record.inference_s))
        return np.array(rows).reshape(-1, len(PARTS))

    def num_refused(self) -> int:
        """Returns how many answers were refused, but for the one that may be on the way at the end."""
        return sum(record.verdict not in (PUBLISHED, NOT_ARMED) for record, _ in self._told)

    def _publish(self) -> None:
        now_s = self._probe.now_s()
        motion = self._player.sample([now_s])
        self._states.publish(messages.to_joint_state(self._names, motion.positions[0], motion.velocities[0], now_s))

    def _trajectory_arrived(self, message: Any) -> None:
        now_s = self._probe.now_s()
        trajectory = messages.from_joint_trajectory(message)
        self._arrivals_s[trajectory.stamp_s] = now_s
        self._player.accept(trajectory, now_s)

    def _info_arrived(self, message: Any) -> None:
        self._told.append((messages.from_chunk_info(message), messages.to_seconds(message.header.stamp)))


def measure(asynchronous: bool, arguments: argparse.Namespace, logs: Path) -> dict[str, Any]:
    """Runs policy_node for a while, and returns quantiles of the parts [s] and how many chunks they are of.

    Raises:
        WorkerFailed: a node ended or did not answer, or too few chunks were published.
    """
    environment = local_domain() | {"PYTHONPATH": str(Path(__file__).resolve().parent)}
    os.environ.update(environment)
    policy: dict[str, Value] = {"policy": "python:ros_scripted_policies:circle_policy", "execute_horizon": arguments.horizon}
    way: dict[str, Value] = {"asynchronous": asynchronous}
    plan = LaunchPlan((NodeStart("policy_node", (), policy | way | {"autostart": True}), NodeStart("monitor_node", (), way)), {})
    with NodeProcesses(plan, logs, environment) as processes, Probe("played_arm", processes.check) as probe:
        arm = PlayedArm(probe)
        probe.call(Trigger, "policy/start")
        probe.sleep(arguments.seconds)
        before = probe.call(Trigger, "policy/stop").rpartition(" ")[2]
        probe.sleep(SETTLE_S)  # what is on the way
        samples, num_refused = arm.samples(), arm.num_refused()
    if not len(samples):
        raise WorkerFailed(f"chunks must be published after the first {WARM_UP}, none was; {num_refused} answers were refused")
    quantiles = np.quantile(samples, [0.5, 0.99, 1.0], axis=0).T.tolist()
    # On a busy machine joint states may come too late, and then the arm is stopped.
    found = {"num_chunks": len(samples), "num_refused": num_refused, "stopped": before in ("braking", "holding")}
    return {**found, "p50_p99_largest_s": dict(zip(PARTS, quantiles))}


def print_figures(way: str, figures: dict[str, Any]) -> None:
    """Prints the rows of a way."""
    stopped = ", and then the node stopped the arm" if figures["stopped"] else ""
    print(f"{way}: {figures['num_chunks']} chunks, {figures['num_refused']} refused{stopped}")
    print(f"  {'[ms]':26}{'p50':>8}{'p99':>8}{'largest':>10}")
    for part, quantiles in figures["p50_p99_largest_s"].items():
        goal = f"   goal: {1000 * GOAL_P50_S:g}, {1000 * GOAL_P99_S:g}" if part == WHOLE else ""
        print(f"  {part:26}" + "{:8.2f}{:8.2f}{:10.2f}".format(*(1000 * value for value in quantiles)) + goal, flush=True)


def main() -> int:
    """Measures, prints, and returns 1 when the goal is missed."""
    parser = timing_parser(__doc__, 200.0, "each way")
    parser.add_argument("--horizon", type=int, default=4, help="control steps between two chunks, of 0.05 s")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # also then every process is ended
    before, results = machine(), {}
    try:
        with TemporaryDirectory() as temporary:
            for way in ("asynchronous", "synchronous"):
                results[way] = measure(way == "asynchronous", arguments, (arguments.logs or Path(temporary)) / way)
                print_figures(way, results[way])
    except KeyboardInterrupt:
        return 130
    except PolicyTrimError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    after = machine()
    print(f"{arguments.seconds:g} s each; {before['cores']} cores, load {before['load']} to {after['load']}")
    if arguments.json:
        facts = {"seconds": arguments.seconds, "horizon": arguments.horizon, "before": before, "after": after}
        write_json_atomic(arguments.json, {**facts, "ways": results})
    whole = [figures["p50_p99_largest_s"][WHOLE] for figures in results.values()]
    return int(any(p50_s > GOAL_P50_S or p99_s > GOAL_P99_S for p50_s, p99_s, _ in whole))


if __name__ == "__main__":
    sys.exit(main())
