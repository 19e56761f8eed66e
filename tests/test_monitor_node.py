"""The monitor as a process: it says what the monitor's logic says, and what it records can be read, also after kill -9."""

from __future__ import annotations

import json
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
from executor_rig import FINGERS, ROBOT, Rig, following, walk

from policytrim_gym.metrics import RolloutRecord
from policytrim_ros import messages
from policytrim_ros.control.chunk_execution import ChunkExecution, EndReason
from policytrim_ros.control.commands import Publish

for module in ("rclpy", "diagnostic_msgs", "rosbags"):
    pytest.importorskip(module)
# ruff: noqa: E402 - ROS may be missing, and then these are not there
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_processes import ros_domain
from rosbags.rosbag2 import Reader
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from std_srvs.srv import SetBool
from test_execution_monitor import heard
from trajectory_msgs.msg import JointTrajectory

from policytrim_ros.recording.reader import read_recording

pytestmark = pytest.mark.slow

JOINTS = (*ROBOT.config.joints, *FINGERS)


class Stage:
    """A monitor that records, and the test in the parts of arm and policy."""

    def __init__(self, ros, path):
        self.ros, self.path = ros, path
        self.process = ros.start("monitor_node", record=path, settle_s=0.3, tracking_warn_rad=10.0, tracking_error_rad=10.0)
        self.executions, self.rollouts = ros.listen(DiagnosticArray, "execution"), ros.listen(String, "rollout")
        self.diagnostics = ros.listen(DiagnosticArray, "/diagnostics")
        self.joint_states = ros.publisher(JointState, "joint_states")
        self.trajectories = ros.publisher(JointTrajectory, "joint_trajectory")
        self.chunk_info = ros.publisher(DiagnosticArray, "chunk_info")

    def play(self, rig):
        """Publishes what happened in a rig whose clock began now, when it happened."""
        published = [(at_s, command) for at_s, command in rig.commands if isinstance(command, Publish)]
        for at_s, state in rig.desired:
            time.sleep(max(0.0, at_s - time.time()))
            while published and published[0][0] <= at_s:
                _, command = published.pop(0)
                self.trajectories.publish(messages.to_joint_trajectory(command.arm))
                self.chunk_info.publish(messages.to_chunk_info(command.record, at_s))
            positions = np.append(state.positions, state.positions[-1])
            self.joint_states.publish(messages.to_joint_state(JOINTS, positions, np.zeros(8), at_s))

    def statuses(self, part):
        return [status for message in self.diagnostics for status in message.status if status.name.endswith(part)]


def values_of(status):
    return {pair.key: pair.value for pair in status.values}


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """A rollout of which the last chunk ran to its end, so that nothing depends on when the service was called."""
    folder = tmp_path_factory.mktemp("monitor")
    with ros_domain(folder) as ros:
        stage = Stage(ros, folder / "rec")
        rig = Rig(following(walk(6)), lambda question: 0.1 if question < 4 else float("inf"), start_s=round(time.time(), 2) + 3.0).begin()
        rig.run(3.0)
        stage.play(rig)
        answer = ros.call(SetBool, "monitor/end_rollout", SetBool.Request(data=True))
        assert answer.success and not ros.call(SetBool, "monitor/end_rollout", SetBool.Request(data=True)).success
        ros.until(lambda: stage.rollouts, "the rollout")
        yield stage, rig


def test_it_says_of_chunks_and_rollouts_what_its_logic_says(played):
    stage, rig = played
    expected, (rollout,) = heard(rig, (rig.now_s, True))
    said = [ChunkExecution.from_values(values_of(message.status[0])) for message in stage.executions]
    assert len(said) == len(expected) == 4 and [len(message.status) for message in stage.executions] == [1] * 4
    for one, other in zip(said[:-1], expected):
        # The wire counts nanoseconds, the rig's clock adds up floats.
        assert abs(one.record.stamp_s - other.record.stamp_s) < 1e-6
        assert replace(one.record, stamp_s=other.record.stamp_s) == other.record
        assert (one.executed_steps, one.reason, one.gap_s, one.rollout) == (other.executed_steps, other.reason, other.gap_s, 1)
        assert one.progress == other.progress
        assert one.tracking.largest == pytest.approx(other.tracking.largest, abs=1e-4)
    assert said[-1].reason is EndReason.ROLLOUT_ENDED and said[-1].gap_s > 0.5
    (message,) = stage.rollouts
    record = RolloutRecord.from_json(json.loads(message.data))
    assert record.success and record.executed_steps == rollout.record.executed_steps == tuple(chunk.executed_steps for chunk in said)
    assert record.chunk_utilization == rollout.record.chunk_utilization
    assert record.shortest_s == pytest.approx(rollout.record.shortest_s, rel=0.03)  # times in messages are rounded: one point more or less


