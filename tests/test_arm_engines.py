"""Laws that both physics engines of the arm keep, and what they must agree on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from policytrim_gym.envs.arm.arm_env import CONTROL_DT_S
from policytrim_gym.envs.arm.engine import PhysicsEngine
from policytrim_gym.envs.arm.engines import ENGINES, make_engine
from policytrim_gym.envs.arm.scene import TABLE_FRICTION, Physics, Pose, Scene
from policytrim_gym.envs.arm.tasks import GREEN, OBJECT, RED, TASKS, YELLOW
from policytrim_gym.robot.kinematics import Kinematics, ToolPose
from policytrim_gym.robot.motion_limiter import MotionLimiter
from policytrim_gym.robot.robot_model import load_robot

for module in (*ENGINES, "pinocchio", "pink"):
    pytest.importorskip(module)

ROBOT = load_robot("policytrim_arm")
HOME = np.append(ROBOT.home, 0.04)
UPRIGHT = np.array([1.0, 0.0, 0.0, 0.0])
NO_OFFSET = np.zeros(2)
NOMINAL = Physics()


def scene(task: str = "pick-place") -> Scene:
    return TASKS[task].scene(NO_OFFSET)


def parked(task: str = "pick-place", **at: tuple[float, float, float]) -> dict[str, Pose]:
    """Returns poses of all bodies of a task, those that are not told apart from each other out of the arm's way."""
    poses = {}
    for index, body in enumerate(TASKS[task].bodies):
        default = (0.55, -0.3 + 0.2 * index, body.size[-1])
        poses[body.name] = Pose(np.array(at.get(body.name, default)), UPRIGHT)
    return poses


class Motion:
    """Moves an engine from a reset on and keeps what happened at the end of every control step."""

    def __init__(self, engine: PhysicsEngine, joints: NDArray[np.float64], poses: dict[str, Pose], physics: Physics = NOMINAL) -> None:
        self.engine = engine
        self.limiter = MotionLimiter(ROBOT.limits, CONTROL_DT_S, engine.instants_s(CONTROL_DT_S))
        engine.reset(joints, poses, physics)
        self.limiter.reset(joints)
        self.measured: list[NDArray[np.float64]] = []
        self.velocities: list[NDArray[np.float64]] = []
        self.references: list[NDArray[np.float64]] = []

    def go(self, targets: NDArray[np.float64]) -> Motion:
        for target in np.atleast_2d(targets):
            self.engine.follow(self.limiter.advance(target))
            state = self.engine.joint_state()
            self.measured.append(state.positions)
            self.velocities.append(state.velocities)
            self.references.append(self.limiter.position)
        return self


def free_chunk(seed: int, num_steps: int = 50) -> NDArray[np.float64]:
    """Returns random joint targets that keep the tool above the table, (num_steps, dof + 1)."""
    random = np.random.default_rng(seed)
    kinematics = Kinematics(ROBOT)
    limits = ROBOT.limits
    targets, current = [], HOME
    while len(targets) < num_steps:
        goal = np.clip(random.uniform(limits.lower, limits.upper), HOME - 1.2, HOME + 1.2)
        way = np.linspace(0.0, 1.0, int(random.integers(3, 15)))[1:, None] * (goal - current) + current
        if min(kinematics.tool_pose(joints[:-1]).position[2] for joints in way) > 0.15:
            targets += [*way]
            current = goal
    return np.array(targets[:num_steps])


@pytest.fixture
def engines() -> Iterator[dict[str, PhysicsEngine]]:
    made = {name: make_engine(name, ROBOT, scene()) for name in ENGINES}
    yield made
    for engine in made.values():
        engine.close()


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[PhysicsEngine]:
    made = make_engine(request.param, ROBOT, scene())
    yield made
    made.close()


def angle_between(one: Pose, other: Pose) -> float:
    return 2 * np.arccos(min(1.0, abs(float(one.quaternion @ other.quaternion))))


@pytest.mark.parametrize("seed", range(6))
def test_the_same_chunk_ends_in_the_same_place_in_both_engines(engines: dict[str, PhysicsEngine], seed: int) -> None:
    ends = []
    for one in engines.values():
        motion = Motion(one, HOME, parked()).go(free_chunk(seed))
        ends.append((one.tool_pose(), motion.measured[-1]))
    (tool, joints), (other_tool, other_joints) = ends
    assert tool.position[2] > 0.05
    assert np.linalg.norm(tool.position - other_tool.position) < 0.005
    assert angle_between(tool, other_tool) < 0.02
    assert np.abs(joints - other_joints)[:-1].max() < 0.02
    assert abs(joints[-1] - other_joints[-1]) < 0.002


