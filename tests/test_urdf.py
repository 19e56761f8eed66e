"""Laws of the arm's description: what its macros promise, what four libraries read from it, and what ros2_control gets."""

from __future__ import annotations

import math
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import yaml

from policytrim_gym.robot.robot_config import load_robot_config
from policytrim_gym.robot.robot_model import load_robot

ROOT = Path(__file__).resolve().parents[1]
XACRO = ROOT / "urdf/policytrim_arm.urdf.xacro"
PLAIN = ROOT / "urdf/policytrim_arm.urdf"
DENSITY = 1100.0
CONFIG = yaml.safe_load((ROOT / "config/robots/policytrim_arm.yaml").read_text())
ARM = ElementTree.parse(PLAIN).getroot()
JOINTS = [*CONFIG["joints"], *CONFIG["gripper"]["joints"]]


def expand(**arguments: str) -> ElementTree.Element:
    """Returns what the xacro gives with arguments."""
    xacro = pytest.importorskip("xacro")
    return ElementTree.fromstring(xacro.process_file(str(XACRO), mappings=arguments).toxml())


def as_tree(element: ElementTree.Element) -> tuple:
    """Returns an element without the layout of its text."""
    return element.tag, sorted(element.attrib.items()), (element.text or "").strip(), [as_tree(child) for child in element]


def bodies() -> list[ElementTree.Element]:
    return [link for link in ARM.findall("link") if link.find("collision") is not None]


def numbers(text: str) -> np.ndarray:
    return np.array([float(word) for word in text.split()])


def solid_inertia(geometry: ElementTree.Element) -> tuple[float, np.ndarray]:
    """Returns mass and principal inertias of a homogeneous solid in its own frame."""
    (shape,) = geometry
    if shape.tag == "box":
        size = numbers(shape.get("size"))
        mass = DENSITY * size.prod()
        return mass, mass * (np.sum(size**2) - size**2) / 12
    assert shape.tag == "cylinder"
    radius, length = float(shape.get("radius")), float(shape.get("length"))
    mass = DENSITY * math.pi * radius**2 * length
    across = mass * (radius**2 / 4 + length**2 / 12)
    return mass, np.array([across, across, mass * radius**2 / 2])


class TestXacro:
    def test_the_plain_file_is_its_output(self, tmp_path):
        pytest.importorskip("xacro")
        made = tmp_path / "made.urdf"
        # In the folder, as `make urdf` does: the header names the file as it was given.
        script = "import xacro; xacro.main()"
        subprocess.run([sys.executable, "-c", script, XACRO.name, "-o", str(made)], cwd=XACRO.parent, check=True, timeout=60)
        assert made.read_text() == PLAIN.read_text(), "run `make urdf`"

    def test_the_default_is_mock_hardware_without_prefix(self):
        assert as_tree(expand()) == as_tree(expand(hardware="mock", prefix="")) == as_tree(ARM)
        assert ARM.findtext("ros2_control/hardware/plugin") == "mock_components/GenericSystem"

    def test_another_hardware_changes_the_plugin_only(self):
        robot = expand(hardware="my_driver/MySystem")
        plugin = robot.find("ros2_control/hardware/plugin")
        assert plugin.text == "my_driver/MySystem"
        plugin.text = "mock_components/GenericSystem"
        assert as_tree(robot) == as_tree(ARM)

    def test_a_prefix_is_before_every_link_and_joint_and_their_uses(self):
        robot = expand(prefix="left_")
        named = {"link", "joint", "ros2_control", "visual", "collision"}
        for element in robot.iter():
            for attribute in ("name", "link", "joint"):
                value = element.get(attribute)
                if value is not None and (element.tag in named or attribute != "name"):
                    assert value.startswith("left_"), (element.tag, value)
                    element.set(attribute, value.removeprefix("left_"))
        assert as_tree(robot) == as_tree(ARM)