def test_diagnostics_say_how_it_is(played):
    stage, _ = played
    stage.ros.until(lambda: stage.statuses("joint states") and b"\x02" == stage.statuses("joint states")[-1].level, "silence to be told")
    assert "no joint states for" in stage.statuses("joint states")[-1].message
    assert any(status.level == b"\x00" for status in stage.statuses("joint states"))
    assert values_of(stage.statuses("recording")[-1])["path"] == str(stage.path)
    gap = [status for status in stage.statuses("execution") if "waiting for a chunk" in status.message]
    assert gap and gap[0].level == b"\x01"


def test_what_cannot_be_read_is_named_and_changes_nothing(played):
    stage, _ = played
    stage.joint_states.publish(JointState(name=["joint_1"], position=[0.0]))
    stage.chunk_info.publish(DiagnosticArray())
    stage.trajectories.publish(JointTrajectory(joint_names=["joint_1"]))
    stage.ros.until(lambda: stage.process.said.count("[WARN]") >= 3 and "must hold one status" in stage.process.said, "the warnings")
    assert len(stage.executions) == 4 and "Traceback" not in stage.process.said


def test_a_recording_cut_off_by_kill_9_has_all_but_the_last_second(played):
    """The last test with this process."""
    stage, rig = played
    flushed = len(stage.statuses("recording"))
    stage.ros.until(lambda: len(stage.statuses("recording")) > flushed, "the next second")
    assert stage.process.stop(signal.SIGKILL) == -signal.SIGKILL
    assert not (stage.path / "metadata.yaml").exists()
    recording = read_recording(stage.path)
    assert recording.cut_off and recording.numbers == [1] and len(recording.chunks) == 4
    assert recording.rollouts[1].to_json() == json.loads(stage.rollouts[0].data)
    assert recording.chunks == tuple(ChunkExecution.from_values(values_of(message.status[0])) for message in stage.executions)
    sent = [command.arm.stamp_s for command in rig.of(Publish)]
    np.testing.assert_allclose([trajectory.stamp_s for trajectory in recording.trajectories], sent, rtol=0.0, atol=1e-6)
    stamps, positions = recording.measured.between(-np.inf, np.inf)
    assert len(stamps) > 0.9 * len(rig.desired)  # joint states may be lost on their way
    np.testing.assert_allclose(positions[0], rig.desired[0][1].positions[:6], atol=1e-12)


def test_a_recording_that_ends_is_whole_and_overwrites_nothing(tmp_path):
    (tmp_path / "rec").mkdir()
    with ros_domain(tmp_path) as ros:
        stage = Stage(ros, tmp_path / "rec")
        sent = []

        def publish():
            sent.append(time.time())
            stage.joint_states.publish(messages.to_joint_state(JOINTS, np.full(8, 0.01), np.zeros(8), sent[-1]))
            return any(status.message == "joint states come" for status in stage.statuses("joint states"))

        ros.until(publish, "a word on joint states")
        time.sleep(0.2)  # they are on their way
        assert stage.process.stop(signal.SIGINT) == 0 and "Traceback" not in stage.process.said
    assert not any((tmp_path / "rec").iterdir()) and (tmp_path / "rec-2" / "metadata.yaml").exists()
    with Reader(tmp_path / "rec-2") as reader:
        counts = {connection.topic: connection.msgcount for connection in reader.connections}
    assert counts["/diagnostics"] >= 1 and counts["/rollout"] == 0
    recording = read_recording(tmp_path / "rec-2")
    # What was sent before the two had found each other is nobody's.
    assert 0 < counts["/joint_states"] <= len(sent)
    assert not recording.cut_off and recording.chunks == () and recording.numbers == []


@pytest.mark.parametrize("reliability", [ReliabilityPolicy.BEST_EFFORT, ReliabilityPolicy.RELIABLE])
def test_joint_states_are_heard_whether_their_driver_publishes_reliably_or_not(tmp_path, reliability):
    with ros_domain(tmp_path) as ros:
        ros.start("monitor_node")
        diagnostics = ros.listen(DiagnosticArray, "/diagnostics")
        states = ros.probe.create_publisher(JointState, "joint_states", QoSProfile(depth=10, reliability=reliability))

        def publish():
            states.publish(messages.to_joint_state(JOINTS, np.full(8, 0.01), np.zeros(8), time.time()))
            return any(status.message == "joint states come" for message in diagnostics for status in message.status)

        ros.until(publish, "a word on joint states")


def test_a_wrong_parameter_is_one_line(tmp_path):
    with ros_domain(tmp_path) as ros:
        (tmp_path / "file").write_text("")
        wrong = ({"robot": "nobody"}, "nobody"), ({"record": tmp_path / "file" / "rec"}, "could not make the recording")
        processes = [(ros.start("monitor_node", **parameters), words) for parameters, words in wrong]
        for process, words in processes:
            assert process.wait() == 1, process.said
            assert len(process.said.splitlines()) == 1 and words in process.said
