"""The tasks of the arm: what lies on the table, what is asked, when it is done."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from policytrim_gym.envs.arm.scene import Body, Camera, Pose, Scene

GOALS = ("green", "yellow")
"""Both are always there; only the instruction says which one is meant."""

OBJECT = "object"
RED, GREEN, YELLOW = (0.85, 0.13, 0.10), (0.10, 0.65, 0.20), (0.95, 0.78, 0.10)

MIDDLE = np.array([0.38, 0.0])
"""Of the task space in front of policytrim_arm [m]; a robot file's `scene_offset` moves it."""

CAMERAS = (
    Camera("front", 46.0, position=(1.05, -0.34, 0.66), target=(0.26, 0.0, 0.15)),
    Camera("wrist", 75.0),
)

PAD_HALF_HEIGHT = 0.001  # [m]
PADS = tuple(Body(goal, "cylinder", (0.05, PAD_HALF_HEIGHT), colour) for goal, colour in zip(GOALS, (GREEN, YELLOW)))
"""The goals of an object."""

_UPRIGHT = np.array([1.0, 0.0, 0.0, 0.0])


class Layout(NamedTuple):
    """One initial state: where bodies stand [m], and which goal is meant."""

    poses: Mapping[str, Pose]
    goal: str


class Measurement(NamedTuple):
    """Where the arm and the object are at the end of a control step, and where the goal that is meant is.

    >>> pose = Pose(np.array([0.3, 0.0, 0.02]), np.array([1.0, 0.0, 0.0, 0.0]))
    >>> Measurement(np.zeros(6), 1.0, np.zeros(3), np.array([0.3, 0.1, 0.001]), pose, 0.0).object_from_goal
    0.1
    """

    joints: NDArray[np.float64]  # (dof,) [rad]
    opening: float  # of the gripper, 0 closed, 1 open
    tool: NDArray[np.float64]  # (3,) [m]
    goal: NDArray[np.float64]  # (3,) [m]
    object: Pose | None  # None where a task has none
    object_speed: float  # [m/s]

    @property
    def object_from_goal(self) -> float:
        """Distance along the table between the middles of object and goal [m]."""
        assert self.object is not None
        return float(np.linalg.norm((self.object.position - self.goal)[:2]))


class ArmTask(ABC):
    """One task; it holds no state."""

    name: ClassVar[str]
    request: ClassVar[str]  # the instruction, with {goal} for the colour
    bodies: ClassVar[tuple[Body, ...]]

    def scene(self, offset: NDArray[np.float64]) -> Scene:
        """Returns what stands on the table; `offset` (2,) moves everything for larger arms [m]."""
        x, y = float(offset[0]), float(offset[1])
        return Scene(self.bodies, CAMERAS).moved(x, y)

    def instruction(self, goal: str) -> str:
        """Returns the sentence that asks for the goal of this colour."""
        return self.request.format(goal=goal)

    @property
    def has_object(self) -> bool:
        """Whether there is something to move."""
        return any(not body.is_marker for body in self.bodies)

    def layout(self, random: np.random.Generator, offset: NDArray[np.float64]) -> Layout:
        """Draws an initial state."""
        goal = GOALS[int(random.integers(len(GOALS)))]
        return Layout(self._poses(random, MIDDLE + offset), goal)

    @abstractmethod
    def succeeded(self, measured: Measurement) -> bool:
        """Returns whether the task is done."""

    @abstractmethod
    def _poses(self, random: np.random.Generator, middle: NDArray[np.float64]) -> dict[str, Pose]:
        """Draws where each body stands."""


