"""Where the tool is for given joints, and the joints that bring it somewhere."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from policytrim_gym.errors import MissingExtra
from policytrim_gym.robot.robot_model import RobotModel

POSITION_COST = 1.0
ORIENTATION_COST = 0.3  # [m/rad]: 3 mm and 0.01 rad weigh the same
POSTURE_COST = 1e-3
GAIN_DT_S = 1.0  # the solver thinks in velocities: one unit of time closes the whole error
CONVERGED = 1e-5


class ToolPose(NamedTuple):
    """Position [m] (3,) and rotation matrix (3, 3) of the tool in the arm's base.

    >>> start = ToolPose(np.zeros(3), np.eye(3))
    >>> start.moved(np.array([0.0, 0.0, 0.1]), np.array([0.0, 0.0, 0.5])).difference(start).round(6)
    array([0. , 0. , 0.1, 0. , 0. , 0.5])
    """

    position: NDArray[np.float64]
    rotation: NDArray[np.float64]

    def moved(self, translation: NDArray[np.float64], rotation_vector: NDArray[np.float64]) -> ToolPose:
        """Returns the pose after a translation [m] (3,) and a rotation vector [rad] (3,), both along the base's axes."""
        import pinocchio

        return ToolPose(self.position + translation, pinocchio.exp3(np.asarray(rotation_vector, dtype=np.float64)) @ self.rotation)

    def difference(self, start: ToolPose) -> NDArray[np.float64]:
        """Returns the (translation, rotation vector) (6,) that moves `start` here; the inverse of `moved`."""
        import pinocchio

        return np.concatenate([self.position - start.position, pinocchio.log3(self.rotation @ start.rotation.T)])


class Kinematics:
    """Forward and inverse kinematics of an arm: pinocchio reads the URDF, pink solves within the joints' ranges.

    Args:
        robot: the arm; its gripper does not matter here.

    Raises:
        MissingExtra: pinocchio or pink is not installed.

    >>> from policytrim_gym.robot.robot_model import load_robot
    >>> robot = load_robot("policytrim_arm")
    >>> kinematics = Kinematics(robot)
    >>> start = kinematics.tool_pose(robot.home)
    >>> joints = kinematics.joints_for(start.moved(np.array([0.0, 0.05, -0.1]), np.zeros(3)), robot.home)
    >>> bool(np.allclose(kinematics.tool_pose(joints).position - start.position, [0.0, 0.05, -0.1], atol=1e-4))
    True
    """

    def __init__(self, robot: RobotModel) -> None:
        try:
            import pink
            import pinocchio
        except ImportError as error:
            raise MissingExtra('kinematics need pinocchio and pink: pip install "policytrim[arm]"') from error
        full = pinocchio.buildModelFromUrdf(str(robot.urdf_file))
        commanded = set(robot.config.joints)
        others = [full.getJointId(name) for name in full.names[1:] if name not in commanded]
        model: Any = pinocchio.buildReducedModel(full, others, pinocchio.neutral(full))
        self._pinocchio, self._pink = pinocchio, pink
        # pinocchio orders joints by the tree, a robot file as it likes.
        self._order = np.array([model.joints[model.getJointId(name)].idx_q for name in robot.config.joints])
        self._frame = model.getFrameId(robot.config.tool_link)
        self._model, self._data = model, model.createData()
        self._task = pink.FrameTask(robot.config.tool_link, position_cost=POSITION_COST, orientation_cost=ORIENTATION_COST)
        self._posture = pink.PostureTask(cost=POSTURE_COST)
        self._posture.set_target(self._ordered(robot.home))
        self._configuration: Any = pink.Configuration(model, self._data, self._ordered(robot.home))

    def tool_pose(self, joints: NDArray[np.float64]) -> ToolPose:
        """Returns the tool's pose for joints (dof,)."""
        self._pinocchio.framesForwardKinematics(self._model, self._data, self._ordered(joints))
        placement = self._data.oMf[self._frame]
        return ToolPose(placement.translation.copy(), placement.rotation.copy())

    def joints_for(self, pose: ToolPose, start: NDArray[np.float64], num_iterations: int = 10) -> NDArray[np.float64]:
        """Returns joints (dof,) that bring the tool to the pose, or as near as the ranges allow.

        Args:
            pose: wanted.
            start: joints to start from, (dof,); of several solutions the one near these is found, and of those that an arm of more
                than six joints can turn into each other the one nearest home.
            num_iterations: at most; it ends when the joints stop moving.
        """
        self._task.set_target(self._pinocchio.SE3(pose.rotation, pose.position))
        configuration = self._configuration
        configuration.update(self._ordered(start))
        tasks = (self._task, self._posture)
        for _ in range(num_iterations):
            velocity = self._pink.solve_ik(configuration, tasks, GAIN_DT_S, solver="daqp", damping=1e-8, safety_break=False)
            configuration.integrate_inplace(velocity, GAIN_DT_S)
            if np.abs(velocity).max() < CONVERGED:
                break
        return configuration.q[self._order].copy()

    def _ordered(self, joints: NDArray[np.float64]) -> NDArray[np.float64]:
        ordered = np.empty(len(self._order))
        ordered[self._order] = joints
        return ordered
