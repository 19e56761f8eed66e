"""A policy that is asked with what a robot measured, and answers with targets of the arm's joints."""

from __future__ import annotations

import time
from collections import deque
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from policytrim_gym.chunk import ActionChunk
from policytrim_gym.envs.arm.actions import ActionMode, JointTargets, ToolDeltas
from policytrim_gym.errors import InvalidConfig, InvalidSpec
from policytrim_gym.policy import ChunkPolicy
from policytrim_gym.replan import ReplanContext
from policytrim_gym.robot.robot_model import RobotModel
from policytrim_gym.selectors.loading import SELECTOR_KINDS, load_selector
from policytrim_gym.selectors.selector import HorizonSelector
from policytrim_gym.spec import PolicySpec
from policytrim_ros.control.action_joints import ActionJoints
from policytrim_ros.control.chunk_gate import ChunkAnswer
from policytrim_ros.control.policy_loop import Question
from policytrim_ros.policy_observer import PolicyObserver

Clip = Literal["none", "gripper", "all"]
REMEMBERED = 8
"""Chunks that a selector may be shown again; more are never under way."""


class ArmPolicy:
    """Builds the observation, asks, makes joint targets of tool motions, and has a selector choose the horizon.

    A policy of tool motions goes through `ToolDeltas`, the inverse kinematics of the arm environment: its motions are added, one after
    another, to the joint targets that held at the observation. So a chunk stands for a path from there, whatever steps of it are dropped
    when it takes over; where two chunks disagree, the arm goes over to the newer path instead of adding its motions to the older one.

    Args:
        policy: who is asked.
        robot: the arm.
        action: what the columns are: "joint", "tool_delta", or "auto": what the spec's action kinds say.
        clip: what is cut to its range before the gate, which refuses what is beyond it: "none", the "gripper"'s opening, or "all", as
            evaluations do.
        has_object: see `PolicyObserver`.
        gripper_controller: see `ActionJoints`.
        selector: chooses the horizon of each chunk; None leaves it to the executor.

    Raises:
        InvalidSpec: a policy that does not fit the arm, or does not say what its actions are.
        InvalidHorizon, InvalidConfig: a selector that does not fit the policy.
        MissingExtra: kinematics are needed and not installed.

    >>> from policytrim_gym.policy import CallablePolicy
    >>> from policytrim_gym.robot.robot_model import load_robot
    >>> robot = load_robot("policytrim_arm")
    >>> spec = PolicySpec(2, 7, observation_shapes={"state": (7,)}, action_kinds=("position",) * 7)
    >>> policy = ArmPolicy(CallablePolicy(lambda observation: [observation["state"]] * 2, spec), robot)
    >>> policy.joints.labels[-1], policy.observer.frames
    ('gripper opening', ())
    """

    def __init__(
        self,
        policy: ChunkPolicy,
        robot: RobotModel,
        action: str = "auto",
        clip: Clip = "gripper",
        has_object: bool = True,
        gripper_controller: bool = True,
        selector: HorizonSelector | None = None,
    ) -> None:
        self._policy, self._clip, self._selector = policy, clip, selector
        self.spec: PolicySpec = policy.spec
        tool = _is_tool_delta(self.spec, action)
        if not tool and self.spec.action_dim not in (robot.dof, robot.dof + 1):
            raise InvalidSpec(
                f"the policy's actions must have {robot.dof} or {robot.dof + 1} numbers for this arm, got {self.spec.action_dim}"
            )
        self.joints = ActionJoints(robot, tool or self.spec.action_dim == robot.dof + 1, gripper_controller)
        self.observer = PolicyObserver(self.spec, self.joints, has_object)
        self._mode: ActionMode | None = None
        if tool:
            from policytrim_gym.robot.kinematics import Kinematics

            self._mode = ToolDeltas(robot, Kinematics(robot))
        if selector is not None:
            selector.check_policy(self.spec)
            rates = {choice.playback_rate for choice in selector.choices} - {1.0}
            if rates:
                raise InvalidConfig(f"a selector's playback rate must be 1 on a robot, got {max(rates):g}")
        self._chunks: deque[tuple[float, ActionChunk]] = deque(maxlen=REMEMBERED)

    def answer(self, question: Question) -> ChunkAnswer:
        """Asks the policy.

        Raises:
            whatever the policy raises; InvalidChunk for tool motions beyond their range.
        """
        stamp_s = question.joined.stamp_s
        observation = self.observer.observation(question.joined, float(question.last_targets[-1]))
        if question.previous_stamp_s is None:
            self._policy.reset()
        begin_s = time.monotonic()
        chunk = self._policy.predict_action_chunk(observation)
        inference_s = time.monotonic() - begin_s
        horizon = None if self._selector is None else self._selected(chunk, question, observation)
        self._chunks.append((stamp_s, chunk))
        return ChunkAnswer(self._targets(chunk, question), self.joints.labels, stamp_s, horizon, inference_s)

    def _selected(self, chunk: ActionChunk, question: Question, observation: dict[str, Any]) -> int:
        """Returns the selector's horizon, shown the present chunk's rest as in an evaluation."""
        assert self._selector is not None
        previous = dict(self._chunks).get(question.previous_stamp_s) if question.previous_stamp_s is not None else None
        context = ReplanContext(observation, chunk, previous, question.consumed_steps if previous is not None else 0)
        return self._selector.select([context])[0].execute_horizon

    def _targets(self, chunk: ActionChunk, question: Question) -> NDArray[np.float64]:
        """Returns a chunk as joint targets [rad] and gripper openings, (chunk_size, n)."""
        actions = chunk.actions.astype(np.float64)
        if self._mode is not None:
            return self._from_tool_motions(actions, question)
        cut = np.clip(actions, self.joints.lower, self.joints.upper)
        if self._clip == "all":
            return cut
        if self._clip == "gripper" and self.joints.has_gripper:
            actions[:, -1] = cut[:, -1]
        return actions

    def _from_tool_motions(self, actions: NDArray[np.float64], question: Question) -> NDArray[np.float64]:
        mode = self._mode
        assert mode is not None
        columns = {"none": 0, "gripper": 1, "all": actions.shape[1]}[self._clip]
        low, high = mode.space.low.astype(np.float64), mode.space.high.astype(np.float64)
        if columns:
            actions[:, -columns:] = np.clip(actions[:, -columns:], low[-columns:], high[-columns:])
        command, targets = question.last_targets[: self.joints.robot.dof], []
        for action in actions:
            command = mode.joint_targets(mode.checked(action), command)
            targets.append(np.append(command, action[-1]))
        return np.array(targets)


