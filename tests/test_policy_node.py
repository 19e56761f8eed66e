"""The policy node as a process, beside the simulated arm and a policy server: it moves, it stops, it holds, it goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from policytrim_gym.errors import InvalidConfig, InvalidHorizon, MissingFile
from policytrim_gym.policies.checkpoint_facts import CheckpointFacts
from policytrim_gym.robot.robot_model import load_robot
from policytrim_ros import messages
from policytrim_ros.nodes.policy_assembly import assemble
from policytrim_ros.nodes.policy_settings import PolicySettings

for module in ("rclpy", "mujoco", "pinocchio", "pink", "websockets"):
    pytest.importorskip(module)
# ruff: noqa: E402 - ROS may be missing, and then these are not there
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from openpi_servers import free_port
from ros_processes import ROOT, ros_domain
from sensor_msgs.msg import JointState
from small_policies import small_state_policy
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

pytestmark = pytest.mark.slow

ROBOT = load_robot("policytrim_arm")
POLICY = "python:tests.small_arm_policies:reach_policy"
LONG_S = 5.0
"""Limits of ages and silences here: on a busy machine a process may stand still for a while."""


class Server:
    """A policy server as a process, which can be killed and started again where it was."""

    def __init__(self, folder: Path) -> None:
        self.port, self._log = free_port(), folder / "server.log"
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        arguments = ["serve", "--policy", POLICY, "--port", str(self.port)]
        with self._log.open("w") as file:
            command = [sys.executable, "-m", "policytrim_gym", *arguments]
            self._process = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT)

    @property
    def serves(self) -> bool:
        return "Ctrl-C stops" in self._log.read_text()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class Robot:
    """The nodes, seen from outside."""

    def __init__(self, ros, server):
        self.ros, self.server = ros, server
        self._clients = {}
        self.server.start()
        self.sim = ros.start("sim_arm_node", task="reach", use_sim_time=True)
        ros.until(lambda: server.serves, "the policy server")
        self.node = self.start_node()
        self.states = ros.listen(JointState, "joint_states")
        self.sent = ros.listen(JointTrajectory, "joint_trajectory")
        self.info = ros.listen(DiagnosticArray, "chunk_info")
        self.diagnostics = ros.listen(DiagnosticArray, "/diagnostics")

    def start_node(self):
        limits = {"max_observation_age_s": LONG_S, "max_state_age_s": 1.0, "max_clock_gap_s": LONG_S, "joint_states_timeout_s": LONG_S}
        return self.ros.start(
            "policy_node",
            policy=f"ws://127.0.0.1:{self.server.port}",
            has_object=False,
            use_sim_time=True,
            autostart=True,
            **limits,
            frame_timeout_s=LONG_S,
            policy_timeout_s=LONG_S,
        )

    def call(self, name, service=Trigger, **request):
        if name not in self._clients:
            self._clients[name] = self.ros.probe.create_client(service, name)
        return self.ros.answer(self._clients[name], service.Request(**request))

    def change(self, transition):
        return self.call("policy_node/change_state", ChangeState, transition=Transition(id=transition)).success

    def run(self):
        """Has the arm move, from whatever state, in an episode of its own."""
        self.call("policy/stop")
        self.call("sim_arm/reset")
        self.ros.until(lambda: self.call("policy/rearm").success, "a rearm")
        sent = len(self.sent)
        self.ros.until(lambda: len(self.sent) >= sent + 2, "two chunks")

    def records(self):
        return [messages.from_chunk_info(message) for message in self.info]

    def pause(self, duration_s):
        """Lets simulated time pass."""
        end = messages.to_seconds(self.states[-1].header.stamp) + duration_s
        self.ros.until(lambda: messages.to_seconds(self.states[-1].header.stamp) > end, "joint states")

    def is_held(self):
        """Whether the last command on the wire is a hold where the arm is."""
        last, measured = messages.from_joint_trajectory(self.sent[-1]), np.array(self.states[-1].position[: ROBOT.dof])
        return not last.velocities[-1].any() and np.abs(last.positions[-1] - measured).max() < 0.01


@pytest.fixture(scope="module")
def robot(tmp_path_factory):
    folder = tmp_path_factory.mktemp("policy")
    server = Server(folder)
    with ros_domain(folder) as ros:
        try:
            yield Robot(ros, server)
        finally:
            server.kill()


def test_an_episode_succeeds_and_every_chunk_is_told_of(robot):
    robot.ros.until(lambda: robot.call("policy/start").success, "a start, when there is time")
    robot.ros.until(lambda: "success after" in robot.sim.said, "a success")
    robot.ros.until(lambda: len([record for record in robot.records() if record.verdict == "published"]) >= 3, "records")
    published = [record for record in robot.records() if record.verdict == "published"]
    stamps = {messages.to_seconds(message.header.stamp) for message in robot.sent}
    assert {record.stamp_s for record in published[:-1]} <= stamps
    for record in published:
        assert (record.execute_horizon, record.chunk_size) == (8, 16)
        assert record.stamp_s >= record.observation_stamp_s and record.inference_s > 0.0  # a simulated clock stands still between ticks
    (status,) = robot.ros.until(lambda: robot.diagnostics and robot.diagnostics[-1], "diagnostics").status
    values = {pair.key: pair.value for pair in status.values}
    assert status.name == "/policy_node" and int(values["lead_steps"]) >= 1 and values["state"]


def test_a_stop_holds_until_a_rearm(robot):
    robot.run()
    response = robot.call("policy/stop")
    assert response.success and response.message.startswith("braking")
    robot.pause(1.0)
    assert robot.is_held()
    sent = len(robot.sent)
    assert robot.call("policy/start").message == "only a ready executor can start, it is holding; call policy/rearm"
    robot.pause(0.5)
    assert len(robot.sent) == sent
    assert robot.call("policy/rearm").success
    robot.ros.until(lambda: len(robot.sent) > sent, "a chunk after the rearm")


def test_a_killed_server_leads_to_a_hold_with_its_reason_and_a_rearm_resumes(robot):
    robot.run()
    robot.server.kill()
    robot.ros.until(lambda: "holding: policy_failed" in robot.node.said or "holding: policy_silent" in robot.node.said, "a hold")
    robot.pause(0.5)
    assert robot.is_held()
    assert any(record.verdict == "policy_failed" and str(robot.server.port) in record.message for record in robot.records())
    status = robot.ros.until(lambda: robot.diagnostics[-1].status[0].level == b"\x02" and robot.diagnostics[-1].status[0], "the state")
    assert "policy_" in status.message
    robot.server.start()
    robot.ros.until(lambda: robot.server.serves, "the policy server")
    robot.run()


def test_a_deactivation_leaves_a_hold_as_the_last_message_and_the_node_can_be_activated_again(robot):
    robot.run()
    assert robot.change(Transition.TRANSITION_DEACTIVATE)
    robot.pause(1.0)
    sent = len(robot.sent)
    assert robot.is_held()
    assert not robot.call("policy/start").success
    robot.pause(0.5)
    assert len(robot.sent) == sent
    assert robot.change(Transition.TRANSITION_CLEANUP) and robot.change(Transition.TRANSITION_CONFIGURE)
    assert robot.change(Transition.TRANSITION_ACTIVATE)
    robot.run()


def test_a_killed_node_leaves_the_arm_to_rest_where_its_last_chunk_ends_and_a_new_one_moves_nothing_unasked(robot):
    robot.run()
    robot.node.kill()
    robot.pause(16 * 0.05 + 1.0)  # the whole chunk, and the approach to its last target
    assert robot.is_held()
    sent, told = len(robot.sent), len(robot.diagnostics)
    robot.node = robot.start_node()
    robot.ros.until(lambda: len(robot.diagnostics) > told, "diagnostics of the new node")
    robot.pause(1.0)
    assert len(robot.sent) == sent
    robot.run()


def test_a_signal_leaves_a_hold_as_the_last_message_too(robot):
    robot.run()
    assert robot.node.stop(signal.SIGTERM) == 0, robot.node.said
    robot.pause(1.0)
    assert robot.is_held() and "Traceback" not in robot.node.said


def test_what_cannot_be_configured_is_one_line_and_the_node_stays_what_cannot_be_a_parameter_ends_it(tmp_path):
    with ros_domain(tmp_path) as ros:
        missing, wrong = ros.start("policy_node", policy="runs/nowhere", autostart=True), ros.start("policy_node", controller="soft")
        assert wrong.wait() == 1 and wrong.said.count("\n") == 1
        assert wrong.said.startswith("error: controller must be one of 'hard', 'stamp', got 'soft'")
        misspelt = ros.start("policy_node", excute_horizon=8)
        assert misspelt.wait() == 1
        assert misspelt.said == 'error: unknown key "excute_horizon" in PolicySettings; did you mean "execute_horizon"?\n'
        ros.until(lambda: "\n" in missing.said, "what is wrong")
        assert "not configured: runs/nowhere: no such checkpoint folder" in missing.said and missing.said.count("\n") == 1
        assert missing.stop(signal.SIGINT) == 0


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"policy": ""}, InvalidConfig, "policy must be a checkpoint folder"),
        ({"robot": "r2d2"}, MissingFile, "unknown robot 'r2d2'"),
        ({"execute_horizon": 17}, InvalidHorizon, "execute_horizon must be in 1..16 .*, got 17"),
        ({"selector": "runs/selector"}, InvalidConfig, "selector must be empty or one of"),
        ({"policy": "python:small_arm_policies:timeless_policy"}, InvalidConfig, "control_dt_s must be above 0 for a policy"),
    ],
)
def test_what_does_not_fit_is_found_before_anything_listens(changes, error, message):
    with pytest.raises(error, match=message):
        assemble(PolicySettings(**{"policy": "python:small_arm_policies:swing_policy", **changes}))


def test_who_runs_a_policy_otherwise_than_it_was_made_for_is_warned(tmp_path):
    swing = {"policy": "python:small_arm_policies:swing_policy"}
    assert assemble(PolicySettings(**swing)).warnings == ()
    assert assemble(PolicySettings(**swing, control_dt_s=0.1)).warnings == ("control_dt_s is 0.1 s, the policy says 0.05 s",)
    small_state_policy(state_size=7, action_dim=7, chunk_size=16, action_kinds=("position",) * 7, control_dt_s=0.05).save_pretrained(
        str(tmp_path)
    )
    evidence = {"validation": {"success_rate": 1.0}}
    CheckpointFacts(8, control_dt_s=0.05, chunk_size=16, evidence=evidence, proven_on="2026-11-26").save(tmp_path)
    assert assemble(PolicySettings(policy=str(tmp_path))).warnings == ()
    assert assemble(PolicySettings(policy=str(tmp_path), execute_horizon=12)).warnings == ("execute_horizon is 12, proven up to 8",)
