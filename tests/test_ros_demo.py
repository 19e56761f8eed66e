"""The ROS demo: its table has no difference where there is none, its processes end with it, its driver runs episodes."""

from __future__ import annotations

import functools
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from policytrim_gym.errors import InvalidConfig, WorkerFailed
from policytrim_gym.evaluation.efficiency_report import EfficiencyReport
from policytrim_gym.metrics import RolloutRecord
from policytrim_gym.policies.checkpoint_facts import CheckpointFacts
from policytrim_gym.spec import PolicySpec
from policytrim_ros.control.commands import ChunkRecord
from policytrim_ros.demo.comparison import Measured, difference_lines, table_lines
from policytrim_ros.demo.node_processes import NodeProcesses, local_domain
from policytrim_ros.launch_plan import LaunchPlan, NodeStart, launch_plan

for module in ("rclpy", "mujoco", "pinocchio", "pink"):
    pytest.importorskip(module)
# ruff: noqa: E402 - ROS may be missing, and then these are not there
from policytrim_ros.demo.rollout_driver import DrivenRollout, RolloutDriver, measured_delay_steps
from policytrim_ros.demo.subject import arm_facts, image_size, load_subject

ROOT = Path(__file__).resolve().parents[1]
PATIENT = """/**/policy_node:
  ros__parameters: {max_observation_age_s: 5.0, max_state_age_s: 1.0, joint_states_timeout_s: 5.0, frame_timeout_s: 5.0,
    policy_timeout_s: 20.0, max_clock_gap_s: 5.0}
"""
"""On a busy machine a process may stand still for a while."""


def arm(name, scale=1):
    records = [
        RolloutRecord.from_windows(index != 2, [8 * scale, 8 * scale, 4], 32, 1.0, 0.1, task="push", initial_state=index)
        for index in range(6)
    ]
    return EfficiencyReport.from_rollouts(name, records, execute_horizon=8, chunk_size=32)


def test_a_policy_that_does_the_same_twice_shows_no_difference():
    measured = Measured("base", arm("ros"), arm("gym"), 1.25, 0, ())
    assert (measured.success.difference, measured.ratios.steps.value, measured.ratios.replans.value) == (0.0, 1.0, 1.0)
    (line,) = difference_lines([measured])
    assert "success +0.0 points" in line and "steps 1.00x [1.00, 1.00], calls 1.00x [1.00, 1.00]" in line
    head, ros, gym = (re.split(r"\s{2,}", line) for line in table_lines([measured]))
    assert head == ["policy", "by", "h", "delay", "success", "steps", "calls", "wall-clock"]
    assert (ros[:4], gym[:4]) == (["base", "ROS 2", "8", "1.25"], ["base", "Gymnasium", "8", "0"]) and ros[4:] == gym[4:]


def test_a_horizon_that_gymnasium_counts_without_the_delay_is_explained():
    gym = EfficiencyReport.from_rollouts("gym", arm("gym").episodes, execute_horizon=6, chunk_size=32, inference_delay_steps=2)
    _, ros, twin, note = table_lines([Measured("base", arm("ros"), gym, 2.1, 0, ())])
    assert (re.split(r"\s{2,}", ros)[2:4], re.split(r"\s{2,}", twin)[2:4]) == (["8", "2.10"], ["6", "2"])
    assert note == "h in Gymnasium is that of ROS 2 less the delay: the same actions of each chunk run"


def test_ratios_say_how_many_times_more_ros_needed():
    measured = Measured("base", arm("ros", scale=2), arm("gym"), 1.0, 3, ("policy_silent", "policy_silent"))
    assert measured.ratios.steps.value == pytest.approx(36 / 20)
    assert "base: 3 answers were refused; stops of the arm: policy_silent 2x" in difference_lines([measured])


def test_the_delay_is_that_of_chunks_that_replaced_a_running_one():
    def chunk(dropped, verdict="published"):
        return ChunkRecord(1.0, 0.9, 8, 32, dropped, 1.0, 0.05, 0.1, verdict)

    record = arm("any").episodes[0]
    rollout = DrivenRollout(record, (chunk(0), chunk(2), chunk(3), chunk(9, "stale_state")), ())
    assert measured_delay_steps([rollout, rollout]) == 2.5
    assert measured_delay_steps([DrivenRollout(record, (chunk(0),), ())]) == 0.0


