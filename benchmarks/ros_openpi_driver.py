"""Drives the arm as one would with the official openpi-client: its Runtime asks its ActionChunkBroker for one action a control step.

Each action becomes a trajectory of one waypoint, to be reached one control step from when it arrives (stamp 0), on a topic of its own,
ARM_TOPIC. monitor_node gets a stamped copy as a chunk of one step, so that the time in which the arm has nothing to do is measured as
that of policy_node's chunks. A process of `ros_idle.py`, beside sim_arm_node and monitor_node; it ends after the last episode.

    python benchmarks/ros_openpi_driver.py --policy ws://127.0.0.1:8000 --episodes 5
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
import warnings
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from openpi_client.action_chunk_broker import ActionChunkBroker
from openpi_client.base_policy import BasePolicy
from openpi_client.runtime.agents.policy_agent import PolicyAgent
from openpi_client.runtime.environment import Environment
from openpi_client.runtime.runtime import Runtime
from openpi_client.websocket_client_policy import WebsocketClientPolicy
from ros_probe import SETTLE_S, Probe
from ros_scripted_policies import DT_S, HORIZON, ROBOT
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from policytrim_ros import messages
from policytrim_ros.control.commands import PUBLISHED, ChunkRecord
from policytrim_ros.control.trajectory import Trajectory

ARM_TOPIC = "controller/joint_trajectory"
HOLD_S = 0.5
"""So long the hold after an episode may take to reach the arm: after the reset, it would begin the next episode [s]."""

warnings.filterwarnings("ignore", "connect", DeprecationWarning)  # the official client's way to connect


class TimedPolicy(BasePolicy):
    """Notes how long the policy took for the last answer."""

    def __init__(self, policy: BasePolicy) -> None:
        self._policy = policy
        self.inference_s: float | None = None

    def infer(self, obs: dict) -> dict:
        start_s = time.monotonic()
        answer = self._policy.infer(obs)
        self.inference_s = time.monotonic() - start_s
        return answer

    def reset(self) -> None:
        self._policy.reset()


class RosArm(Environment):
    """The simulated arm as an environment of the official runtime."""

    def __init__(self, probe: Probe, policy: TimedPolicy) -> None:
        self._probe, self._policy = probe, policy
        self._newest: tuple[Any, float] | None = None  # joint states, and when they arrived on a steady clock [s]
        self._num_rollouts = self._num_ended = 0
        self._moved = False
        self._arm = probe.node.create_publisher(JointTrajectory, ARM_TOPIC, 10)
        self._trajectories = probe.node.create_publisher(JointTrajectory, "joint_trajectory", 10)
        self._infos = probe.node.create_publisher(DiagnosticArray, "chunk_info", 100)
        probe.listen(JointState, "joint_states", self._joints_arrived)
        probe.listen(String, "rollout", self._rollout_arrived)
        for publisher in (self._arm, self._trajectories, self._infos):
            probe.until(publisher.get_subscription_count, f"a subscriber of {publisher.topic_name}")
        probe.sleep(SETTLE_S)

    def reset(self) -> None:
        """Holds, and begins the next episode; the first one is there already."""
        if self._moved:
            self._publish(self._positions(), self._now_s())  # without a record it is a stop, for the monitor
            self._probe.sleep(HOLD_S)
            self._probe.call(Trigger, "sim_arm/reset")
            self._newest = None
        self._probe.until(lambda: self._newest is not None, "joint states")
        self._num_ended = self._num_rollouts
        self._moved = False

    def is_episode_complete(self) -> bool:
        """Returns whether the monitor has told of its end."""
        return self._num_rollouts > self._num_ended

    def get_observation(self) -> dict:
        """Returns the newest joints, and when they were measured, which the policy does not look at."""
        self._observed_s = messages.to_seconds(self._state()[0].header.stamp)
        return {"state": self._positions().astype(np.float32)}

    def apply_action(self, action: dict) -> None:
        """Sends an action, and tells the monitor of it."""
        now_s = self._now_s()
        inference_s, self._policy.inference_s = self._policy.inference_s, None
        record = ChunkRecord(now_s, self._observed_s, 1, 1, 0, now_s, inference_s, now_s - self._observed_s, PUBLISHED)
        self._publish(np.asarray(action["actions"], dtype=np.float64), now_s)
        self._infos.publish(messages.to_chunk_info(record, now_s))
        self._moved = True

    def _publish(self, positions: Any, now_s: float) -> None:
        for publisher, stamp_s in ((self._arm, 0.0), (self._trajectories, now_s)):
            trajectory = Trajectory(ROBOT.config.joints, positions[None], None, np.array([DT_S]), stamp_s)
            publisher.publish(messages.to_joint_trajectory(trajectory))

    def _positions(self) -> Any:
        measured = messages.from_joint_state(self._state()[0])
        return np.array([measured[name] for name in ROBOT.config.joints])

    def _state(self) -> tuple[Any, float]:
        assert self._newest is not None
        return self._newest

    def _now_s(self) -> float:
        """Returns the time of the simulation, without the cost of listening to its clock [s]."""
        state, arrived_s = self._state()
        return messages.to_seconds(state.header.stamp) + time.monotonic() - arrived_s

    def _joints_arrived(self, message: Any) -> None:
        self._newest = message, time.monotonic()

    def _rollout_arrived(self, _: Any) -> None:
        self._num_rollouts += 1


def main() -> int:
    """Runs the episodes; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--policy", required=True, help="ws://host:port")
    parser.add_argument("--episodes", type=int, default=5)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    policy = TimedPolicy(WebsocketClientPolicy(arguments.policy))
    try:
        with Probe("openpi_driver") as probe:
            arm = RosArm(probe, policy)
            Runtime(arm, PolicyAgent(ActionChunkBroker(policy, HORIZON)), [], 1.0 / DT_S, arguments.episodes).run()
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
