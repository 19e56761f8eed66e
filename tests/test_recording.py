"""Laws of recordings: what was written is read, as much of it as a cut leaves, and nothing else is taken for one."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from executor_rig import FINGERS, ROBOT, Rig, following, walk
from test_execution_monitor import heard

from policytrim_gym.cli.main import main
from policytrim_gym.errors import CorruptRecording, InvalidChunk
from policytrim_ros import messages
from policytrim_ros.control.chunk_execution import ChunkExecution
from policytrim_ros.control.commands import Publish
from policytrim_ros.control.execution_health import ERROR, OK, WARN, ExecutionThresholds, execution_health

for module in ("rclpy", "diagnostic_msgs", "rosbags", "jinja2", "matplotlib"):
    pytest.importorskip(module)
# ruff: noqa: E402 - ROS may be missing, and then these are not there
from rclpy.serialization import serialize_message
from std_msgs.msg import String

from policytrim_ros.recording.reader import commanded, read_recording
from policytrim_ros.recording.recorder import Recorder
from policytrim_ros.recording.summary import arm_of, rollout_rows, to_json

TOPICS = {
    "/arm/joint_states": "sensor_msgs/msg/JointState",
    "/arm/joint_trajectory": "trajectory_msgs/msg/JointTrajectory",
    "/arm/execution": "diagnostic_msgs/msg/DiagnosticArray",
    "/arm/rollout": "std_msgs/msg/String",
}
JOINTS = (*ROBOT.config.joints, *FINGERS)


@pytest.fixture(scope="module")
def rig():
    rig = Rig(following(walk(7)), 0.12).begin()
    rig.run(3.5)
    return rig


@pytest.fixture(scope="module")
def ended(rig):
    """Chunks and rollouts of a monitor: one success, one failure."""
    return heard(rig, (rig.now_s - 1.5, True), (rig.now_s - 0.1, False))


def record(path, rig, ended, close=True):
    """Writes what monitor_node would, flushed every second; returns the .mcap file."""
    chunks, rollouts = ended
    positions = [(at_s, np.append(state.positions, state.positions[-1])) for at_s, state in rig.desired]
    found = [(at_s, "joint_states", messages.to_joint_state(JOINTS, values, np.zeros(8), at_s)) for at_s, values in positions]
    sent = [(at_s, command.arm) for at_s, command in rig.commands if isinstance(command, Publish)]
    found += [(at_s, "joint_trajectory", messages.to_joint_trajectory(trajectory)) for at_s, trajectory in sent]
    found += [(chunk.end_s, "execution", messages.to_diagnostics("execution", 0, "", chunk.values(), 0.0)) for chunk in chunks]
    ends = [rollout.executions[-1].end_s for rollout in rollouts]
    found += [(end_s, "rollout", String(data=json.dumps(rollout.record.to_json()))) for end_s, rollout in zip(ends, rollouts)]
    recorder, flushed_s = Recorder(path, TOPICS), 0.0
    for at_s, topic, message in sorted(found, key=lambda part: part[0]):
        recorder.write(f"/arm/{topic}", serialize_message(message), round(at_s * 1e9))
        if at_s > flushed_s + 1.0:
            recorder.flush()
            flushed_s = at_s
    recorder.flush()
    if close:
        recorder.close()
    return recorder.path / f"{recorder.path.name}.mcap"


@pytest.fixture(scope="module")
def file(tmp_path_factory, rig, ended):
    return record(tmp_path_factory.mktemp("whole") / "rec", rig, ended)


def test_what_was_written_is_read(file, rig, ended):
    chunks, rollouts = ended
    for path in (file, file.parent):
        recording = read_recording(path)
        assert not recording.cut_off and recording.chunks == tuple(chunks) and recording.numbers == [1, 2]
        assert recording.rollouts == {rollout.number: rollout.record for rollout in rollouts}
    published = [command.arm for command in rig.of(Publish)]
    stamps = [[trajectory.stamp_s for trajectory in trajectories] for trajectories in (recording.trajectories, published)]
    np.testing.assert_allclose(*stamps, atol=1e-9, rtol=0)
    times = np.array([at_s for at_s, _ in rig.desired])
    begin = times > published[0].stamp_s + 0.05
    desired = np.array([state.positions[:-1] for _, state in rig.desired])
    # The rig's controller gets each trajectory 5 ms late, on the curve that it plays already.
    np.testing.assert_allclose(commanded(recording, ROBOT.config.joints, times)[begin], desired[begin], atol=1e-6)
    assert np.isnan(commanded(recording, ROBOT.config.joints, np.array([0.0]))).all()


def test_a_recording_that_is_cut_anywhere_is_read_up_to_there(file, tmp_path):
    whole, data = read_recording(file), file.read_bytes()
    counts = []
    for length in np.linspace(1, len(data) - 1, 20).astype(int):
        part = tmp_path / "part.mcap"
        part.write_bytes(data[:length])
        try:
            recording = read_recording(part)
        except CorruptRecording as error:
            assert "\n" not in str(error) and str(part) in str(error)
            assert not counts or counts[-1] == 0  # what could be read once can be read of more
            continue
        assert recording.cut_off and recording.chunks == whole.chunks[: len(recording.chunks)]
        assert set(recording.rollouts.items()) <= set(whole.rollouts.items())
        counts.append(len(recording.chunks))
    assert counts == sorted(counts) and counts[-1] == len(whole.chunks) and len(set(counts)) > 3


def test_one_that_was_never_closed_lacks_nothing_that_was_flushed(tmp_path, rig, ended):
    recording = read_recording(record(tmp_path / "rec", rig, ended, close=False))
    assert recording.cut_off and recording.chunks == tuple(ended[0]) and len(recording.rollouts) == 2


def test_damage_within_is_one_line_or_seen_in_nothing(file, tmp_path):
    data, random = file.read_bytes(), np.random.default_rng(0)
    broken = tmp_path / "broken.mcap"
    for _ in range(20):
        changed = bytearray(data)
        for place in random.integers(len(data), size=20):
            changed[place] = random.integers(256)
        broken.write_bytes(changed)
        try:
            read_recording(broken)
        except CorruptRecording as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("command", [[], ["--json", "-"]])
def test_report_prints_the_rollouts_and_draws_the_page(file, ended, capsys, command):
    assert main(["report", str(file.parent), *command]) == 0
    out = capsys.readouterr().out
    chunks, rollouts = ended
    if command:
        values = json.loads(out)
        assert values["arm"]["episodes"] == [rollout.record.to_json() for rollout in rollouts]
        assert [chunk["executed_steps"] for chunk in values["chunks"]] == [chunk.executed_steps for chunk in chunks]
        return
    lines = out.splitlines()
    assert "50.0 %" in lines[1] and f"wrote {file.with_suffix('.html')}" == lines[-1]
    for rollout in rollouts:
        cells = next(line for line in lines if line.startswith(f"{rollout.number} ")).split()
        assert cells[1:4] == ["yes" if rollout.record.success else "no", str(rollout.record.steps), str(rollout.record.num_replans)]
        assert cells[-1] == "rollout_ended" or "rollout_ended," in cells
    page = file.with_suffix(".html").read_text()
    assert page.count("<svg") == 2 and all(f">{joint}<" in page for joint in ROBOT.config.joints)


def test_the_arm_is_that_of_the_rollouts(file, ended):
    recording = read_recording(file)
    arm = arm_of(recording)
    assert arm.episodes == tuple(rollout.record for rollout in ended[1]) and (arm.execute_horizon, arm.chunk_size) == (8, 16)
    assert arm.inference_delay_steps == int(np.median([chunk.record.dropped_steps for chunk in ended[0] if chunk.record.dropped_steps]))
    assert len(rollout_rows(recording)) == 2
    json.dumps(to_json(recording), allow_nan=False)


def test_a_rollout_that_did_not_end_is_in_the_table(tmp_path, rig, ended):
    chunks, rollouts = ended
    recording = read_recording(record(tmp_path / "rec", rig, (chunks, rollouts[:1]), close=False))
    assert recording.numbers == [1, 2] and list(recording.rollouts) == [1]
    assert rollout_rows(recording)[1][1] == "not ended"


@pytest.mark.parametrize("content", [None, b"", b"text", b"\x89MCAP0\r\n", b"\x89MCAP0\r\n" + bytes(100)])
def test_what_is_no_recording_is_one_line(tmp_path, capsys, content):
    path = tmp_path / "rec.mcap"
    if content is not None:
        path.write_bytes(content)
    assert main(["report", str(path)]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and str(path) in err
    assert main(["report", str(tmp_path / "nothing")]) == 1 and "there is no" in capsys.readouterr().err


def test_a_foreign_recording_and_a_folder_without_one_are_named(tmp_path, capsys):
    recorder = Recorder(tmp_path / "rec", {"/chatter": "std_msgs/msg/String"})
    recorder.write("/chatter", serialize_message(String(data="hello")), 1)
    recorder.close()
    assert main(["report", str(tmp_path / "rec")]) == 1
    assert "must hold the topics execution and rollout of monitor_node, it holds ['/chatter']" in capsys.readouterr().err
    assert main(["report", str(tmp_path)]) == 1 and "holds 0" in capsys.readouterr().err


def test_report_takes_a_run_folder_or_a_recording(file, capsys):
    for arguments in ([], [str(file), "--out", "runs/demo"]):
        with pytest.raises(SystemExit) as exit:
            main(["report", *arguments])
        assert exit.value.code == 2 and capsys.readouterr().err.count("\n") == 1
    assert main(["report", str(file), "--markdown"]) == 1 and "are for a run folder" in capsys.readouterr().err


def test_an_execution_comes_back_from_its_topic(ended):
    for chunk in ended[0]:
        values = {key: "" if value is None else str(value) for key, value in chunk.values().items()}
        assert ChunkExecution.from_values(values) == chunk
    earlier = {key: value for key, value in values.items() if key not in ("control_dt_s", "asynchronous")}  # before they were recorded
    assert ChunkExecution.from_values(earlier) == replace(chunk, record=replace(chunk.record, control_dt_s=None, asynchronous=None))
    for key, value in (("reason", "bored"), ("executed_steps", "many"), ("asynchronous", "perhaps")):
        with pytest.raises(InvalidChunk, match="must hold the keys of its topic"):
            ChunkExecution.from_values({**values, key: value})


def test_health_is_the_worst_of_what_is_beyond_a_threshold(ended):
    chunk = next(chunk for chunk in ended[0] if chunk.tracking and chunk.progress)
    quiet = ExecutionThresholds(10.0, 10.0, 10.0, 10.0, 10.0)
    assert execution_health(chunk, quiet) == (OK, chunk.reason.value)
    slow = execution_health(chunk, ExecutionThresholds(10.0, 10.0, 10.0, 10.0, 0.05))
    assert slow == (WARN, "the policy took 0.12 s")
    both = execution_health(chunk, ExecutionThresholds(-1.0, -1.0, 10.0, 10.0, 0.05))
    assert both.level == ERROR and "was" in both.words and "the policy took" in both.words