class TestBodies:
    @pytest.mark.parametrize("link", bodies(), ids=lambda link: link.get("name"))
    def test_mass_and_inertia_are_those_of_the_shape(self, link):
        mass, principal = solid_inertia(link.find("collision/geometry"))
        inertia = link.find("inertial/inertia").attrib
        assert float(link.find("inertial/mass").get("value")) == pytest.approx(mass, rel=1e-9)
        assert [float(inertia[key]) for key in ("ixx", "iyy", "izz")] == pytest.approx(principal.tolist(), rel=1e-9)
        assert [float(inertia[key]) for key in ("ixy", "ixz", "iyz")] == [0, 0, 0]
        assert link.find("inertial/origin").attrib == link.find("collision/origin").attrib

    @pytest.mark.parametrize("link", bodies(), ids=lambda link: link.get("name"))
    def test_a_body_can_have_such_an_inertia(self, link):
        inertia = link.find("inertial/inertia").attrib
        moments = [float(inertia[key]) for key in ("ixx", "iyy", "izz")]
        assert min(moments) > 0
        assert all(first + second >= third for first, second, third in permutations(moments))

    @pytest.mark.parametrize("link", bodies(), ids=lambda link: link.get("name"))
    def test_what_collides_is_what_is_seen(self, link):
        for part in ("origin", "geometry"):
            assert as_tree(link.find(f"collision/{part}")) == as_tree(link.find(f"visual/{part}"))

    def test_frames_weigh_nothing_and_say_so(self):
        frames = [link for link in ARM.findall("link") if link.find("collision") is None]
        assert [link.get("name") for link in frames] == [CONFIG["tool_link"], CONFIG["camera_link"]]
        # Without a mass, PyBullet would take 1 kg at the end of the arm.
        assert [link.find("inertial/mass").get("value") for link in frames] == ["0", "0"]


class TestJoints:
    def test_the_moving_joints_are_those_of_the_robot_file(self):
        assert [joint.get("name") for joint in ARM.findall("joint") if joint.get("type") != "fixed"] == JOINTS

    @pytest.mark.parametrize("name", JOINTS)
    def test_every_moving_joint_is_limited(self, name):
        limit = {key: float(value) for key, value in ARM.find(f"joint[@name='{name}']/limit").attrib.items()}
        assert limit["lower"] < limit["upper"] and limit["velocity"] > 0 and limit["effort"] > 0

    def test_the_right_finger_mirrors_the_left(self):
        left, right = (ARM.find(f"joint[@name='finger_{side}_joint']") for side in ("left", "right"))
        assert right.find("mimic").attrib == {"joint": "finger_left_joint", "multiplier": "1", "offset": "0"}
        assert len(ARM.findall(".//mimic")) == 1
        assert numbers(left.find("axis").get("xyz")) == pytest.approx(-numbers(right.find("axis").get("xyz")))
        mirrored = numbers(right.find("origin").get("xyz")) * [1, -1, 1]
        assert numbers(left.find("origin").get("xyz")) == pytest.approx(mirrored)
        assert left.find("limit").attrib == right.find("limit").attrib

    def test_ros2_control_starts_at_home_and_commands_each_joint_that_has_a_motor(self):
        control = {joint.get("name"): joint for joint in ARM.findall("ros2_control/joint")}
        assert list(control) == JOINTS
        home = dict(zip([*CONFIG["joints"], "finger_left_joint"], [*CONFIG["home"], CONFIG["gripper"]["open"]]))
        for name, joint in control.items():
            assert [state.get("name") for state in joint.findall("state_interface")] == ["position", "velocity"]
            commands = [command.get("name") for command in joint.findall("command_interface")]
            assert commands == (["position"] if name in home else []), name  # the right finger follows by its mimic
            if name in home:
                initial = float(joint.findtext("state_interface[@name='position']/param[@name='initial_value']"))
                limit = ARM.find(f"joint[@name='{name}']/limit").attrib
                assert initial == home[name]
                assert float(limit["lower"]) <= initial <= float(limit["upper"])


