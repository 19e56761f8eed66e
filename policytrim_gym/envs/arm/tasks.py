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
GRID = 0.13
"""Least distance between the middles of two goals [m]."""

_UPRIGHT = np.array([1.0, 0.0, 0.0, 0.0])


class Layout(NamedTuple):
    """One initial state: where bodies stand [m], and which goal is meant."""

    poses: Mapping[str, Pose]
    goal: str


class Outcome(NamedTuple):
    """What decides about success, measured."""

    tool: NDArray[np.float64]  # (3,) [m]
    opening: float  # of the gripper, in [0, 1]
    goal: NDArray[np.float64]  # (3,) [m]
    object: NDArray[np.float64] | None  # (3,) [m]
    object_speed: float  # [m/s]


class ArmTask(ABC):
    """One task; it holds no state."""

    name: ClassVar[str]
    request: ClassVar[str]  # the instruction, with {goal} for the colour
    bodies: ClassVar[tuple[Body, ...]]

    def scene(self, offset: NDArray[np.float64]) -> Scene:
        """Returns what stands on the table; `offset` (2,) moves everything for larger arms [m]."""
        x, y = float(offset[0]), float(offset[1])
        return Scene(self.bodies, tuple(camera.moved(x, y) for camera in CAMERAS), table_centre=(0.3 + x, y))

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
    def succeeded(self, outcome: Outcome) -> bool:
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
    tolerance = 0.02

    def succeeded(self, outcome: Outcome) -> bool:
        return bool(np.linalg.norm(outcome.tool - outcome.goal) < self.tolerance)

    def _poses(self, random: np.random.Generator, middle: NDArray[np.float64]) -> dict[str, Pose]:
        low, high = np.append(middle - (0.08, 0.20), 0.06), np.append(middle + (0.08, 0.20), 0.22)
        green = random.uniform(low, high)
        yellow = _drawn_apart(random, low, high, [green], 0.15)
        return {"green": Pose(green, _UPRIGHT), "yellow": Pose(yellow, _UPRIGHT)}


class Push(ArmTask):
    """A puck is pushed along the table until it lies still within 3 cm of the middle of a pad.

    >>> Push().instruction("yellow")
    'push the red puck onto the yellow pad'
    """

    name = "push"
    request = "push the red puck onto the {goal} pad"
    bodies = (
        Body(OBJECT, "cylinder", (0.03, 0.02), RED, mass=0.15),
        Body("green", "cylinder", (0.05, 0.001), GREEN),
        Body("yellow", "cylinder", (0.05, 0.001), YELLOW),
    )
    tolerance, still = 0.03, 0.08

    def succeeded(self, outcome: Outcome) -> bool:
        assert outcome.object is not None
        near = np.linalg.norm((outcome.object - outcome.goal)[:2]) < self.tolerance
        return bool(near and outcome.object_speed < self.still)

    def _poses(self, random: np.random.Generator, middle: NDArray[np.float64]) -> dict[str, Pose]:
        puck = random.uniform(middle - (0.07, 0.09), middle + (-0.02, 0.09))
        low, high = middle + (0.06, -0.15), middle + (0.10, 0.15)
        green = random.uniform(low, high)
        yellow = _drawn_apart(random, low, high, [green], GRID)
        return {OBJECT: _on_table(puck, 0.02), "green": _on_table(green, 0.001), "yellow": _on_table(yellow, 0.001)}


class PickPlace(ArmTask):
    """A cube is put on a pad and let go: it rests within 3 cm of the middle, the gripper is open.

    >>> PickPlace().instruction("green")
    'put the red cube on the green pad'
    """

    name = "pick-place"
    request = "put the red cube on the {goal} pad"
    half_edge = 0.02
    bodies = (
        Body(OBJECT, "box", (half_edge,) * 3, RED, mass=0.1),
        Body("green", "cylinder", (0.05, 0.001), GREEN),
        Body("yellow", "cylinder", (0.05, 0.001), YELLOW),
    )
    tolerance, still, let_go = 0.03, 0.05, 0.6

    def succeeded(self, outcome: Outcome) -> bool:
        assert outcome.object is not None
        near = np.linalg.norm((outcome.object - outcome.goal)[:2]) < self.tolerance
        rests = outcome.object[2] < self.half_edge + 0.005 and outcome.object_speed < self.still
        return bool(near and rests and outcome.opening > self.let_go)

    def _poses(self, random: np.random.Generator, middle: NDArray[np.float64]) -> dict[str, Pose]:
        low, high = middle - (0.08, 0.17), middle + (0.08, 0.17)
        cube = random.uniform(low, high)
        yaw = random.uniform(-np.pi / 6, np.pi / 6)
        green = _drawn_apart(random, low, high, [cube], 0.11)
        yellow = _drawn_apart(random, low, high, [cube, green], 0.11)
        turned = np.array([np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)])
        return {
            OBJECT: Pose(np.append(cube, self.half_edge), turned),
            "green": _on_table(green, 0.001),
            "yellow": _on_table(yellow, 0.001),
        }


TASKS: dict[str, ArmTask] = {task.name: task for task in (Reach(), Push(), PickPlace())}


def _on_table(position: NDArray[np.float64], half_height: float) -> Pose:
    return Pose(np.append(position, half_height), _UPRIGHT)


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
