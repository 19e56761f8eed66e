"""Scripted experts of the arm's tasks, at full speed and at the pace of a human teleoperator."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from policytrim_gym.envs.arm.scene import TABLE_FRICTION
from policytrim_gym.envs.arm.tasks import OBJECT
from policytrim_gym.envs.pacer import Pacer
from policytrim_gym.errors import InvalidConfig
from policytrim_gym.robot.kinematics import ToolPose

if TYPE_CHECKING:
    from policytrim_gym.envs.arm.arm_env import ArmEnv

SPEED = {"full-speed": 0.25, "slow-uneven": 0.25, "saturated": 0.5}
"""Of the tool [m/s]; about what a person who steers an arm dares at most, and what this arm can do at best."""

DEMONSTRATORS = tuple(SPEED)

TURN_SPEED = {"full-speed": 1.5, "slow-uneven": 1.5, "saturated": 3.0}  # [rad/s]
NEAR = 0.008
"""A waypoint is passed when the measured tool is that near [m]."""

HOVER = 0.10  # height above an object or goal [m]
FORK_OPENING = 0.45  # the puck lies in the gap between the finger tips
FORK_HEIGHT = 0.028
FORK_REACH = 0.034  # from the middle of the fingers to that of a puck which touches both [m]
APPROACH = 0.045  # how far behind the puck the fingers come down beyond that [m]
LOST = 0.03  # a puck that far beside the fork, or a cube that far from the hand, is lost [m]
GRASP_STEPS = 8
PUCK_BRAKING = 0.5 * TABLE_FRICTION * 9.81
"""Half of what friction does to a puck that slides on [m/s^2]."""


class Waypoint(NamedTuple):
    """Where the tool shall go."""

    position: NDArray[np.float64]  # (3,)
    yaw: float  # about the vertical, 0 as in the home pose [rad]
    opening: float
    hold_steps: int = 0  # stay there so long once arrived, as a grasp needs
    braking: float = np.inf  # what the tool pushes must stop with it [m/s^2]


class ArmExpert:
    """Moves the tool along straight lines between waypoints and answers in the environment's own actions.

    "slow-uneven" scales the motion by a pace that is drawn for each phase, uniform in [0.25, 1], and makes short pauses (see `Pacer`).
    "saturated" moves as fast as the arm can follow: a reference for the steps that a task needs, no demonstrator to clone.

    Args:
        env: the environment that it acts in; its engine is read for where everything is, whatever the observation holds.
        demonstrator: "full-speed", "slow-uneven" or "saturated".
        seed: of the pace and the pauses.

    Raises:
        InvalidConfig: an unknown demonstrator.

    >>> from policytrim_gym.envs.arm.arm_env import ArmEnv
    >>> env = ArmEnv("reach")
    >>> observation, info = env.reset(options={"initial_state": 0})
    >>> expert = ArmExpert(env, "full-speed")
    >>> while not info["success"]:
    ...     observation, _, _, _, info = env.step(expert.action(observation))
    """

    def __init__(self, env: ArmEnv, demonstrator: str, seed: int = 0) -> None:
        if demonstrator not in DEMONSTRATORS:
            raise InvalidConfig(f"demonstrator must be one of {DEMONSTRATORS}, got {demonstrator!r}")
        self._env = env
        self._demonstrator = demonstrator
        self._random = np.random.default_rng(seed)
        self._home_rotation = env.kinematics.tool_pose(env.robot.home).rotation
        self.reset()

    def reset(self) -> None:
        """Starts a new episode."""
        self._pacer = Pacer(self._random)
        self._plan: Iterator[Waypoint] | None = None

    def action(self, observation: Mapping[str, Any]) -> NDArray[np.float32]:
        """Returns the next action, in the environment's action space."""
        env = self._env
        if self._plan is None:
            self._plan = _PLANS[env.task.name](self)
        waypoint = next(self._plan)
        pace = self._pacer.pace(waypoint.opening, in_contact=False) if self._demonstrator == "slow-uneven" else 1.0
        command = env.command[:-1]
        pose = self._stepped(env.kinematics.tool_pose(command), waypoint, pace)
        targets = env.kinematics.joints_for(pose, command)
        action = np.append(env.action_mode.towards(targets, command), waypoint.opening)
        return np.clip(action, env.action_mode.space.low, env.action_mode.space.high).astype(np.float32)

    def _stepped(self, start: ToolPose, waypoint: Waypoint, pace: float) -> ToolPose:
        """Returns the pose one control step nearer to the waypoint."""
        env = self._env
        goal = ToolPose(waypoint.position, _about_vertical(waypoint.yaw) @ self._home_rotation)
        difference = goal.difference(start)
        way, turn = (max(float(np.linalg.norm(part)), 1e-9) for part in (difference[:3], difference[3:]))
        speed = min(SPEED[self._demonstrator], float(np.sqrt(2.0 * waypoint.braking * way)))
        shares = [pace * env.control_dt_s * rate for rate in (speed / way, TURN_SPEED[self._demonstrator] / turn)]
        share = min(1.0, *shares)  # translation and rotation end together
        return start.moved(share * difference[:3], share * difference[3:])

    # Waypoints, one for each step.

    def _go(self, waypoint: Waypoint) -> Iterator[Waypoint]:
        """Yields the waypoint until the tool has arrived and held."""
        held = 0
        while True:
            pose = self._env.engine.tool_pose()
            commanded = self._env.kinematics.tool_pose(self._env.command[:-1])
            there = max(_distance(pose.position, waypoint.position), _distance(commanded.position, waypoint.position)) < NEAR
            turned = abs(_wrapped(waypoint.yaw - _yaw_of(commanded.rotation @ self._home_rotation.T), 2 * np.pi)) < 0.05
            if there and turned:
                if held >= waypoint.hold_steps:
                    return
                held += 1
            yield waypoint

    def _plan_reach(self) -> Iterator[Waypoint]:
        while True:
            yield Waypoint(self._goal(), 0.0, 1.0)

    def _plan_push(self) -> Iterator[Waypoint]:
        while True:
            way = (self._goal() - self._object())[:2]
            yaw = float(np.arctan2(way[1], way[0]))
            along = np.array([np.cos(yaw), np.sin(yaw), 0.0])
            behind = self._object() - (FORK_REACH + APPROACH) * along
            for height in (HOVER, FORK_HEIGHT):
                yield from self._go(Waypoint(_at_height(behind, height), yaw, FORK_OPENING))
            while not self._left_fork(along):
                yield Waypoint(_at_height(self._goal() - FORK_REACH * along, FORK_HEIGHT), yaw, FORK_OPENING, braking=PUCK_BRAKING)
            yield from self._lift(yaw, FORK_OPENING)

    def _plan_pick_place(self) -> Iterator[Waypoint]:
        while True:
            cube = self._object()
            yaw = _wrapped(self._env.engine.body_pose(OBJECT).yaw, np.pi / 2)  # a cube looks the same after a quarter turn
            for height in (HOVER, 0.0):
                yield from self._go(Waypoint(cube + (0.0, 0.0, height), yaw, 1.0))
            yield from self._go(Waypoint(cube, yaw, 0.0, hold_steps=GRASP_STEPS))
            over = [_at_height(cube, HOVER), _at_height(self._goal(), HOVER), _at_height(self._goal(), cube[2] + 0.002)]
            for position in over:
                yield from self._go(Waypoint(position, yaw, 0.0))
                if _distance(self._object(), self._env.engine.tool_pose().position) > LOST:
                    break
            yield from self._go(Waypoint(over[-1], yaw, 1.0, hold_steps=GRASP_STEPS))
            yield from self._lift(yaw, 1.0)

    def _lift(self, yaw: float, opening: float) -> Iterator[Waypoint]:
        here = self._env.engine.tool_pose().position
        yield from self._go(Waypoint(_at_height(here, HOVER), yaw, opening))

    def _left_fork(self, along: NDArray[np.float64]) -> bool:
        """Returns whether to push anew: the puck slipped away sideways or past the fingers, or lies still where they have arrived."""
        offset = self._object() - self._env.engine.tool_pose().position
        forwards = float(offset @ along)
        sideways = float(abs(offset[0] * along[1] - offset[1] * along[0]))
        arrived = _distance(self._env.engine.tool_pose().position[:2], (self._goal() - FORK_REACH * along)[:2]) < NEAR / 2
        return sideways > LOST or forwards < 0.0 or (arrived and self._env.engine.body_speed(OBJECT) < 1e-3)

    def _goal(self) -> NDArray[np.float64]:
        return self._env.measure().goal

    def _object(self) -> NDArray[np.float64]:
        return self._env.engine.body_pose(OBJECT).position


_PLANS: dict[str, Callable[[ArmExpert], Iterator[Waypoint]]] = {
    "reach": ArmExpert._plan_reach,
    "push": ArmExpert._plan_push,
    "pick-place": ArmExpert._plan_pick_place,
}


def _at_height(position: NDArray[np.float64], height: float) -> NDArray[np.float64]:
    return np.array([position[0], position[1], height])


def _distance(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(one - other))


def _about_vertical(yaw: float) -> NDArray[np.float64]:
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])


def _yaw_of(rotation: NDArray[np.float64]) -> float:
    return float(np.arctan2(rotation[1, 0], rotation[0, 0]))


def _wrapped(angle: float, period: float) -> float:
    """Returns the angle nearest to 0 that differs by whole periods [rad]."""
    return (angle + period / 2) % period - period / 2
