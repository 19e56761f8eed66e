"""The arm of the environment, moved by trajectories instead of by actions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from policytrim_gym.envs.arm.arm_env import CONTROL_DT_S, ArmEnv
from policytrim_gym.envs.arm.scene import Pose
from policytrim_gym.envs.initial_states import NUM_INITIAL_STATES, check_split
from policytrim_gym.errors import InitialStateOutOfRange
from policytrim_gym.robot.motion_limiter import Reference
from policytrim_ros.control.motion_state import MotionState
from policytrim_ros.control.trajectory import Trajectory
from policytrim_ros.sim.trajectory_player import Replacement, TrajectoryPlayer

ARM, GRIPPER = "joint_trajectory", "gripper_trajectory"
"""The controllers, by the topic that each listens to."""


class Outcome(NamedTuple):
    """How an episode ended, and after how many control steps."""

    success: bool
    steps: int


class SimArm:
    """An arm on its table behind joint trajectory controllers, on a clock of its own that only `advance_to` moves.

    Physics, initial states, instructions and success are those of `ArmEnv`: it holds one, and moves the joints itself. Unlike in the
    environment nothing limits velocity and acceleration on the way to the joints: a controller does not either, so who sends trajectories
    has to. Success is measured at the end of each control step of 0.05 s, as there. After a reset the world stands still until the first
    trajectory comes, and steps count from then on: a policy that is not there yet costs none.

    Args:
        task: "reach", "push" or "pick-place".
        engine: "mujoco" or "pybullet".
        robot: name of a robot file or path of one.
        split: of the initial states: "train", "validation" or "test".
        first_state: of the first episode; each reset takes the next one, after the last the first of the split.
        controller: "hard" or "stamp", see `TrajectoryPlayer`.
        gripper_controller: whether the fingers have a controller of their own; without one, the arm's has all joints.
        allow_nonzero_velocity_at_trajectory_end: see `TrajectoryPlayer`.
        max_episode_steps: when an episode has failed [control steps].

    Raises:
        UnknownTask, UnknownSplit, InvalidSpec, MissingFile, MissingExtra: as `ArmEnv`.
        InitialStateOutOfRange: the split has no `first_state`.

    >>> arm = SimArm("push", split="test", first_state=3)
    >>> arm.instruction, arm.joint_names[-2:], arm.time_s
    ('push the red puck onto the green pad', ('finger_left_joint', 'finger_right_joint'), 0.0)
    >>> arm.advance_to(1.0)  # nothing was sent: it holds, and no episode has begun
    >>> arm.steps, arm.joint_readings().positions[1:3].round(3)
    (0, array([0. , 1.7]))
    >>> arm.close()
    """

    def __init__(
        self,
        task: str = "push",
        engine: str = "mujoco",
        robot: str = "policytrim_arm",
        split: str = "test",
        first_state: int = 0,
        controller: Replacement = "hard",
        gripper_controller: bool = True,
        allow_nonzero_velocity_at_trajectory_end: bool = False,
        max_episode_steps: int = 400,
    ) -> None:
        num_states = NUM_INITIAL_STATES[check_split(split)]
        if not 0 <= first_state < num_states:
            raise InitialStateOutOfRange(f"first_state must be in 0..{num_states - 1} of split {split!r}, got {first_state}")
        self._env = ArmEnv(task, engine, robot=robot, max_episode_steps=max_episode_steps)
        self._split, self._num_states, self._next_state = split, num_states, first_state
        config = self._env.robot.config
        self._dof = self._env.robot.dof
        self.joint_names: tuple[str, ...] = (*config.joints, *config.gripper.joints)
        names = {ARM: config.joints, GRIPPER: config.gripper.joints} if gripper_controller else {ARM: self.joint_names}
        self._indices = {topic: [self.joint_names.index(name) for name in joints] for topic, joints in names.items()}
        self._dt_s = self._env.engine.dt_s
        self._num_physics_steps = 0
        self.controllers = {
            topic: TrajectoryPlayer(joints, np.zeros(len(joints)), 0.0, controller, allow_nonzero_velocity_at_trajectory_end)
            for topic, joints in names.items()
        }
        self.reset()

    @property
    def time_s(self) -> float:
        """Simulated time since this object was made; resets do not turn it back [s]."""
        return self._num_physics_steps * self._dt_s

    @property
    def instruction(self) -> str:
        """The sentence that asks for the present goal."""
        return self._env.instruction

    @property
    def initial_state(self) -> int:
        """Index of the present episode's initial state in its split."""
        assert self._env.initial_state is not None
        return self._env.initial_state.index

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras."""
        return tuple(camera.name for camera in self._env.task.scene(np.zeros(2)).cameras)

    @property
    def bodies(self) -> tuple[str, ...]:
        """Names of the objects and goals on the table."""
        return tuple(body.name for body in self._env.task.bodies)

    @property
    def steps(self) -> int:
        """Whole control steps since the first trajectory of this episode."""
        if self._began is None:
            return 0
        return (self._num_physics_steps - self._began) // self._steps_per_control_step

    def reset(self) -> None:
        """Begins the next episode: the arm at home and at rest, controllers holding it there, bodies at their initial state."""
        self._env.reset(options={"task": self._env.tasks[0], "split": self._split, "initial_state": self._next_state})
        self._next_state = (self._next_state + 1) % self._num_states
        self._began: int | None = None
        self.outcome: Outcome | None = None
        positions = self.joint_readings().positions
        for topic, player in self.controllers.items():
            player.hold(positions[self._indices[topic]], self.time_s)

    def accept(self, topic: str, trajectory: Trajectory) -> None:
        """Gives a trajectory that has just arrived to the controller of a topic.

        Raises:
            InvalidChunk: the controller refuses it; what it did before goes on.
        """
        self.controllers[topic].accept(trajectory, self.time_s)
        if self._began is None:
            self._began = self._num_physics_steps

    def advance_to(self, time_s: float) -> None:
        """Goes on to the last physics step that is not after `time_s` [s], and fills `outcome` when the episode ends on the way."""
        last = int(time_s / self._dt_s + 1e-6)
        while self._num_physics_steps < last:
            if self._began is None:
                self._num_physics_steps = last  # the world waits: objects would settle, and the episode would not be the environment's
                continue
            end_of_control_step = self._began + (self.steps + 1) * self._steps_per_control_step
            self._follow(min(last, end_of_control_step))
            if self._num_physics_steps == end_of_control_step and self.outcome is None:
                self._judge()

    def joint_readings(self) -> MotionState:
        """Returns the measured joints (n,), in the order of `joint_names`; each finger is where the gripper is on average."""
        state = self._env.engine.joint_state()
        columns = [*range(self._dof), *[self._dof] * (len(self.joint_names) - self._dof)]
        return MotionState(state.positions[columns], state.velocities[columns])

    def body_pose(self, name: str) -> Pose:
        """Returns where an object or a goal is, from the foot of the arm."""
        return self._env.engine.body_pose(name)

    def image(self, camera: str, width: int, height: int) -> NDArray[np.uint8]:
        """Returns what a camera sees now, (height, width, 3) uint8."""
        return self._env.render_frame(width, height, camera)

    def close(self) -> None:
        """Frees the engine."""
        self._env.close()

    @property
    def _steps_per_control_step(self) -> int:
        return round(CONTROL_DT_S / self._dt_s)

    def _follow(self, stop: int) -> None:
        """Makes the physics steps up to number `stop`."""
        times = np.arange(self._num_physics_steps + 1, stop + 1) * self._dt_s
        positions, velocities = np.empty((2, len(times), len(self.joint_names)))
        for topic, player in self.controllers.items():
            positions[:, self._indices[topic]], velocities[:, self._indices[topic]] = player.sample(times)
        self._env.engine.follow(Reference(self._with_one_gripper(positions), self._with_one_gripper(velocities)))
        self._num_physics_steps = stop

    def _with_one_gripper(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns values of all joints (T, n) with one column for the fingers, which the engine moves as one, (T, dof + 1)."""
        return np.column_stack([values[:, : self._dof], values[:, self._dof :].mean(axis=1)])

    def _judge(self) -> None:
        success = self._env.task.succeeded(self._env.measure())
        if success or self.steps >= self._env.max_episode_steps:
            self.outcome = Outcome(success, self.steps)
