"""Ways to run a policy, each with its nodes as processes: tool motions, a selector, a stamp controller, pixels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import yaml

from policytrim_gym.envs.arm.arm_env import ArmEnv
from policytrim_ros.control.commands import PUBLISHED, ChunkRecord
from policytrim_ros.launch_plan import launch_plan

for module in ("rclpy", "mujoco", "pinocchio", "pink", "rosbags", "transformers"):
    pytest.importorskip(module)
# ruff: noqa: E402 - ROS may be missing, and then these are not there
from ros_processes import ROOT
from small_arm_vla import CHECKPOINT, FIRST, IMAGE_SIZE, save_small_arm_vla

from policytrim_ros.control.chunk_execution import ChunkExecution
from policytrim_ros.demo.node_processes import NodeProcesses, local_domain
from policytrim_ros.demo.rollout_driver import DrivenRollout, RolloutDriver
from policytrim_ros.nodes.policy_settings import PolicySettings
from policytrim_ros.recording.reader import read_recording

pytestmark = pytest.mark.slow

PATIENT = {
    "max_observation_age_s": 5.0,
    "max_state_age_s": 1.0,
    "joint_states_timeout_s": 5.0,
    "frame_timeout_s": 5.0,
    "policy_timeout_s": 20.0,
    "max_clock_gap_s": 5.0,
}
"""On a busy machine a process may stand still for a while."""
DT_S = 0.05


class Episode(NamedTuple):
    """What the topics said of an episode, and what monitor_node told of its chunks."""

    rollout: DrivenRollout
    executions: tuple[ChunkExecution, ...]
    log: str  # of monitor_node

    @property
    def published(self) -> list[ChunkRecord]:
        """The chunks that moved the arm, in the episode or until the stop after it."""
        return [chunk for chunk in self.rollout.chunks if chunk.verdict == PUBLISHED]


@pytest.fixture
def episode(tmp_path, monkeypatch):
    """Returns what runs one episode, with parameters of policy_node and arguments of sim.launch.py."""
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    monkeypatch.chdir(ROOT)

    def run(policy, parameters=None, num_steps=400, **given):
        files = {"policy": PATIENT | (parameters or {}), "sim_arm": {"max_episode_steps": num_steps}}
        for node, values in files.items():
            file = tmp_path / f"{node}.yaml"
            file.write_text(yaml.safe_dump({f"/**/{node}_node": {"ros__parameters": values}}))
            given[f"{node}_parameters"] = str(file)
        given = {"task": "reach", "policy": f"python:tests.{policy}"} | given
        given |= {"use_sim_time": "true", "record": str(tmp_path / "recording")}
        environment = local_domain()
        with NodeProcesses(launch_plan("sim", given), tmp_path, environment) as processes:
            with RolloutDriver(int(environment["ROS_DOMAIN_ID"]), processes.check) as driver:
                driver.wait_until_ready()
                rollout = driver.run(0)
        executions = read_recording(tmp_path / "recording").chunks
        return Episode(rollout, executions, (tmp_path / "monitor_node.log").read_text())

    return run


def test_motions_of_the_tool_reach_the_goal(episode):
    ran = episode("small_tool_policies:tool_reach_policy")
    assert ran.rollout.record.success and len(ran.published) >= 2
    told = [execution for execution in ran.executions if execution.rollout == 1]
    assert sum(execution.executed_steps for execution in told) == ran.rollout.record.steps
    assert all(execution.tracking is None or execution.tracking.largest < 0.1 for execution in told)


def test_a_selector_chooses_the_horizon_of_each_chunk_and_no_chunk_ends_before_it(episode):
    """The policy closes the gripper before step 6 of every other chunk."""
    ran = episode("small_tool_policies:flipping_policy", {"selector": "action-delta:0.5:3,6,12"}, num_steps=60)
    horizons = [chunk.execute_horizon for chunk in ran.rollout.chunks]  # refused ones too: the policy counts its answers
    assert len(horizons) >= 4 and horizons == [6 if number % 2 == 0 else 12 for number in range(len(horizons))]
    replaced = [execution for execution in ran.executions if execution.reason.value in ("replaced", "held")]
    assert replaced
    for execution in replaced:
        record = execution.record
        assert execution.executed_steps >= record.execute_horizon - record.dropped_steps


def test_with_a_stamp_controller_a_chunk_is_stamped_for_when_it_takes_over(episode):
    """At rest nothing is repeated before it, unlike with a hard controller, whose trajectories begin when they are sent."""
    ran = episode("small_arm_policies:reach_policy", controller="stamp")
    lead_s = PolicySettings().publish_lead_s
    assert ran.rollout.record.success and len(ran.published) >= 2
    first, *rest = ran.published
    assert first.join_s == pytest.approx(first.stamp_s, abs=1e-6)
    assert first.stamp_s >= first.observation_stamp_s + first.observation_age_s + lead_s - 1e-6
    assert all(-1e-6 <= chunk.join_s - chunk.stamp_s for chunk in rest)


def test_monitor_node_counts_by_what_chunk_info_says_and_warns_once_that_its_parameters_say_otherwise(episode):
    """Two steps of a chunk in the time of one of the parameter, and no step beyond the horizon."""
    parameters = {"control_dt_s": DT_S / 2, "asynchronous": False}
    ran = episode("small_arm_policies:swing_policy", parameters, num_steps=60)
    told = [execution for execution in ran.executions if execution.reason.value == "held"]
    assert len(told) >= 3 and {execution.executed_steps for execution in told} == {8}
    for execution, following in zip(ran.executions, ran.executions[1:]):
        if execution.reason.value == "held":
            begin_s, end_s = execution.record.join_s, following.record.join_s
            assert execution.gap_s == pytest.approx(end_s - begin_s - 8 * DT_S / 2, abs=1e-6)
    for name, here, there in (("control_dt_s", 0.05, 0.025), ("asynchronous", True, False)):
        assert ran.log.count(f"{name} is {here} here and {there} in chunk_info, which counts") == 1


def test_the_first_question_on_pixels_is_what_the_environment_shows_at_reset(episode, tmp_path, monkeypatch):
    """Bit for bit: size, order of channels, names of cameras, state. A policy would not say that it sees other images than in training."""
    monkeypatch.setenv(CHECKPOINT, str(save_small_arm_vla(tmp_path / "policy")))
    monkeypatch.setenv(FIRST, str(tmp_path / "first.npz"))
    arguments = {"task": "push", "first_state": "3", "image_size": str(IMAGE_SIZE), "clip": "all"}
    ran = episode("small_arm_vla:remembering_policy", num_steps=40, **arguments)
    assert len(ran.published) >= 2 and ran.rollout.stops == ()
    env = ArmEnv("push", observation="pixels", image_size=IMAGE_SIZE)
    shown, info = env.reset(options={"split": "test", "initial_state": 3})
    seen = np.load(tmp_path / "first.npz")
    assert set(seen) == {*shown, "instruction"} and str(seen["instruction"]) == info["instruction"]
    for key, value in shown.items():
        assert seen[key].dtype == value.dtype
        np.testing.assert_array_equal(seen[key], value, err_msg=key)