def test_a_folder_that_is_no_policy_for_the_arm_is_named(tmp_path):
    with pytest.raises(InvalidConfig, match=f"{re.escape(str(tmp_path))} must be a policy for the arm, .* run `make demo-arm` first"):
        arm_facts(tmp_path)
    CheckpointFacts(8, "PolicyTrim/MetaWorld-v0", {"tasks": ["reach-v3"]}).save(tmp_path)
    with pytest.raises(InvalidConfig, match="must be a policy for one task of PolicyTrim/Arm-v0, got PolicyTrim/MetaWorld-v0"):
        arm_facts(tmp_path)


@pytest.mark.slow
def test_simulated_arm_and_environment_show_a_policy_on_pixels_what_it_was_made_for(tmp_path):
    pytest.importorskip("transformers")
    from small_arm_vla import IMAGE_SIZE, save_small_arm_vla

    subject = load_subject(save_small_arm_vla(tmp_path, "pick-place"))
    given = {key: str(value) for key, value in subject.arm_arguments().items()}
    arm, policy, _ = (node.parameters for node in launch_plan("sim", given).nodes)
    assert (arm["task"], arm["image_size"], policy["has_object"], policy["policy"]) == ("pick-place", IMAGE_SIZE, True, str(tmp_path))
    env = subject.environment("pybullet")()
    assert {key: space.shape for key, space in env.observation_space.items()} == subject.policy.spec.observation_shapes
    assert env.unwrapped.engine_name == "pybullet"
    env.close()


def test_images_that_the_arm_does_not_draw_are_named():
    def spec(**images):
        return PolicySpec(8, 7, observation_shapes={"state": (11,)} | images)

    assert image_size(spec()) is None and image_size(spec(image_front=(None, None, 3))) is None
    with pytest.raises(InvalidConfig, match="may see .*'image_front', 'image_wrist'.*, got one that sees 'image_side'"):
        image_size(spec(image_side=(64, 64, 3)))
    for images in ({"image_front": (48, 64, 3)}, {"image_front": (64, 64, 3), "image_wrist": (96, 96, 3)}):
        with pytest.raises(InvalidConfig, match="square and all of one size, got a policy that sees"):
            image_size(spec(**images))


@pytest.mark.slow
def test_a_node_that_ends_is_named_with_what_it_said(tmp_path):
    plan = LaunchPlan((NodeStart("sim_arm_node", (), {"engine": "havok"}),), {})
    with NodeProcesses(plan, tmp_path, local_domain()) as processes:
        with pytest.raises(WorkerFailed, match="sim_arm_node must run on, it ended with exit code 1: error: engine must be one of"):
            while True:
                processes.check()


@pytest.mark.slow
def test_ctrl_c_ends_the_demo_and_all_of_its_nodes(tmp_path):
    """Ctrl-C in a terminal reaches this process alone: its nodes are in groups of their own."""
    script = (
        "import sys\nfrom policytrim_ros.demo import __main__ as demo\nfrom policytrim_ros.launch_plan import launch_plan\n"
        "from policytrim_ros.demo.node_processes import NodeProcesses, local_domain\nimport time\n"
        "def wait(_):\n"
        "    with NodeProcesses(launch_plan('monitor', {}), sys.argv[1], local_domain()) as processes:\n"
        "        print(processes._processes['monitor_node'].pid, flush=True)\n"
        "        time.sleep(60)\n"
        "demo.run = wait\nsys.exit(demo.main([]))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A job in the background inherits an ignored SIGINT.
        preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    node = int(process.stdout.readline())
    os.kill(node, 0)  # it is there
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and errors.splitlines()[-1] == "policytrim: error: interrupted; all nodes have ended"
    with pytest.raises(ProcessLookupError):
        os.kill(node, 0)


@pytest.mark.slow
def test_episodes_run_through_the_services_at_the_states_of_the_split(tmp_path, monkeypatch):
    (tmp_path / "patient.yaml").write_text(PATIENT)
    given = {
        "policy": "python:tests.small_arm_policies:reach_policy",
        "task": "reach",
        "use_sim_time": "true",
        "record": str(tmp_path / "recording"),
        "policy_parameters": str(tmp_path / "patient.yaml"),
    }
    environment = local_domain()
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    monkeypatch.chdir(ROOT)
    with NodeProcesses(launch_plan("sim", given), tmp_path, environment) as processes:
        with RolloutDriver(int(environment["ROS_DOMAIN_ID"]), processes.check) as driver:
            driver.wait_until_ready()
            rollouts = [driver.run(index) for index in range(2)]
    for index, rollout in enumerate(rollouts):
        record = rollout.record
        assert record.success and record.initial_state == index
        assert record.num_replans == len(record.executed_steps) <= len(rollout.chunks)
        assert sum(record.executed_steps) == record.steps <= 16 * record.num_replans
    assert (tmp_path / "recording" / "metadata.yaml").is_file()  # what a recording lacks that was not closed