def load_rule(text: str, policy_uri: str) -> HorizonSelector | None:
    """Returns a selector that needs nothing but chunks, None for an empty text.

    Raises:
        InvalidConfig: another one, such as a learned one.

    >>> load_rule("fixed:8", "runs/arm").name, load_rule("", "runs/arm")
    ('h=8', None)
    """
    if not text:
        return None
    if text.partition(":")[0] not in SELECTOR_KINDS or ":" not in text:
        raise InvalidConfig(f"selector must be empty or one of {', '.join(f'{kind}:...' for kind in SELECTOR_KINDS)}, got {text!r}")
    return load_selector(text, policy_uri)


def _is_tool_delta(spec: PolicySpec, action: str) -> bool:
    """Returns whether actions are tool motions, and refuses what is neither those nor joint targets."""
    if action not in ("auto", JointTargets.name, ToolDeltas.name):
        raise InvalidConfig(f"action must be auto, {JointTargets.name} or {ToolDeltas.name}, got {action!r}")
    if action == ToolDeltas.name:
        if spec.action_dim != len(ToolDeltas.KINDS):
            raise InvalidSpec(f"tool motions must have {len(ToolDeltas.KINDS)} numbers, got a policy with {spec.action_dim}")
        return True
    if action == JointTargets.name:
        return False
    if spec.action_kinds is None:
        raise InvalidSpec(f"the policy says no action kinds: action must be {JointTargets.name} or {ToolDeltas.name}, got auto")
    if spec.action_kinds == ToolDeltas.KINDS:
        return True
    if set(spec.action_kinds) != {"position"}:
        raise InvalidSpec(f"action kinds must be joint targets, all position, or tool motions {ToolDeltas.KINDS}, got {spec.action_kinds}")
    return False
