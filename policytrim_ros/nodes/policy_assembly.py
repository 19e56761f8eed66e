"""Makes policy and loop from the parameters of policy_node."""

from __future__ import annotations

import math
from typing import NamedTuple

from policytrim_gym.errors import InvalidConfig
from policytrim_gym.policies.checkpoint_facts import load_facts
from policytrim_gym.policies.mapped_policy import load_mapped_policy
from policytrim_gym.policies.proof import RunSetting, unproven_settings
from policytrim_gym.robot.robot_model import load_robot
from policytrim_gym.spec import PolicySpec
from policytrim_ros.arm_policy import ArmPolicy, load_rule
from policytrim_ros.control.chunk_executor import JOINT_STATES, POLICY, ChunkExecutor
from policytrim_ros.control.chunk_gate import ChunkGate, GateConfig
from policytrim_ros.control.executor_config import ExecutorConfig
from policytrim_ros.control.latency_estimator import LatencyEstimator
from policytrim_ros.control.observation_joiner import ObservationJoiner
from policytrim_ros.control.policy_loop import PolicyLoop
from policytrim_ros.control.watchdog import Watchdog
from policytrim_ros.nodes.policy_settings import PolicySettings


class Assembly(NamedTuple):
    """What a configured node holds."""

    policy: ArmPolicy
    loop: PolicyLoop
    warnings: tuple[str, ...]  # ways in which the policy is run otherwise than it was proven or trained


def assemble(settings: PolicySettings) -> Assembly:
    """Loads policy and robot and wires them.

    Raises:
        PolicyTrimError: whatever does not fit or cannot be loaded, named in one line.
    """
    if not settings.policy:
        raise InvalidConfig('policy must be a checkpoint folder, ws://host:port or python:module:factory, got ""')
    model = load_mapped_policy(settings.policy, settings.observation_map, settings.policy_timeout_s)
    policy = ArmPolicy(
        model,
        load_robot(settings.robot),
        settings.action,
        settings.clip,
        settings.has_object,
        settings.gripper_controller,
        load_rule(settings.selector, settings.policy),
    )
    config = _executor_config(settings, policy.spec)
    frames = policy.observer.frames
    timeouts = {JOINT_STATES: settings.joint_states_timeout_s, **dict.fromkeys(frames, settings.frame_timeout_s)}
    executor = ChunkExecutor(
        config,
        policy.joints,
        ChunkGate(policy.joints, config.chunk_size, _gate_config(settings)),
        Watchdog(timeouts, {POLICY: settings.policy_timeout_s}, settings.max_clock_gap_s),
        LatencyEstimator(config.control_dt_s, settings.first_latency_s, margin_s=settings.latency_margin_s),
    )
    joiner = ObservationJoiner(frames, policy.spec.needs_instruction, settings.max_skew_s, settings.joint_tolerance_s)
    return Assembly(policy, PolicyLoop(executor, policy.joints, joiner), _warnings(settings, policy.spec, config))


def _executor_config(settings: PolicySettings, spec: PolicySpec) -> ExecutorConfig:
    control_dt_s = settings.control_dt_s or spec.control_dt_s
    if control_dt_s is None:
        raise InvalidConfig(f"control_dt_s must be above 0 for a policy that does not say its own, got {settings.control_dt_s:g}")
    return ExecutorConfig(
        control_dt_s=control_dt_s,
        chunk_size=spec.chunk_size,
        execute_horizon=settings.execute_horizon or spec.horizon,
        asynchronous=settings.asynchronous,
        publish_lead_s=settings.publish_lead_s,
        replacement=settings.controller,
        points_per_step=settings.points_per_step,
        settle_s=settings.settle_s,
        max_refusals=settings.max_refusals,
    )


def _gate_config(settings: PolicySettings) -> GateConfig:
    return GateConfig(
        max_observation_age_s=settings.max_observation_age_s,
        max_state_age_s=settings.max_state_age_s,
        clock_tolerance_s=settings.clock_tolerance_s,
        target_step_s=settings.target_step_s,
        start_jump_s=settings.start_jump_s,
    )


def _warnings(settings: PolicySettings, spec: PolicySpec, config: ExecutorConfig) -> tuple[str, ...]:
    lines = []
    trained_s = spec.control_dt_s
    if trained_s is not None and not math.isclose(trained_s, config.control_dt_s, rel_tol=1e-6):
        lines.append(f"control_dt_s is {config.control_dt_s:g} s, the policy says {trained_s:g} s")
    if not spec.observation_shapes:
        lines.append("the policy does not say what it needs to see, and is shown nothing but the instruction: an observation map names it")
    facts = None if "://" in settings.policy or settings.policy.startswith("python:") else load_facts(settings.policy)
    if facts is not None:
        horizon = None if settings.selector else config.execute_horizon
        present = RunSetting(
            control_dt_s=config.control_dt_s, chunk_size=config.chunk_size, execute_horizon=horizon, playback_rate=1.0
        )  # where it runs, and how late its answers come, no parameter says
        lines += unproven_settings(facts.proven_settings, present)
    return tuple(lines)
