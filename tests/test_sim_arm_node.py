"""The simulated arm as a process: what it publishes, what it does with trajectories, how it ends."""

from __future__ import annotations

import signal

import numpy as np
import pytest

from policytrim_gym.envs.arm.arm_env import CONTROL_DT_S, ArmEnv
from policytrim_gym.robot.robot_model import load_robot
from policytrim_ros import messages
from policytrim_ros.control.trajectory import Trajectory

for module in ("rclpy", "mujoco", "pybullet", "pinocchio", "pink"):
    pytest.importorskip(module)
# ruff: noqa: E402 - ROS may be missing, and then these are not there
from geometry_msgs.msg import PoseStamped
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from ros_processes import ros_domain
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger
from test_sim_arm import expert_targets, reference_of
from trajectory_msgs.msg import JointTrajectory

pytestmark = pytest.mark.slow

ROBOT = load_robot("policytrim_arm")
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def environment_at(index):
    env = ArmEnv("push")
    return env, env.reset(options={"split": "test", "initial_state": index})[0]


class Arm:
    """The node, seen from outside."""

    def __init__(self, ros, process):
        self.ros, self.process = ros, process
        self.states = ros.listen(JointState, "joint_states")
        self._trajectories = ros.publisher(JointTrajectory, "joint_trajectory")
        self.state(after_s=0.0)

    @property
    def now_s(self):
        return messages.to_seconds(self.states[-1].header.stamp)

    def state(self, after_s):
        """Returns the arm's positions (dof,) at the first joint state after this much more simulated time."""
        start = len(self.states)
        self.ros.until(lambda: len(self.states) > start, "joint states")
        end = self.now_s + after_s
        self.ros.until(lambda: self.now_s >= end, "joint states")
        return np.array(self.states[-1].position[: ROBOT.dof])

    def send(self, turn, duration_s, starts_in_s=None, names=ROBOT.config.joints):
        """Sends a trajectory of one waypoint that turns the first joint of home; returns its stamp."""
        target = np.array(ROBOT.home)
        target[0] += turn
        stamp_s = 0.0 if starts_in_s is None else self.now_s + starts_in_s
        trajectory = Trajectory(names, target[None, : len(names)], np.zeros((1, len(names))), np.array([duration_s]), stamp_s)
        self._trajectories.publish(messages.to_joint_trajectory(trajectory))
        return stamp_s

    def reset(self):
        return self.ros.call(Trigger, "sim_arm/reset", Trigger.Request())


@pytest.fixture(scope="module")
def arms(tmp_path_factory):
    """A controller of each kind, on the machine's clock as with a real arm, and on a clock of its own at twice its pace."""
    with ros_domain(tmp_path_factory.mktemp("hard")) as first, ros_domain(tmp_path_factory.mktemp("stamp")) as second:
        hard = first.start("sim_arm_node", first_state=4, max_episode_steps=30)
        stamp = second.start("sim_arm_node", engine="pybullet", controller="stamp", use_sim_time=True, real_time_factor=2.0)
        yield Arm(first, hard), Arm(second, stamp)


@pytest.fixture
def hard(arms):
    return arms[0]


@pytest.fixture
def stamp(arms):
    return arms[1]


def test_joint_states_name_all_joints_at_their_rate(hard, stamp):
    for arm, dt_s in ((hard, 0.0025), (stamp, 1 / 240)):
        arm.state(after_s=0.1)  # what waited for this test is older than what follows it
        first = len(arm.states)
        arm.state(after_s=0.5)
        window = arm.states[first:]
        for message in window:
            assert tuple(message.name) == (*ROBOT.config.joints, *ROBOT.config.gripper.joints)
            assert len(message.velocity) == ROBOT.dof + 2
            np.testing.assert_allclose(message.position, [*ROBOT.home, 0.04, 0.04], atol=1e-6)
        ticks = np.diff([messages.to_seconds(message.header.stamp) for message in window]) / 0.01
        assert np.median(ticks) == pytest.approx(1.0, abs=dt_s / 0.01)  # 100 Hz in simulated time, at the ends of physics steps
        np.testing.assert_allclose(ticks, ticks.round(), atol=dt_s / 0.01 + 1e-4)  # on a busy machine one may be lost


def test_a_trajectory_is_executed_and_held_and_a_wrong_one_changes_nothing(hard):
    hard.reset()
    hard.send(turn=0.3, duration_s=0.4)
    assert hard.state(after_s=0.7)[0] == pytest.approx(0.3, abs=5e-3)
    hard.send(turn=-0.3, duration_s=0.2, names=("shoulder",))
    hard.send(turn=-0.3, duration_s=0.2, starts_in_s=-5.0)
    assert hard.state(after_s=0.6)[0] == pytest.approx(0.3, abs=5e-3)
    hard.ros.until(lambda: "must have its joints" in hard.process.said and "must not end before now" in hard.process.said, "both refusals")


def test_a_future_stamp_moves_a_hard_controller_at_once(hard):
    hard.reset()
    hard.send(turn=0.4, duration_s=0.5, starts_in_s=2.0)
    assert 0.05 < hard.state(after_s=1.2)[0] < 0.35


