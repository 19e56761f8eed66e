"""The arm in MuJoCo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from policytrim_gym.envs.arm.engine import JointState, PhysicsEngine
from policytrim_gym.envs.arm.mujoco_urdf import read_urdf
from policytrim_gym.envs.arm.scene import (
    FINGER_FRICTION,
    TABLE_COLOUR,
    TABLE_FRICTION,
    TABLE_HALF_THICKNESS,
    Body,
    Physics,
    Pose,
    Scene,
)
from policytrim_gym.envs.mujoco_renderer import MujocoRenderer
from policytrim_gym.robot.motion_limiter import Reference
from policytrim_gym.robot.robot_model import RobotModel

ARMATURE = 0.1
"""Rotor inertia seen through the gears [kg m^2], [kg]: what makes a geared arm stiff against what it touches."""

BANDWIDTH = 80.0
"""Of the joint controllers, critically damped [rad/s]."""

FEED_FORWARD_S = 2.0 / BANDWIDTH
"""Damping over stiffness of such a controller: how far ahead its target must be not to be slowed down."""

_SHAPES = {"box": mujoco.mjtGeom.mjGEOM_BOX, "cylinder": mujoco.mjtGeom.mjGEOM_CYLINDER, "sphere": mujoco.mjtGeom.mjGEOM_SPHERE}
_SKY = (0.93, 0.94, 0.96)
_ROBOT_BIT, _SCENE_BIT = 1, 2
_COLLISION_GROUP = 3  # not drawn


class MujocoEngine(PhysicsEngine):
    """Joints follow by critically damped position control with velocity feed-forward; gravity is compensated, within the effort limits.

    The arm does not collide with itself, only with table and objects.

    Args:
        robot: the arm.
        scene: table, bodies and cameras.

    >>> from policytrim_gym.robot.robot_model import load_robot
    >>> robot = load_robot("policytrim_arm")
    >>> engine = MujocoEngine(robot, Scene(bodies=(), cameras=()))
    >>> engine.reset(np.append(robot.home, 0.04), {}, Physics())
    >>> engine.joint_state().positions.round(4)
    array([0.    , 0.    , 1.7   , 0.    , 1.4416, 0.    , 0.04  ])
    """

    name = "mujoco"
    dt_s = 0.0025

    def __init__(self, robot: RobotModel, scene: Scene) -> None:
        super().__init__(robot)
        spec = read_urdf(robot.urdf_file)
        _prepare_robot(spec, robot)
        _add_motors(spec, dict(zip(self._motors, self._efforts)))
        _set_physics(spec)
        _add_table_and_light(spec, scene)
        for body in scene.bodies:
            _add_body(spec, body)
        _add_cameras(spec, scene, robot)
        self.model: Any = spec.compile()
        self.data: Any = mujoco.MjData(self.model)
        joints = [self.model.joint(name) for name in self._motors]
        self._position_index = np.array([joint.qposadr[0] for joint in joints])
        self._velocity_index = np.array([joint.dofadr[0] for joint in joints])
        self._tune(robot.home)
        self._tool = self.model.body(robot.config.tool_link).id
        self._bodies = {body.name: self.model.body(body.name).id for body in scene.bodies}
        self._free_positions = {
            body.name: int(self.model.joint(f"{body.name}_free").qposadr[0]) for body in scene.bodies if not body.is_marker
        }
        self._mocap = {body.name: int(self.model.body(body.name).mocapid[0]) for body in scene.bodies if body.is_marker}
        self._mass = 1.0
        self._nominal = (self.model.geom_friction.copy(), self.model.body_mass.copy(), self.model.body_inertia.copy())
        headlight = self.model.vis.headlight
        self._nominal_light = (headlight.ambient.copy(), headlight.diffuse.copy(), self.model.light_diffuse.copy())
        self._renderers: dict[tuple[int, int], MujocoRenderer] = {}

    def reset(self, joints: NDArray[np.float64], poses: Mapping[str, Pose], physics: Physics) -> None:
        self._vary(physics)
        mujoco.mj_resetData(self.model, self.data)
        targets = joints[self._columns]
        self.data.qpos[self._position_index] = targets
        self.data.ctrl[:] = targets
        for name, pose in poses.items():
            if name in self._mocap:
                self.data.mocap_pos[self._mocap[name]] = pose.position
                self.data.mocap_quat[self._mocap[name]] = pose.quaternion
            else:
                start = self._free_positions[name]
                self.data.qpos[start : start + 7] = np.concatenate(pose)
        mujoco.mj_forward(self.model, self.data)

    def follow(self, reference: Reference) -> None:
        # A controller compares the target with where the joint is before the step.
        lead = FEED_FORWARD_S - self.dt_s
        positions, velocities = reference
        acceleration = (velocities[-1] - velocities[0]) / (max(len(velocities) - 1, 1) * self.dt_s)  # constant within a control step
        commands = positions + lead * velocities + acceleration / BANDWIDTH**2
        model, data, control, step = self.model, self.data, self.data.ctrl, mujoco.mj_step
        for command in commands[:, self._columns]:
            control[:] = command
            step(model, data)
        mujoco.mj_kinematics(model, data)  # mj_step leaves poses of the step before it

    def joint_state(self) -> JointState:
        return JointState(self._average @ self.data.qpos[self._position_index], self._average @ self.data.qvel[self._velocity_index])

    def tool_pose(self) -> Pose:
        return Pose(self.data.xpos[self._tool].copy(), self.data.xquat[self._tool].copy())

    def body_pose(self, name: str) -> Pose:
        body = self._bodies[name]
        return Pose(self.data.xpos[body].copy(), self.data.xquat[body].copy())

    def body_speed(self, name: str) -> float:
        if name in self._mocap:
            return 0.0
        start = self.model.jnt_dofadr[self.model.body_jntadr[self._bodies[name]]]
        return float(np.linalg.norm(self.data.qvel[start : start + 3]))

    def render(self, camera: str, width: int, height: int) -> NDArray[np.uint8]:
        size = (width, height)
        if size not in self._renderers:
            self._renderers[size] = MujocoRenderer(self.model, width, height)
        mujoco.mj_camlight(self.model, self.data)
        return self._renderers[size].draw(self.data, camera)

    def close(self) -> None:
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()

    def _tune(self, home: NDArray[np.float64]) -> None:
        """Sets each controller's gains from the inertia that its joint moves at home."""
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[self._position_index[: len(home)]] = home
        mujoco.mj_forward(self.model, self.data)
        full = np.zeros((self.model.nv, self.model.nv))
        mujoco.mj_fullM(self.model, full, self.data.qM)
        inertia = full.diagonal()[self._velocity_index]
        stiffness = inertia * BANDWIDTH**2
        damping = stiffness * FEED_FORWARD_S
        for index, name in enumerate(self._motors):
            actuator = self.model.actuator(name)
            actuator.gainprm[0] = stiffness[index]
            actuator.biasprm[1:3] = -stiffness[index], -damping[index]

    def _vary(self, physics: Physics) -> None:
        friction, mass, inertia = self._nominal
        self.model.geom_friction[:] = friction
        self.model.geom_friction[:, 0] *= physics.friction
        for name in self._free_positions:
            body = self._bodies[name]
            self.model.body_mass[body] = mass[body] * physics.mass
            self.model.body_inertia[body] = inertia[body] * physics.mass
        if physics.mass != self._mass:
            self._mass = physics.mass
            mujoco.mj_setConst(self.model, self.data)  # contacts are as stiff as the weights that it derives from masses
        lights = (self.model.vis.headlight.ambient, self.model.vis.headlight.diffuse, self.model.light_diffuse)
        for light, nominal in zip(lights, self._nominal_light):
            light[:] = np.clip(nominal * physics.light, 0.0, 1.0)


