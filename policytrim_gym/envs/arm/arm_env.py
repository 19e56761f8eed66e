"""The arm as a Gymnasium environment: one robot file, two physics engines, three tasks."""

from __future__ import annotations

import difflib
import os
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import ArrayLike, NDArray

from policytrim_gym.config import from_mapping
from policytrim_gym.envs.arm.actions import ActionMode, JointTargets, make_action_mode
from policytrim_gym.envs.arm.engine import PhysicsEngine
from policytrim_gym.envs.arm.engines import check_engine, make_engine
from policytrim_gym.envs.arm.observer import ArmObserver
from policytrim_gym.envs.arm.randomization import Randomization
from policytrim_gym.envs.arm.tasks import GOALS, OBJECT, TASKS, ArmTask, Layout, Measurement
from policytrim_gym.envs.initial_states import InitialState, choose_initial_state
from policytrim_gym.errors import InvalidSpec, UnknownTask
from policytrim_gym.robot.kinematics import Kinematics
from policytrim_gym.robot.motion_limiter import MotionLimiter
from policytrim_gym.robot.robot_model import MotionLimits, load_robot

CONTROL_DT_S = 0.05


class ArmEnv(gym.Env[dict[str, Any], NDArray[np.float32]]):
    """A six-axis arm that reaches, pushes or puts things where an instruction says.

    Actions come at 20 Hz. Whatever they ask for, the joints move within their velocity and acceleration limits, in either engine, so
    that fewer steps are only won by motion that the arm can make. Success terminates. The initial state is one of three disjoint splits,
    chosen by `reset(options={"task": ..., "split": ..., "initial_state": k})`; the same choice or `reset(seed=s)` replays exactly.

    Args:
        task: "reach", "push", "pick-place", or several of them, told apart by their instruction.
        engine: "mujoco" or "pybullet".
        observation: "state" ({"state"} with the measured arm and where everything is) or "pixels" ({"image_front", "image_wrist"}, uint8
            (image_size, image_size, 3), and "state" with the measured arm alone).
        action: "joint" (joint position targets [rad] and gripper opening in [0, 1]) or "tool_delta" (translation [m], rotation vector
            [rad] and opening).
        robot: name of a file in config/robots, or the path of a YAML file of your own.
        image_size: of "pixels" [pixels].
        randomization: what may vary between initial states, as `Randomization` or a mapping of its fields; None: nothing.
        max_episode_steps: time limit [control steps]; an episode is truncated there.
        render_mode: None or "rgb_array".

    Raises:
        UnknownTask, InvalidSpec, InvalidConfig, MissingFile: naming the value and the expectation.
        MissingExtra: the engine or the kinematics are not installed.

    >>> env = ArmEnv("push")
    >>> observation, info = env.reset(options={"split": "test", "initial_state": 3})
    >>> info["instruction"]
    'push the red puck onto the green pad'
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}
    control_dt_s = CONTROL_DT_S
    physical_action_units = True

    def __init__(
        self,
        task: Sequence[str] | str = "reach",
        engine: str = "mujoco",
        observation: str = "state",
        action: str = "joint",
        robot: str | os.PathLike[str] = "policytrim_arm",
        image_size: int = 96,
        randomization: Randomization | Mapping[str, Any] | None = None,
        max_episode_steps: int = 400,
        render_mode: str | None = None,
    ) -> None:
        self.tasks = _checked_tasks(task)
        self.engine_name = check_engine(engine)
        if isinstance(max_episode_steps, bool) or not isinstance(max_episode_steps, int) or max_episode_steps < 1:
            raise InvalidSpec(f"max_episode_steps must be an integer of at least 1, got {max_episode_steps!r}")
        if render_mode not in (None, "rgb_array"):
            raise InvalidSpec(f"render_mode must be None or 'rgb_array', got {render_mode!r}")
        if not isinstance(randomization, Randomization):
            randomization = from_mapping(Randomization, randomization or {}, "randomization")
        self.max_episode_steps, self.render_mode = max_episode_steps, render_mode
        self.robot = load_robot(robot)
        self.kinematics = Kinematics(self.robot)
        self.action_mode: ActionMode = make_action_mode(action, self.robot, self.kinematics)
        self._observer = ArmObserver(self.robot.dof, observation, image_size)
        self._randomization = randomization
        self._offset = np.array(self.robot.config.scene_offset)
        self.action_space: gym.spaces.Box = self.action_mode.space  # type: ignore[assignment]  # Gymnasium declares the base class
        self.action_kinds = self.action_mode.kinds
        self.observation_space = self._observer.space
        self.action_origins = self._observer.joint_indices if isinstance(self.action_mode, JointTargets) else None
        self.look = True
        self.initial_state: InitialState | None = None
        self._engines: dict[str, PhysicsEngine] = {}
        self._layout: Layout | None = None
        self._limiter: MotionLimiter | None = None
        self._command = np.append(self.robot.home, 1.0)
        self._pending: deque[NDArray[np.float64]] = deque()
        self._joint_path: list[NDArray[np.float64]] = []
        self._steps = 0

    # What a policy and its training ask about the environment.

    @property
    def instruction(self) -> str:
        """The sentence that asks for the present goal."""
        if self._layout is None:
            return self.instructions[0]
        return self.task.instruction(self._layout.goal)

    @property
    def instructions(self) -> tuple[str, ...]:
        """The sentences of all tasks and goals."""
        return tuple(TASKS[task].instruction(goal) for task in self.tasks for goal in GOALS)

    @property
    def task(self) -> ArmTask:
        """The present task."""
        return TASKS[self.initial_state.task if self.initial_state else self.tasks[0]]

    @property
    def goal(self) -> str:
        """The colour of the goal that the instruction means."""
        return self._episode()[0].goal

    @property
    def engine(self) -> PhysicsEngine:
        """The physics of the present task."""
        name = self.task.name
        if name not in self._engines:
            self._engines[name] = make_engine(self.engine_name, self.robot, self.task.scene(self._offset))
        return self._engines[name]

    @property
    def command(self) -> NDArray[np.float64]:
        """The last targets: joints [rad] and gripper opening, (dof + 1,)."""
        return self._command.copy()

    @property
    def motion_limits(self) -> MotionLimits:
        """Of the arm's joints, (dof,) each."""
        return self.robot.arm_limits

    @property
    def joint_path(self) -> NDArray[np.float64]:
        """Where the joints were told to be at the start and after each control step of this episode [rad], (S + 1, dof)."""
        return np.array(self._joint_path)

    # Gymnasium.

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        super().reset(seed=seed)
        self.initial_state = choose_initial_state(self.tasks, options, self.np_random)
        random = self.initial_state.generator()
        self._layout = self.task.layout(random, self._offset)
        physics, delay = self._randomization.draw(random)
        self._command = np.append(self.robot.home, 1.0)
        joints = self._joint_targets(self._command)
        self.engine.reset(joints, self._layout.poses, physics)
        if self._limiter is None:
            self._limiter = MotionLimiter(self.robot.limits, CONTROL_DT_S, self.engine.instants_s(CONTROL_DT_S))
        self._limiter.reset(joints)
        self._pending = deque([self._command] * delay)
        self._joint_path = [joints[:-1]]
        self._steps = 0
        return self._observe(self.measure(), look=True), self._info(success=False)

    def step(self, action: ArrayLike) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        _, limiter = self._episode()
        array = self.action_mode.checked(action)
        targets = self.action_mode.joint_targets(array, self._command[:-1])
        self._command = np.append(targets, min(max(array[-1], 0.0), 1.0))
        self._pending.append(self._command)
        self.engine.follow(limiter.advance(self._joint_targets(self._pending.popleft())))
        self._joint_path.append(limiter.position[:-1])
        self._steps += 1
        measured = self.measure()
        success = self.task.succeeded(measured)
        truncated = self._steps >= self.max_episode_steps and not success
        observation = self._observe(measured, look=self.look or success or truncated)
        return observation, float(success), success, truncated, self._info(success)

    def measure(self) -> Measurement:
        """Returns where everything is now.

        Raises:
            InvalidSpec: no episode has begun.
        """
        layout, _ = self._episode()
        engine = self.engine
        positions = engine.joint_state().positions
        thing, speed = (engine.body_pose(OBJECT), engine.body_speed(OBJECT)) if self.task.has_object else (None, 0.0)
        return Measurement(
            joints=positions[:-1],
            opening=float(self.robot.opening(positions[-1])),
            tool=engine.tool_pose().position,
            goal=layout.poses[layout.goal].position,
            object=thing,
            object_speed=speed,
        )

    def render(self) -> Any:
        """Returns the front camera's image, (360, 480, 3) uint8, when render_mode is "rgb_array"."""
        return self.render_frame() if self.render_mode == "rgb_array" else None

    def render_frame(self, width: int = 480, height: int = 360, camera: str = "front") -> NDArray[np.uint8]:
        """Draws the present scene whatever the render mode is, (height, width, 3) uint8.

        Raises:
            InvalidSpec: no episode has begun.
        """
        self._episode()
        return self.engine.render(camera, width, height)

    def make_expert(self, demonstrator: str = "full-speed", seed: int = 0) -> Any:
        """Returns a scripted expert for this environment; see `ArmExpert`."""
        from policytrim_gym.envs.arm.expert import ArmExpert

        return ArmExpert(self, demonstrator, seed)

    def close(self) -> None:
        for engine in self._engines.values():
            engine.close()
        self._engines.clear()
        self._layout = self._limiter = None

    def _joint_targets(self, command: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns a command with the gripper as a joint position [m], (dof + 1,)."""
        return np.append(command[:-1], self.robot.finger_position(command[-1]))

    def _episode(self) -> tuple[Layout, MotionLimiter]:
        """Returns what an episode has from its reset on, or says that there was none."""
        if self._layout is None or self._limiter is None:
            raise InvalidSpec("reset the environment before it is stepped, measured or drawn")
        return self._layout, self._limiter

    def _observe(self, measured: Measurement, look: bool) -> dict[str, Any]:
        layout, _ = self._episode()
        return self._observer.observe(self.engine, measured, self._command[-1], layout, look)

    def _info(self, success: bool) -> dict[str, Any]:
        assert self.initial_state is not None
        return self.initial_state.info(self.instruction, success)


def _checked_tasks(task: Sequence[str] | str) -> tuple[str, ...]:
    tasks = (task,) if isinstance(task, str) or not isinstance(task, Sequence) else tuple(task)
    if not tasks:
        raise UnknownTask(f"task must name at least one of {tuple(TASKS)}, got none")
    for name in tasks:
        if name not in TASKS:
            close = difflib.get_close_matches(str(name), TASKS, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise UnknownTask(f"unknown task of the arm {name!r}{hint} (there are {tuple(TASKS)})")
    return tasks
