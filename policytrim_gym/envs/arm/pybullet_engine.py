"""The arm in PyBullet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pybullet
from numpy.typing import NDArray

from policytrim_gym.envs.arm.engine import JointState, PhysicsEngine
from policytrim_gym.envs.arm.scene import (
    FINGER_FRICTION,
    TABLE_COLOUR,
    TABLE_FRICTION,
    TABLE_HALF_THICKNESS,
    Body,
    Camera,
    Physics,
    Pose,
    Scene,
)
from policytrim_gym.robot.motion_limiter import Reference
from policytrim_gym.robot.robot_model import RobotModel

POSITION_GAIN = 0.4
"""Of the joint motors: the fraction of a position error that they remove in one physics step."""

_SPIN_FRICTION = 0.005  # as MuJoCo's default, so that a cube does not turn between two finger tips [m]
_FAR = 10.0  # out of reach of everything [m]


class PybulletEngine(PhysicsEngine):
    """Joints follow by PyBullet's position motors with velocity feed-forward, within the effort limits.

    The arm does not collide with itself, only with table and objects. Each engine has its own PyBullet world; two do not see each other.

    Args:
        robot: the arm.
        scene: table, bodies and cameras.

    >>> from policytrim_gym.robot.robot_model import load_robot
    >>> robot = load_robot("policytrim_arm")
    >>> engine = PybulletEngine(robot, Scene(bodies=(), cameras=()))
    >>> engine.reset(np.append(robot.home, 0.04), {}, Physics())
    >>> engine.joint_state().positions.round(4)
    array([0.    , 0.    , 1.7   , 0.    , 1.4416, 0.    , 0.04  ])
    >>> engine.close()
    """

    name = "pybullet"
    dt_s = 1.0 / 240.0

    def __init__(self, robot: RobotModel, scene: Scene) -> None:
        super().__init__(robot)
        self._scene = scene
        self.client = pybullet.connect(pybullet.DIRECT)
        self._world: dict[str, int] = {"physicsClientId": self.client}
        pybullet.setGravity(0.0, 0.0, -9.81, **self._world)
        pybullet.setPhysicsEngineParameter(fixedTimeStep=self.dt_s, deterministicOverlappingPairs=1, **self._world)
        # PyBullet takes an inertia from a link's bounding box unless it is told to read the file's.
        self.arm: int = pybullet.loadURDF(str(robot.urdf_file), useFixedBase=True, flags=pybullet.URDF_USE_INERTIA_FROM_FILE, **self._world)
        config = robot.config
        joints, links = self._indices()
        self.joints = [joints[name] for name in self._motors]
        self._fingers = self.joints[robot.dof :]
        self._tool = links[config.tool_link]
        self._camera_link = links[config.camera_link or config.tool_link]
        self._table = self._add_table()
        self._bodies = {body.name: self._add_body(body) for body in scene.bodies}
        for index in self.joints:
            pybullet.changeDynamics(self.arm, index, linearDamping=0.0, angularDamping=0.0, **self._world)
        self.motors: dict[str, Any] = {
            "controlMode": pybullet.POSITION_CONTROL,
            "forces": self._efforts.tolist(),
            "positionGains": [POSITION_GAIN] * len(self.joints),
            "velocityGains": [1.0] * len(self.joints),
            **self._world,
        }
        self._light = 1.0

    def reset(self, joints: NDArray[np.float64], poses: Mapping[str, Pose], physics: Physics) -> None:
        self._vary(physics)
        targets = joints[self._columns].tolist()
        for index, position in zip(self.joints, targets):
            pybullet.resetJointState(self.arm, index, position, 0.0, **self._world)
        still = [0.0] * len(targets)
        pybullet.setJointMotorControlArray(self.arm, self.joints, targetPositions=targets, targetVelocities=still, **self.motors)
        self._forget_contacts()
        for name, pose in poses.items():
            w, x, y, z = pose.quaternion
            pybullet.resetBasePositionAndOrientation(self._bodies[name], pose.position, (x, y, z, w), **self._world)
            pybullet.resetBaseVelocity(self._bodies[name], (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), **self._world)

    def follow(self, reference: Reference) -> None:
        world = self.client
        # A motor compares the target with where the joint is before the step.
        before = reference.positions - self.dt_s * reference.velocities
        for positions, velocities in zip(before[:, self._columns].tolist(), reference.velocities[:, self._columns].tolist()):
            pybullet.setJointMotorControlArray(self.arm, self.joints, targetPositions=positions, targetVelocities=velocities, **self.motors)
            pybullet.stepSimulation(world)

    def joint_state(self) -> JointState:
        states = pybullet.getJointStates(self.arm, self.joints, **self._world)
        positions, velocities = ([state[kind] for state in states] for kind in (0, 1))
        return JointState(self._average @ positions, self._average @ velocities)

    def tool_pose(self) -> Pose:
        return self._link_pose(self._tool)

    def body_pose(self, name: str) -> Pose:
        position, (x, y, z, w) = pybullet.getBasePositionAndOrientation(self._bodies[name], **self._world)
        return Pose(np.array(position), np.array((w, x, y, z)))

    def body_speed(self, name: str) -> float:
        return float(np.linalg.norm(pybullet.getBaseVelocity(self._bodies[name], **self._world)[0]))

    def render(self, camera: str, width: int, height: int) -> NDArray[np.uint8]:
        chosen = next(one for one in self._scene.cameras if one.name == camera)
        projection = pybullet.computeProjectionMatrixFOV(chosen.field_of_view, width / height, 0.01, 5.0)
        _, _, pixels, _, _ = pybullet.getCameraImage(
            width,
            height,
            viewMatrix=self._view(chosen),
            projectionMatrix=projection,
            renderer=pybullet.ER_TINY_RENDERER,
            flags=pybullet.ER_NO_SEGMENTATION_MASK,
            shadow=0,
            lightDirection=(0.2, -0.4, 1.5),
            lightAmbientCoeff=min(0.55 * self._light, 1.0),
            lightDiffuseCoeff=0.45 * self._light,
            lightSpecularCoeff=0.05,
            **self._world,
        )
        return np.asarray(pixels, dtype=np.uint8).reshape(height, width, 4)[:, :, :3].copy()

    def close(self) -> None:
        if self.client >= 0 and pybullet.isConnected(self.client):
            pybullet.disconnect(self.client)
        self.client = -1

    def _forget_contacts(self) -> None:
        """Has nothing touch anything once: what the solver remembers of the last episode's contacts would change the next one."""
        for place, body in enumerate(self._bodies.values(), start=1):
            pybullet.resetBasePositionAndOrientation(body, (_FAR * place, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0), **self._world)
        pybullet.performCollisionDetection(**self._world)

    def _indices(self) -> tuple[dict[str, int], dict[str, int]]:
        """Returns the index of each joint and of each link by name; in PyBullet a link has the index of its joint."""
        infos = [pybullet.getJointInfo(self.arm, index, **self._world) for index in range(pybullet.getNumJoints(self.arm, **self._world))]
        return {info[1].decode(): info[0] for info in infos}, {info[12].decode(): info[0] for info in infos}

    def _link_pose(self, link: int) -> Pose:
        state = pybullet.getLinkState(self.arm, link, computeForwardKinematics=True, **self._world)
        x, y, z, w = state[5]
        return Pose(np.array(state[4]), np.array((w, x, y, z)))

    def _add_table(self) -> int:
        half = (*self._scene.table_half_size, TABLE_HALF_THICKNESS)
        shape = pybullet.createCollisionShape(pybullet.GEOM_BOX, halfExtents=half, **self._world)
        look = pybullet.createVisualShape(pybullet.GEOM_BOX, halfExtents=half, rgbaColor=(*TABLE_COLOUR, 1.0), **self._world)
        return int(pybullet.createMultiBody(0.0, shape, look, (*self._scene.table_centre, -TABLE_HALF_THICKNESS), **self._world))

    def _add_body(self, body: Body) -> int:
        kind, solid, look_like = _shape_of(body)
        look = pybullet.createVisualShape(kind, rgbaColor=(*body.colour, 1.0), **look_like, **self._world)
        shape = -1 if body.is_marker else pybullet.createCollisionShape(kind, **solid, **self._world)
        added = int(pybullet.createMultiBody(body.mass or 0.0, shape, look, **self._world))
        if not body.is_marker:
            pybullet.changeDynamics(
                added, -1, lateralFriction=1.0, spinningFriction=_SPIN_FRICTION, linearDamping=0.0, angularDamping=0.0, **self._world
            )
        return added

    def _vary(self, physics: Physics) -> None:
        """Sets friction and mass. PyBullet multiplies the coefficients of a pair; objects have 1."""
        pybullet.changeDynamics(self._table, -1, lateralFriction=TABLE_FRICTION * physics.friction, **self._world)
        for finger in self._fingers:
            pybullet.changeDynamics(self.arm, finger, lateralFriction=FINGER_FRICTION * physics.friction, **self._world)
        for body in self._scene.bodies:
            if body.mass is not None:
                pybullet.changeDynamics(self._bodies[body.name], -1, mass=body.mass * physics.mass, **self._world)
        self._light = physics.light

    def _view(self, camera: Camera) -> Any:
        if camera.position is not None:
            return pybullet.computeViewMatrix(camera.position, camera.target, (0.0, 0.0, 1.0))
        position, (w, x, y, z) = self._link_pose(self._camera_link)
        axes = np.array(pybullet.getMatrixFromQuaternion((x, y, z, w))).reshape(3, 3)
        return pybullet.computeViewMatrix(position, position + axes[:, 2], axes[:, 0])


def _shape_of(body: Body) -> tuple[int, dict[str, Any], dict[str, Any]]:
    """Returns PyBullet's kind of a body, and its arguments as a collision and as a visual shape."""
    if body.shape == "box":
        return pybullet.GEOM_BOX, {"halfExtents": body.size}, {"halfExtents": body.size}
    if body.shape == "sphere":
        return pybullet.GEOM_SPHERE, {"radius": body.size[0]}, {"radius": body.size[0]}
    radius, half_height = body.size
    return pybullet.GEOM_CYLINDER, {"radius": radius, "height": 2 * half_height}, {"radius": radius, "length": 2 * half_height}