def _prepare_robot(spec: Any, robot: RobotModel) -> None:
    """Compensates the robot's gravity and gives its fingers their friction; shapes for collision are not drawn."""
    finger_bodies = {spec.joint(name).parent.name for name in robot.config.gripper.joints}
    for body in spec.bodies:
        if body.name != "world":
            body.gravcomp = 1.0
    for geom in spec.geoms:
        if geom.contype == 0 and geom.conaffinity == 0:
            continue
        geom.contype, geom.conaffinity, geom.group = _ROBOT_BIT, 0, _COLLISION_GROUP
        if geom.parent.name in finger_bodies:
            geom.friction[0], geom.condim, geom.priority = FINGER_FRICTION, 4, 2


def _add_motors(spec: Any, efforts: Mapping[str, float]) -> None:
    """Adds a motor to each joint, within its effort; the gains are set when the model is known."""
    for name, effort in efforts.items():
        joint = spec.joint(name)
        joint.armature = ARMATURE
        joint.actgravcomp = True
        joint.actfrclimited = True
        joint.actfrcrange = (-effort, effort)
        actuator = spec.add_actuator(name=name, target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        actuator.gaintype, actuator.biastype = mujoco.mjtGain.mjGAIN_FIXED, mujoco.mjtBias.mjBIAS_AFFINE


def _set_physics(spec: Any) -> None:
    spec.option.timestep = MujocoEngine.dt_s
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    # A finger touches a puck along a line, hence at two points; without this flag at one alone.
    spec.option.enableflags |= int(mujoco.mjtEnableBit.mjENBL_MULTICCD)
    spec.option.impratio = 10.0  # a held object does not creep out of the fingers


def _add_table_and_light(spec: Any, scene: Scene) -> None:
    x, y = scene.table_centre
    size = (*scene.table_half_size, TABLE_HALF_THICKNESS)
    table = spec.worldbody.add_body(name="table", pos=(x, y, -TABLE_HALF_THICKNESS))
    table.add_geom(
        name="table",
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=size,
        rgba=(*TABLE_COLOUR, 1.0),
        contype=0,
        conaffinity=0,
    )
    # What touches it touches a plane: on a box a cylinder has one contact point, wobbles about it and sinks in.
    table.add_geom(
        name="table_top",
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        pos=(0.0, 0.0, TABLE_HALF_THICKNESS),
        size=size,
        group=_COLLISION_GROUP,
        friction=(TABLE_FRICTION, 0.005, 0.0001),
        priority=1,
        contype=_SCENE_BIT,
        conaffinity=_SCENE_BIT | _ROBOT_BIT,
    )
    headlight = spec.visual.headlight
    headlight.ambient, headlight.diffuse, headlight.specular = (0.5,) * 3, (0.3,) * 3, (0.05,) * 3
    spec.worldbody.add_light(pos=(0.3, -0.5, 1.5), dir=(0.0, 0.3, -1.0), diffuse=(0.35,) * 3, specular=(0.05,) * 3)
    # Without a sky the background is black, in PyBullet white.
    spec.add_texture(
        name="sky",
        type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_FLAT,
        rgb1=_SKY,
        rgb2=_SKY,
        width=16,
        height=96,
    )


def _add_body(spec: Any, body: Body) -> None:
    size = (*body.size, 0.0, 0.0, 0.0)[:3]
    added = spec.worldbody.add_body(name=body.name, mocap=body.is_marker)
    geom = added.add_geom(name=body.name, type=_SHAPES[body.shape], size=size, rgba=(*body.colour, 1.0))
    if body.is_marker:
        geom.contype = geom.conaffinity = 0
        return
    added.add_joint(name=f"{body.name}_free", type=mujoco.mjtJoint.mjJNT_FREE)
    geom.mass = body.mass
    geom.condim = 4
    geom.contype, geom.conaffinity = _SCENE_BIT, _SCENE_BIT | _ROBOT_BIT


def _add_cameras(spec: Any, scene: Scene, robot: RobotModel) -> None:
    """Adds the scene's cameras. MuJoCo's look along their own -z with y up."""
    for camera in scene.cameras:
        if camera.position is None:
            link = spec.body(robot.config.camera_link or robot.config.tool_link)
            # Looking along the link's z with its x up: camera y = link x, camera z = -link z, so camera x = y cross z = link y.
            link.add_camera(name=camera.name, fovy=camera.field_of_view, quat=(0.0, np.sqrt(0.5), np.sqrt(0.5), 0.0))
            continue
        eye, target = np.array(camera.position), np.array(camera.target)
        backwards = (eye - target) / np.linalg.norm(eye - target)
        right = np.cross((0.0, 0.0, 1.0), backwards)
        right /= np.linalg.norm(right)
        axes = np.stack([right, np.cross(backwards, right), backwards], axis=1)
        quaternion = np.zeros(4)
        mujoco.mju_mat2Quat(quaternion, axes.flatten())
        spec.worldbody.add_camera(name=camera.name, pos=camera.position, quat=quaternion, fovy=camera.field_of_view)
