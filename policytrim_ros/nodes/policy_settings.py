"""The parameters of policy_node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from policytrim_gym.config import check_fields
from policytrim_ros.parameters import check_ranges, ranged


@dataclass(frozen=True)
class PolicySettings:
    """Which policy runs on which arm, how its chunks are run, and what is refused or stops the arm.

    Args:
        policy: a checkpoint folder, ws://host:port (an openpi server) or python:module:factory.
        robot: name of a file in config/robots, or the path of a YAML file.
        observation_map: name or path of an observation map, for a model with keys of its own; empty: none.
        action: what the policy's actions are: "joint" targets, "tool_delta" motions of the tool, or "auto": what its action kinds say.
        has_object: whether the task has an object beside its goals (push, pick-place); asked only for a state with poses.
        clip: what of a chunk is cut to its range before the gate, which refuses what is beyond it: "none", the "gripper"'s opening, or
            "all", as evaluations do.
        execute_horizon: actions of a chunk to run before the next one takes over [steps]; 0: the checkpoint's.
        selector: chooses the horizon of each chunk instead: "fixed:16", "disagreement:0.5:8,16" or "action-delta:0.2:8,16"; empty: none.
        control_dt_s: between two actions [s]; 0: the policy's.
        asynchronous: ask while the arm moves, so early that it never waits; false: ask at the end of each window.
        controller: how the arm's controller replaces a trajectory: "hard", at once (released Humble, Jazzy, Kilted), or "stamp", at its
            time stamp (`allow_trajectory_replacement`).
        command_interface: how the controllers are told: "topic", or "action": goals of FollowJointTrajectory, which need control_msgs; the
            topics then have the same trajectories for the record.
        arm_action: name of the arm's action; a parameter, since remapping renames no action.
        gripper_action: likewise of the gripper's, where it has a controller of its own.
        gripper_controller: whether the fingers have a controller of their own (topic gripper_trajectory); false: joint_trajectory has all.
        publish_lead_s: from publishing until new motion takes over; longer than a message takes to the controller [s].
        points_per_step: waypoints in a control step; above 1 for controllers that ignore velocities.
        settle_s: longest approach to a chunk's last target when no other chunk comes [s].
        first_latency_s: what an answer is expected to take before any was measured [s].
        latency_margin_s: added to the measured latency; at least publish_lead_s and 0.01 s [s].
        joint_states_timeout_s: without new joint states for so long the arm is stopped [s].
        frame_timeout_s: likewise without a new image of a camera that the policy sees, or a pose [s].
        policy_timeout_s: likewise without an answer to a question [s].
        max_clock_gap_s: a clock that goes forward by more between two ticks has jumped [s].
        max_refusals: so many refused or failed answers in a row stop the arm.
        max_skew_s: of the images and poses of one observation, the oldest may be so much older than the newest [s].
        joint_tolerance_s: the nearest joint state may be so far from the newest image or pose [s].
        max_observation_age_s: from the observation to the chunk's arrival [s].
        max_state_age_s: of the measured joints that a chunk's start is compared with [s].
        clock_tolerance_s: an observation may be stamped so far ahead, by another machine's clock [s].
        target_step_s: a target may be so far from the one before as the joint moves in this time at its velocity limit [s].
        start_jump_s: the first target may be so far from the measured joint as it moves in this time at its velocity limit [s].
        autostart: configures and activates the node when it starts, without a lifecycle manager; policy/start is still needed to move.

    Raises:
        InvalidConfig: a value of another type or out of its range.
    """

    policy: str = ""
    robot: str = "policytrim_arm"
    observation_map: str = ""
    action: Literal["auto", "joint", "tool_delta"] = "auto"
    has_object: bool = True
    clip: Literal["none", "gripper", "all"] = "gripper"
    execute_horizon: int = ranged(0, 0, 10_000)
    selector: str = ""
    control_dt_s: float = ranged(0.0, 0.0, 10.0)
    asynchronous: bool = True
    controller: Literal["hard", "stamp"] = "hard"
    command_interface: Literal["topic", "action"] = "topic"
    arm_action: str = "/joint_trajectory_controller/follow_joint_trajectory"
    gripper_action: str = "/gripper_controller/follow_joint_trajectory"
    gripper_controller: bool = True
    publish_lead_s: float = ranged(0.02, 0.001, 0.5)
    points_per_step: int = ranged(1, 1, 100)
    settle_s: float = ranged(0.5, 0.0, 10.0)
    first_latency_s: float = ranged(0.2, 0.0, 10.0)
    latency_margin_s: float = ranged(0.03, 0.0, 1.0)
    joint_states_timeout_s: float = ranged(0.2, 0.01, 10.0)
    frame_timeout_s: float = ranged(0.5, 0.01, 10.0)
    policy_timeout_s: float = ranged(2.0, 0.01, 60.0)
    max_clock_gap_s: float = ranged(0.5, 0.05, 10.0)
    max_refusals: int = ranged(3, 1, 1000)
    max_skew_s: float = ranged(0.05, 0.001, 1.0)
    joint_tolerance_s: float = ranged(0.02, 0.001, 1.0)
    max_observation_age_s: float = ranged(1.0, 0.01, 60.0)
    max_state_age_s: float = ranged(0.1, 0.01, 1.0)
    clock_tolerance_s: float = ranged(0.02, 0.001, 1.0)
    target_step_s: float = ranged(0.25, 0.001, 10.0)
    start_jump_s: float = ranged(0.5, 0.001, 10.0)
    autostart: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        check_ranges(self)