@pytest.mark.parametrize("kind", ["free", "jumps"])
def test_measured_joints_keep_the_limits_and_stay_with_the_reference(engine: PhysicsEngine, kind: str) -> None:
    targets = free_chunk(10)
    if kind == "jumps":
        targets = targets[np.arange(50) // 10 * 10]
    motion = Motion(engine, HOME, parked()).go(targets)
    assert (np.abs(motion.velocities) <= 1.05 * ROBOT.limits.velocity).all()
    error = np.abs(np.array(motion.measured) - motion.references)
    assert error[:, :-1].max() < 0.03
    assert error[:, -1].max() < 0.003


def test_at_rest_the_arm_holds_where_it_is(engine: PhysicsEngine) -> None:
    motion = Motion(engine, HOME, parked()).go(np.tile(HOME, (40, 1)))
    np.testing.assert_allclose(motion.measured[-1], HOME, rtol=0, atol=2e-3)
    assert np.abs(motion.velocities[-1]).max() < 1e-2


@pytest.mark.parametrize("name", ENGINES)
def test_a_reset_replays_bit_identically_whatever_ran_before(name: str) -> None:
    chunk = free_chunk(3, 30)
    low = chunk.copy()
    low[:, 1] += 0.5  # into the table and the cube
    grasp = {OBJECT: (0.38, 0.0, 0.02)}
    with_cube = parked(**grasp)
    fresh, used = (make_engine(name, ROBOT, scene()) for _ in range(2))
    expected = Motion(fresh, HOME, with_cube).go(low)
    Motion(used, HOME + 0.1 * np.append(np.ones(6), 0.0), parked(), Physics(0.5, 2.0, 0.7)).go(low[::-1])
    used.render("front", 32, 32)
    for _ in range(2):
        again = Motion(used, HOME, with_cube).go(low)
        np.testing.assert_array_equal(again.measured, expected.measured)
        np.testing.assert_array_equal(again.velocities, expected.velocities)
        for ours, theirs in zip(used.body_pose(OBJECT), fresh.body_pose(OBJECT)):
            np.testing.assert_array_equal(ours, theirs)
    fresh.close()
    used.close()


@pytest.mark.parametrize("name", ENGINES)
def test_two_engines_in_one_process_do_not_disturb_each_other(name: str) -> None:
    alone, one, other = (make_engine(name, ROBOT, scene()) for _ in range(3))
    chunk = free_chunk(4, 20)
    expected = Motion(alone, HOME, parked()).go(chunk).measured
    ours = Motion(one, HOME, parked())
    theirs = Motion(other, HOME, parked(), Physics(0.5, 3.0, 1.5))
    for step, target in enumerate(chunk):
        ours.go(target)
        theirs.go(chunk[-1 - step])
    np.testing.assert_array_equal(ours.measured, expected)
    other.close()
    alone.close()
    np.testing.assert_array_equal(Motion(one, HOME, parked()).go(chunk).measured, expected)
    one.close()


def slide(engine: PhysicsEngine, speed: float, physics: Physics) -> float:
    """Returns how far the object slides on the table [m]."""
    start = (0.3, -0.35, 0.0201)
    motion = Motion(engine, HOME, parked("push", **{OBJECT: start}), physics)
    motion.go(np.tile(HOME, (10, 1)))  # it settles
    before = engine.body_pose(OBJECT).position
    if engine.name == "mujoco":
        address = engine.model.joint(f"{OBJECT}_free").dofadr[0]
        engine.data.qvel[address + 1] = speed
    else:
        import pybullet

        pybullet.resetBaseVelocity(engine._bodies[OBJECT], (0.0, speed, 0.0), physicsClientId=engine.client)
    motion.go(np.tile(HOME, (40, 1)))
    assert engine.body_speed(OBJECT) < 1e-2
    return float(np.linalg.norm((engine.body_pose(OBJECT).position - before)[:2]))


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize(("friction", "mass"), [(1.0, 1.0), (0.5, 1.0), (1.5, 1.0), (1.0, 3.0)])
def test_a_puck_slides_as_far_as_coulomb_says(name: str, friction: float, mass: float) -> None:
    engine = make_engine(name, ROBOT, scene("push"))
    speed = 1.0
    expected = speed**2 / (2 * TABLE_FRICTION * friction * 9.81)
    assert slide(engine, speed, Physics(friction, mass)) == pytest.approx(expected, rel=0.1)
    engine.close()


def grasped(engine: PhysicsEngine, physics: Physics = NOMINAL) -> Motion:
    """Returns a motion at whose end the arm holds the cube 10 cm above the table."""
    kinematics = Kinematics(ROBOT)
    down = kinematics.tool_pose(ROBOT.home).rotation
    cube = np.array([0.38, 0.0, 0.02])
    at = kinematics.joints_for(ToolPose(cube, down), ROBOT.home, 30)
    above = kinematics.joints_for(ToolPose(cube + (0.0, 0.0, 0.1), down), ROBOT.home, 30)
    motion = Motion(engine, np.append(at, 0.04), parked(**{OBJECT: tuple(cube)}), physics)
    motion.go(np.tile(np.append(at, 0.0), (15, 1)))
    return motion.go(np.append(np.linspace(at, above, 30), np.zeros((30, 1)), axis=1)).go(np.tile(np.append(above, 0.0), (10, 1)))


@pytest.mark.parametrize("physics", [Physics(), Physics(friction=0.7, mass=2.0)], ids=["nominal", "slippery and heavy"])
def test_a_held_cube_does_not_slip_in_5_seconds(engine: PhysicsEngine, physics: Physics) -> None:
    motion = grasped(engine, physics)
    before, tool = engine.body_pose(OBJECT), engine.tool_pose()
    assert np.linalg.norm(before.position - tool.position) < 0.01, "it was not grasped"
    motion.go(np.tile(motion.limiter.position * [1, 1, 1, 1, 1, 1, 0], (100, 1)))
    after = engine.body_pose(OBJECT)
    assert np.linalg.norm(after.position - before.position) < 0.002
    assert angle_between(after, before) < 0.05


def pixels_like(image: NDArray[np.uint8], colour: tuple[float, float, float]) -> NDArray[np.int64]:
    """Returns row and column of the pixels that have about the hue of a colour, (n, 2)."""
    pixels = image / 255.0
    hues = pixels / np.maximum(np.linalg.norm(pixels, axis=-1, keepdims=True), 1e-6)
    return np.argwhere(hues @ (np.array(colour) / np.linalg.norm(colour)) > 0.985)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", ENGINES)
def test_images_show_object_and_goals(name: str, task: str) -> None:
    engine = make_engine(name, ROBOT, scene(task))
    for seed in range(3):
        engine.reset(HOME, TASKS[task].layout(np.random.default_rng(seed), NO_OFFSET).poses, NOMINAL)
        image = engine.render("front", 128, 96)
        assert image.shape == (96, 128, 3) and image.dtype == np.uint8
        for colour in (GREEN, YELLOW, *([RED] if TASKS[task].has_object else [])):
            assert len(pixels_like(image, colour)) >= 8, colour
    engine.close()


def test_the_wrist_camera_sees_what_is_below_the_hand(engine: PhysicsEngine) -> None:
    engine.reset(HOME, parked(**{OBJECT: (0.38, 0.0, 0.02)}), NOMINAL)
    image = engine.render("wrist", 64, 64)
    middle = pixels_like(image, RED).mean(axis=0)
    assert np.abs(middle[1] - 31.5) < 12, "the object is straight below"
    engine.reset(HOME, parked(), NOMINAL)
    assert len(pixels_like(engine.render("wrist", 64, 64), RED)) == 0


def test_light_brightens_and_rendering_changes_nothing(engine: PhysicsEngine) -> None:
    brightness = []
    for light in (0.5, 1.0, 1.4):
        motion = Motion(engine, HOME, parked(), Physics(light=light)).go(free_chunk(5, 5))
        state = engine.joint_state()
        image = engine.render("front", 64, 48)
        np.testing.assert_array_equal(image, engine.render("front", 64, 48))
        np.testing.assert_array_equal(engine.joint_state().positions, state.positions)
        brightness.append(image[30:, :].mean())
        motion.go(HOME)
    assert brightness[0] + 10 < brightness[1] < brightness[2]


def test_the_two_engines_draw_the_same_scene(engines: dict[str, PhysicsEngine]) -> None:
    images = []
    for one in engines.values():
        one.reset(HOME, parked(), NOMINAL)
        images.append(one.render("front", 128, 96))
    for colour in (RED, GREEN, YELLOW):
        np.testing.assert_allclose(*(pixels_like(image, colour).mean(axis=0) for image in images), rtol=0, atol=2.0)


def test_closing_twice_is_fine(engine: PhysicsEngine) -> None:
    engine.reset(HOME, parked(), NOMINAL)
    engine.render("front", 16, 16)
    engine.close()
    engine.close()


def test_engines_leave_standard_output_to_json() -> None:
    script = (
        "import numpy as np\n"
        "from policytrim_gym.envs.arm.arm_env import ArmEnv\n"
        "for engine in ('mujoco', 'pybullet'):\n"
        "    for robot in ('policytrim_arm', 'franka_panda'):\n"
        "        env = ArmEnv('push', engine=engine, robot=robot)\n"
        "        env.reset(seed=0)\n"
        "        env.step(np.append(env.command[:-1], 1.0))\n"
        "        env.close()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == ""