def test_a_future_stamp_moves_a_stamp_controller_at_its_time(stamp):
    stamp.reset()
    first = len(stamp.states)
    starts_s = stamp.send(turn=0.4, duration_s=0.5, starts_in_s=2.0)
    assert stamp.state(after_s=2.8)[0] == pytest.approx(0.4, abs=5e-3)
    early = [message.position[0] for message in stamp.states[first:] if messages.to_seconds(message.header.stamp) <= starts_s]
    assert len(early) > 50
    np.testing.assert_allclose(early, 0.0, atol=1e-3)


def test_a_reset_goes_home_and_says_to_who_comes_late_what_to_do_with_what(hard):
    before = int(hard.reset().message.split()[2].rstrip(","))
    hard.send(turn=0.3, duration_s=0.2)
    hard.state(after_s=0.5)
    response = hard.reset()
    assert response.success and f"initial state {before + 1}" in response.message
    np.testing.assert_allclose(hard.state(after_s=0.3), ROBOT.home, atol=1e-3)
    instructions = hard.ros.listen(String, "instruction", LATCHED)
    hard.ros.until(lambda: instructions, "the instruction")
    env, _ = environment_at(before + 1)
    assert instructions[-1].data == env.instruction
    for body in ("object", "green", "yellow"):
        poses = hard.ros.listen(PoseStamped, f"pose/{body}")
        hard.ros.until(lambda poses=poses: poses, "poses")
        for value, expected in zip(messages.from_pose(poses[-1]), env.engine.body_pose(body)):
            np.testing.assert_allclose(value, expected, atol=1e-9)


def test_the_monitor_is_told_how_an_episode_ended(hard):
    told = []
    service = hard.ros.probe.create_service(SetBool, "monitor/end_rollout", lambda request, answer: told.append(request.data) or answer)
    hard.reset()
    hard.send(turn=0.1, duration_s=0.2)
    hard.ros.until(lambda: told, "the end of the episode, 30 control steps after its first trajectory")
    hard.state(after_s=0.3)
    assert told == [False]
    hard.ros.probe.destroy_service(service)


def test_the_motion_of_an_expert_sent_as_trajectories_succeeds(stamp):
    """Arm and gripper start at one stamp; the monitor hears of the success."""
    told = []
    service = stamp.ros.probe.create_service(SetBool, "monitor/end_rollout", lambda request, answer: told.append(request.data) or answer)
    env, observation = environment_at(int(stamp.reset().message.split()[2].rstrip(",")))
    targets = expert_targets(env, observation)
    positions, velocities = reference_of(env, [*targets, *[targets[-1]] * 40])
    velocities[-1] = 0.0  # a controller asks for it
    stamp_s = stamp.now_s + 2.0
    fingers = ROBOT.config.gripper.joints
    for names, columns in ((ROBOT.config.joints, [*range(ROBOT.dof)]), (fingers, [ROBOT.dof] * len(fingers))):
        times = np.arange(1, len(positions) + 1) * CONTROL_DT_S
        trajectory = Trajectory(names, positions[:, columns], velocities[:, columns], times, stamp_s)
        topic = "gripper_trajectory" if names == fingers else "joint_trajectory"
        stamp.ros.publisher(JointTrajectory, topic).publish(messages.to_joint_trajectory(trajectory))
    stamp.ros.until(lambda: told, "the end of the episode")
    assert told == [True]
    stamp.ros.probe.destroy_service(service)


def test_the_clock_is_that_of_the_joint_states_and_images_come(stamp):
    clock = stamp.ros.listen(Clock, "/clock")
    images = stamp.ros.listen(Image, "image/wrist", qos_profile_sensor_data)
    stamp.ros.until(lambda: len(clock) > 50 and images, "clock and images")
    stamps = {messages.to_seconds(message.header.stamp) for message in stamp.states}
    times = [messages.to_seconds(message.clock) for message in clock]
    assert times == sorted(times)
    assert len(stamps.intersection(times)) > 25  # on a busy machine some of either are lost
    assert images[0].header.frame_id == "wrist" and messages.to_seconds(images[0].header.stamp) <= times[-1]
    image = messages.from_image(images[0])
    assert image.shape == (96, 96, 3) and image.std() > 5


def test_signals_end_the_node_cleanly(hard, stamp):
    for arm, by in ((hard, signal.SIGTERM), (stamp, signal.SIGINT)):
        assert arm.process.stop(by) == 0, arm.process.said
        assert "Traceback" not in arm.process.said


def test_a_wrong_parameter_is_one_line(tmp_path):
    with ros_domain(tmp_path) as ros:
        unknown, outside = (ros.start("sim_arm_node", **parameters) for parameters in ({"engine": "havok"}, {"real_time_factor": 0.0}))
        for process, message in ((unknown, "engine must be one of 'mujoco', 'pybullet', got 'havok'"), (outside, "out of range")):
            assert process.wait() == 1
            assert len(process.said.splitlines()) == 1 and message in process.said