class TestLibraries:
    """Each library is asked for what the env or ROS will ask it for; expected values come from the XML itself."""

    def test_check_urdf_finds_nothing(self):
        program = Path(sys.executable).parent / "check_urdf"
        if not program.is_file():
            pytest.skip("check_urdf is not beside the interpreter; it comes with the extra arm")
        done = subprocess.run([str(program), str(PLAIN)], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and "Successfully Parsed XML" in done.stdout
        assert "error" not in (done.stdout + done.stderr).lower() and "warn" not in (done.stdout + done.stderr).lower()

    @pytest.mark.parametrize("library", ["mujoco", "pybullet", "yourdfpy", "pinocchio"])
    def test_limits_are_read_as_written(self, library):
        limits = [ARM.find(f"joint[@name='{name}']/limit").attrib for name in JOINTS]
        expected = [[float(limit["lower"]), float(limit["upper"])] for limit in limits]
        np.testing.assert_allclose(READERS[library]().position_limits(), expected, rtol=0, atol=1e-9)

    @pytest.mark.parametrize("library", ["mujoco", "pybullet", "yourdfpy", "pinocchio"])
    def test_the_arm_weighs_what_its_shapes_weigh(self, library):
        expected = sum(solid_inertia(link.find("collision/geometry"))[0] for link in bodies())
        assert READERS[library]().mass() == pytest.approx(expected, rel=1e-6)

    @pytest.mark.parametrize("library", ["mujoco", "pybullet", "yourdfpy"])
    def test_the_tool_is_where_pinocchio_has_it(self, library):
        reference, reader = READERS["pinocchio"](), READERS[library]()
        lower, upper = np.array(reference.position_limits()).T
        for positions in np.random.default_rng(0).uniform(lower, upper, size=(5, len(JOINTS))):
            positions[-1] = positions[-2]  # the mirrored finger
            np.testing.assert_allclose(reader.tool_pose(positions), reference.tool_pose(positions), rtol=0, atol=1e-6)

    @pytest.mark.parametrize("library", ["mujoco", "pybullet"])
    def test_an_engine_accelerates_the_same_mass_matrix_as_pinocchio(self, library):
        reference, reader = READERS["pinocchio"](), READERS[library]()
        lower, upper = np.array(reference.position_limits()).T
        for positions in np.random.default_rng(1).uniform(lower, upper, size=(3, len(JOINTS))):
            np.testing.assert_allclose(reader.mass_matrix(positions), reference.mass_matrix(positions), rtol=0, atol=1e-6)


class MujocoReader:
    def __init__(self) -> None:
        self.mujoco = pytest.importorskip("mujoco")
        spec = self.mujoco.MjSpec.from_string(PLAIN.read_text())
        spec.compiler.fusestatic = False  # else the tool's frame and the base's mass go into their parents
        self.model = spec.compile()
        self.data = self.mujoco.MjData(self.model)
        self.addresses = [self.model.joint(name).qposadr[0] for name in JOINTS]

    def position_limits(self):
        return [self.model.joint(name).range for name in JOINTS]

    def mass(self) -> float:
        return self.model.body_mass.sum()

    def tool_pose(self, positions):
        self.data.qpos[self.addresses] = positions
        self.mujoco.mj_kinematics(self.model, self.data)
        tool = self.data.body("tool")
        return np.column_stack([tool.xmat.reshape(3, 3), tool.xpos])

    def mass_matrix(self, positions):
        self.data.qpos[self.addresses] = positions
        self.mujoco.mj_forward(self.model, self.data)
        full = np.zeros((self.model.nv, self.model.nv))
        self.mujoco.mj_fullM(self.model, full, self.data.qM)
        return full


class PybulletReader:
    def __init__(self) -> None:
        pybullet = pytest.importorskip("pybullet")
        pybullet_utils = pytest.importorskip("pybullet_utils.bullet_client")
        self.client = pybullet_utils.BulletClient(pybullet.DIRECT)
        # By default PyBullet takes inertias from the boxes around the shapes.
        self.body = self.client.loadURDF(str(PLAIN), useFixedBase=True, flags=pybullet.URDF_USE_INERTIA_FROM_FILE)
        infos = [self.client.getJointInfo(self.body, index) for index in range(self.client.getNumJoints(self.body))]
        self.joints = {info[1].decode(): info for info in infos}
        self.links = {info[12].decode(): info[0] for info in infos}

    def position_limits(self):
        return [self.joints[name][8:10] for name in JOINTS]

    def mass(self) -> float:
        # A fixed base has no mass in the engine.
        free = self.client.loadURDF(str(PLAIN), flags=self.client.URDF_USE_INERTIA_FROM_FILE)
        return sum(self.client.getDynamicsInfo(free, index)[0] for index in range(-1, len(self.joints)))

    def tool_pose(self, positions):
        for name, position in zip(JOINTS, positions):
            self.client.resetJointState(self.body, self.joints[name][0], position)
        state = self.client.getLinkState(self.body, self.links["tool"], computeForwardKinematics=True)
        rotation = np.array(self.client.getMatrixFromQuaternion(state[5])).reshape(3, 3)
        return np.column_stack([rotation, state[4]])

    def mass_matrix(self, positions):
        return np.array(self.client.calculateMassMatrix(self.body, positions.tolist()))


class YourdfpyReader:
    def __init__(self) -> None:
        self.urdf = pytest.importorskip("yourdfpy").URDF.load(str(PLAIN))

    def position_limits(self):
        limits = [self.urdf.joint_map[name].limit for name in JOINTS]
        return [(limit.lower, limit.upper) for limit in limits]

    def mass(self) -> float:
        return sum(link.inertial.mass for link in self.urdf.robot.links)

    def tool_pose(self, positions):
        self.urdf.update_cfg(dict(zip(self.urdf.actuated_joint_names, positions)))
        return self.urdf.get_transform("tool", "base_link")[:3]


class PinocchioReader:
    def __init__(self) -> None:
        self.pinocchio = pytest.importorskip("pinocchio")
        self.model = self.pinocchio.buildModelFromUrdf(str(PLAIN))
        self.data = self.model.createData()
        assert list(self.model.names)[1:] == JOINTS

    def position_limits(self):
        return np.column_stack([self.model.lowerPositionLimit, self.model.upperPositionLimit])

    def mass(self) -> float:
        return sum(inertia.mass for inertia in self.model.inertias)

    def tool_pose(self, positions):
        return frame_pose(self.model, "tool", positions)

    def mass_matrix(self, positions):
        upper = np.triu(self.pinocchio.crba(self.model, self.data, positions))
        return upper + np.triu(upper, 1).T


READERS = {"mujoco": MujocoReader, "pybullet": PybulletReader, "yourdfpy": YourdfpyReader, "pinocchio": PinocchioReader}


def frame_pose(model, frame: str, positions: np.ndarray) -> np.ndarray:
    """Returns the pose of a frame by pinocchio, (3, 4)."""
    import pinocchio

    data = model.createData()
    pinocchio.framesForwardKinematics(model, data, positions)
    return data.oMf[model.getFrameId(frame)].homogeneous[:3]


def home_pose(name: str) -> np.ndarray:
    """Returns the tool's pose at a robot's home with an open gripper, (3, 4); loading has checked that home is within the limits."""
    pinocchio = pytest.importorskip("pinocchio")
    pytest.importorskip("pybullet_data")
    robot = load_robot(name)
    model = pinocchio.buildModelFromUrdf(str(robot.urdf_file))
    gripper = robot.config.gripper
    assert list(model.names)[1:] == [*robot.config.joints, *gripper.joints]
    return frame_pose(model, robot.config.tool_link, np.array([*robot.home, *(gripper.open for _ in gripper.joints)]))


@pytest.mark.parametrize("name", ["policytrim_arm", "franka_panda"])
def test_at_home_the_tool_points_down_over_the_table(name):
    pose = home_pose(name)
    across = np.hypot(*pose[:2, 2])
    assert math.atan2(across, -pose[2, 2]) < 0.05
    assert abs(pose[1, 3]) < 0.01 and 0.2 < pose[2, 3] < 0.35


def test_the_panda_works_further_away_by_its_scene_offset():
    panda, own = home_pose("franka_panda"), home_pose("policytrim_arm")
    assert panda[:, 3] == pytest.approx([0.4, 0.0, 0.25], abs=0.001)
    assert panda[:2, 3] - own[:2, 3] == pytest.approx(load_robot_config("franka_panda").scene_offset, abs=0.01)


def test_the_rviz_config_shows_this_robot():
    config = yaml.safe_load((ROOT / "config/view_arm.rviz").read_text())["Visualization Manager"]
    assert config["Global Options"]["Fixed Frame"] == "base_link"
    displays = {display["Class"].rpartition("/")[2]: display for display in config["Displays"]}
    assert set(displays) == {"Grid", "RobotModel", "TF"}
    assert displays["RobotModel"]["Description Topic"]["Value"] == "/robot_description"
    frames = set(displays["TF"]["Frames"]) - {"All Enabled"}
    assert "base_link" in frames and frames <= {link.get("name") for link in ARM.findall("link")}