class Reach(ArmTask):
    """The point between the fingers comes within 2 cm of a ball in the air.

    >>> Reach().instruction("green")
    'move the gripper to the green ball'
    """

    name = "reach"
    request = "move the gripper to the {goal} ball"
    bodies = (Body("green", "sphere", (0.02,), GREEN), Body("yellow", "sphere", (0.02,), YELLOW))
    tolerance, goals_apart = 0.02, 0.15

    def succeeded(self, measured: Measurement) -> bool:
        return bool(np.linalg.norm(measured.tool - measured.goal) < self.tolerance)

    def _poses(self, random: np.random.Generator, middle: NDArray[np.float64]) -> dict[str, Pose]:
        low, high = np.append(middle - (0.08, 0.20), 0.06), np.append(middle + (0.08, 0.20), 0.22)
        green = random.uniform(low, high)
        yellow = _drawn_apart(random, low, high, [green], self.goals_apart)
        return {"green": Pose(green, _UPRIGHT), "yellow": Pose(yellow, _UPRIGHT)}


class Push(ArmTask):
    """A puck is pushed along the table until it lies still within 3 cm of the middle of a pad.

    >>> Push().instruction("yellow")
    'push the red puck onto the yellow pad'
    """

    name = "push"
    request = "push the red puck onto the {goal} pad"
    half_height = 0.02
    bodies = (Body(OBJECT, "cylinder", (0.03, half_height), RED, mass=0.15), *PADS)
    tolerance, still, goals_apart = 0.03, 0.08, 0.13

    def succeeded(self, measured: Measurement) -> bool:
        return measured.object_from_goal < self.tolerance and measured.object_speed < self.still

    def _poses(self, random: np.random.Generator, middle: NDArray[np.float64]) -> dict[str, Pose]:
        puck = random.uniform(middle - (0.07, 0.09), middle + (-0.02, 0.09))
        low, high = middle + (0.06, -0.15), middle + (0.10, 0.15)
        green = random.uniform(low, high)
        yellow = _drawn_apart(random, low, high, [green], self.goals_apart)
        return {OBJECT: _on_table(puck, self.half_height), **_pads(green, yellow)}


class PickPlace(ArmTask):
    """A cube is put on a pad and let go: it rests within 3 cm of the middle, the gripper is open.

    >>> PickPlace().instruction("green")
    'put the red cube on the green pad'
    """

    name = "pick-place"
    request = "put the red cube on the {goal} pad"
    half_edge = 0.02
    bodies = (Body(OBJECT, "box", (half_edge,) * 3, RED, mass=0.1), *PADS)
    tolerance, still, let_go, apart = 0.03, 0.05, 0.6, 0.11

    def succeeded(self, measured: Measurement) -> bool:
        assert measured.object is not None
        low = bool(measured.object.position[2] < self.half_edge + 0.005)
        rests = low and measured.object_speed < self.still
        return rests and measured.object_from_goal < self.tolerance and measured.opening > self.let_go

    def _poses(self, random: np.random.Generator, middle: NDArray[np.float64]) -> dict[str, Pose]:
        low, high = middle - (0.08, 0.17), middle + (0.08, 0.17)
        cube = random.uniform(low, high)
        yaw = random.uniform(-np.pi / 6, np.pi / 6)
        green = _drawn_apart(random, low, high, [cube], self.apart)
        yellow = _drawn_apart(random, low, high, [cube, green], self.apart)
        turned = np.array([np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)])
        return {OBJECT: Pose(np.append(cube, self.half_edge), turned), **_pads(green, yellow)}


TASKS: dict[str, ArmTask] = {task.name: task for task in (Reach(), Push(), PickPlace())}


def _on_table(position: NDArray[np.float64], half_height: float) -> Pose:
    return Pose(np.append(position, half_height), _UPRIGHT)


def _pads(*positions: NDArray[np.float64]) -> dict[str, Pose]:
    return {goal: _on_table(position, PAD_HALF_HEIGHT) for goal, position in zip(GOALS, positions)}


def _drawn_apart(
    random: np.random.Generator,
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    others: list[NDArray[np.float64]],
    distance: float,
) -> NDArray[np.float64]:
    """Draws a point in a box until it keeps its distance from the others."""
    while True:
        point = random.uniform(low, high)
        if all(np.linalg.norm(point - other) >= distance for other in others):
            return point
