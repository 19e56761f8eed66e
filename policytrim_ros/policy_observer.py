"""What a policy is shown on a robot: its observation, from what was measured and seen."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from policytrim_gym.envs.arm.observer import arm_state, state_size
from policytrim_gym.envs.arm.scene import Pose
from policytrim_gym.envs.arm.tasks import GOALS, OBJECT
from policytrim_gym.errors import InvalidSpec
from policytrim_gym.spec import PolicySpec
from policytrim_ros.control.action_joints import ActionJoints
from policytrim_ros.control.observation_joiner import JoinedObservation

IMAGE_KEY, IMAGE_TOPIC, POSE_TOPIC = "image_", "image/", "pose/"


class PolicyObserver:
    """Makes the observations that a policy's spec asks for, as `ArmObserver` makes them in the environment.

    "state" is, by its size: the arm's joints (dof); with the gripper's opening (dof + 1); what the arm of the environment measures
    (dof + 5); that and where the bodies are. "image_<camera>" is the image of the topic "image/<camera>" as it comes.

    Args:
        spec: of the policy.
        joints: what is measured.
        has_object: whether the task has an object beside its goals; only a state with bodies needs to know.

    Raises:
        InvalidSpec: a key, or a size of the state, that nothing here can make; a camera that no topic can be named after.
        MissingExtra: the tool's position is needed, and the kinematics are not installed.

    >>> from policytrim_gym.robot.robot_model import load_robot
    >>> spec = PolicySpec(8, 7, observation_shapes={"state": (7,), "image_front": (96, 96, 3)})
    >>> observer = PolicyObserver(spec, ActionJoints(load_robot("policytrim_arm")), has_object=True)
    >>> observer.frames
    ('image/front',)
    """

    def __init__(self, spec: PolicySpec, joints: ActionJoints, has_object: bool) -> None:
        self._robot, dof = joints.robot, joints.robot.dof
        self._cameras = tuple(key.removeprefix(IMAGE_KEY) for key in spec.observation_shapes if key.startswith(IMAGE_KEY))
        unknown = sorted(key for key in spec.observation_shapes if key != "state" and not key.startswith(IMAGE_KEY))
        if unknown:
            raise InvalidSpec(
                f'the policy needs "{unknown[0]}", a robot gives "state" and "image_<camera>": an observation map can fill it'
            )
        unfit = [camera for camera in self._cameras if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", camera) is None]
        if unfit:  # the subscription would be refused, when the node is activated and in no words
            raise InvalidSpec(
                f'a camera\'s name is part of the topic "image/<camera>" and must be letters, digits and _, got {unfit[0]!r}: '
                "an observation map can give another one"
            )
        self._size = self._state_size(spec, joints)
        bodies = self._size == state_size(dof, with_bodies=True)
        self._bodies = (*((OBJECT,) if has_object else ()), *GOALS) if bodies else ()
        self._kinematics: Any = None
        if self._size > dof + 1:
            from policytrim_gym.robot.kinematics import Kinematics

            self._kinematics = Kinematics(joints.robot)

    @property
    def frames(self) -> tuple[str, ...]:
        """Topics of images and poses that are needed."""
        return (*(f"{IMAGE_TOPIC}{camera}" for camera in self._cameras), *(f"{POSE_TOPIC}{body}" for body in self._bodies))

    def observation(self, joined: JoinedObservation, last_opening: float) -> dict[str, Any]:
        """Returns the observation.

        Args:
            joined: with images (height, width, 3) uint8 and poses (position [m], quaternion w x y z) under their topics.
            last_opening: the gripper's last target.
        """
        observation: dict[str, Any] = {"instruction": joined.instruction}
        observation |= {f"{IMAGE_KEY}{camera}": joined.frames[f"{IMAGE_TOPIC}{camera}"] for camera in self._cameras}
        if self._size:
            observation["state"] = self._state(joined, last_opening)
        return observation

    def _state(self, joined: JoinedObservation, last_opening: float) -> Any:
        arm = joined.positions[: self._robot.dof]
        if self._size == self._robot.dof:
            return arm.astype(np.float32)
        opening = float(self._robot.opening(joined.positions[-1]))
        if self._kinematics is None:
            return np.append(arm, opening).astype(np.float32)
        bodies = {body: Pose(*joined.frames[f"{POSE_TOPIC}{body}"]) for body in self._bodies} or None
        return arm_state(arm, opening, last_opening, self._kinematics.tool_pose(arm).position, bodies)

    def _state_size(self, spec: PolicySpec, joints: ActionJoints) -> int:
        """Returns the size of "state", 0 without one; one of any length is what the arm measures."""
        if "state" not in spec.observation_shapes:
            return 0
        dof = self._robot.dof
        measured = state_size(dof, with_bodies=False)
        known = [dof, dof + 1, measured, state_size(dof, with_bodies=True)] if joints.has_gripper else [dof]
        shape = spec.observation_shapes["state"]
        size = (measured if joints.has_gripper else dof) if shape == (None,) else shape[0] if len(shape) == 1 else None
        if size is None or size not in known:
            raise InvalidSpec(f"the policy's state must have one of {known} numbers for this arm and its actions, got shape {shape}")
        return size
