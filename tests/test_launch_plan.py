"""What the launch files start, checked without launch, and with it where it is installed."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import importlib.util
from pathlib import Path
from typing import get_type_hints

import pytest
import yaml

from policytrim_gym.errors import InvalidConfig
from policytrim_ros.launch_plan import ARGUMENTS, PROFILES, NodeStart, launch_plan

ROOT = Path(__file__).resolve().parents[1]
FILES = {path.name.removesuffix(".launch.py"): path for path in (ROOT / "launch").glob("*.launch.py")}
GIVEN = {
    "policy": "ws://gpu:8000",
    "task": "reach",
    "engine": "pybullet",
    "controller": "stamp",
    "robot": "franka_panda",
    "execute_horizon": "7",
    "clip": "none",
    "split": "validation",
    "first_state": "3",
    "image_size": "64",
    "gripper_controller": "false",
    "real_time_factor": "0.5",
    "record": "recordings/one",
    "use_sim_time": "true",
    "autostart": "false",
    "joint_trajectory": "/a/joint_trajectory",
    "joint_states": "/a/joint_states",
    "gripper_trajectory": "/g/joint_trajectory",
    "command_interface": "action",
    "arm_action": "/a/follow_joint_trajectory",
    "gripper_action": "/g/follow_joint_trajectory",
    "images": "front=/front/image_raw,wrist=/wrist/image_raw",
    "sim_arm_parameters": str(ROOT / "config" / "trim_arm.yaml"),
    "policy_parameters": str(ROOT / "config" / "trim_arm.yaml"),
    "monitor_parameters": str(ROOT / "config" / "trim_arm.yaml"),
}
"""For each argument a value that is not its default."""
BY_ACTION = {"command_interface", "arm_action", "gripper_action"}
TOPICS = {"joint_trajectory", "gripper_trajectory"}
"""Go with the one command interface and with the other."""


def given_to(name, *only, without=BY_ACTION):
    """Returns the values of a file's arguments, but for some, or of some of them and what must be given."""
    known = {argument.name for argument in ARGUMENTS[name]}
    needed = {"policy": "runs/arm"} if "policy" in known else {}
    return needed | {key: GIVEN[key] for key in known & set(only or GIVEN.keys() - without)}


def settings_of(node):
    """Returns the dataclass that a node takes its parameters from."""
    module = importlib.import_module(f"policytrim_ros.nodes.{node.executable.removesuffix('_node')}_settings")
    return next(value for value in vars(module).values() if dataclasses.is_dataclass(value) and value.__module__ == module.__name__)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_every_parameter_is_one_of_its_node_and_of_its_type(name):
    """A misspelt parameter would be ignored by ROS without a word."""
    for given in (given_to(name, "nothing"), given_to(name), given_to(name, without=TOPICS)):
        for node in launch_plan(name, given).nodes:
            settings = settings_of(node)
            values = {key: value for key, value in node.parameters.items() if key != "use_sim_time"}
            settings(**values)  # with types and ranges
            hints = get_type_hints(settings)
            assert all(type(value) is hints[key] for key, value in values.items() if hints[key] in (bool, int, float, str))
            assert type(node.parameters["use_sim_time"]) is bool


@pytest.mark.parametrize("name", ARGUMENTS)
def test_every_argument_changes_the_plan(name):
    plain = launch_plan(name, given_to(name, "nothing"))
    for argument in ARGUMENTS[name]:
        assert launch_plan(name, given_to(name, argument.name)) != plain, argument.name


def test_what_no_argument_names_is_left_to_the_parameter_files():
    """Else the defaults of arguments would silently win over a user's file."""
    nodes = {node.executable: node for node in launch_plan("sim", {"policy": "runs/arm"}).nodes}
    assert nodes["sim_arm_node"].parameters == {"use_sim_time": False}
    assert nodes["policy_node"].parameters == {"policy": "runs/arm", "clip": "all", "use_sim_time": False, "autostart": True}
    for executable, node in nodes.items():
        assert node.parameter_files == (ROOT / "config" / f"{executable}.yaml",)


def test_simulated_arm_and_policy_agree_on_what_both_must_know():
    arm, policy, monitor = (node.parameters for node in launch_plan("sim", given_to("sim")).nodes)
    for shared in ("robot", "controller", "gripper_controller", "use_sim_time"):
        assert arm[shared] == policy[shared]
    assert monitor["robot"] == arm["robot"] and monitor["use_sim_time"] is arm["use_sim_time"] is True
    assert [launch_plan("sim", {"policy": "p", "task": task}).nodes[1].parameters["has_object"] for task in ("reach", "push")] == [
        False,
        True,
    ]


def test_on_a_robot_the_topics_are_those_of_its_controllers_and_cameras():
    policy, monitor = launch_plan("robot", given_to("robot")).nodes
    topics = {key: GIVEN[key] for key in ("joint_trajectory", "joint_states", "gripper_trajectory")}
    assert dict(policy.remappings) == topics | {"image/front": "/front/image_raw", "image/wrist": "/wrist/image_raw"}
    assert dict(monitor.remappings) == topics
    assert policy.parameters["gripper_controller"] is True
    alone, watching = launch_plan("robot", {"policy": "p"}).nodes
    defaults = {"joint_trajectory": "/joint_trajectory_controller/joint_trajectory", "joint_states": "/joint_states"}
    assert dict(alone.remappings) == dict(watching.remappings) == dict(launch_plan("monitor", {}).nodes[0].remappings) == defaults
    assert alone.parameters["gripper_controller"] is False


def test_goals_of_actions_have_no_twin_on_the_topics_of_the_controllers():
    """Else a controller would end each goal for the same trajectory; the monitor hears what policy_node publishes beside it."""
    by_action = launch_plan("robot", given_to("robot", without=TOPICS))
    policy, monitor = by_action.nodes
    for node in (policy, monitor):
        assert {name for name, _ in node.remappings} & TOPICS == set() and ("joint_states", "/a/joint_states") in node.remappings
    assert {key: policy.parameters[key] for key in sorted(BY_ACTION)} == {key: GIVEN[key] for key in sorted(BY_ACTION)}
    assert policy.parameters["gripper_controller"] is True
    alone = launch_plan("robot", {"policy": "p", "command_interface": "action"}).nodes[0].parameters
    assert alone["gripper_controller"] is False and "arm_action" not in alone
    for topic in TOPICS:
        with pytest.raises(InvalidConfig, match=f"{topic} must not be given with command_interface:=action, .* got '{GIVEN[topic]}'"):
            launch_plan("robot", {"policy": "p", "command_interface": "action", topic: GIVEN[topic]})


def test_the_profile_for_images_is_set_unless_the_user_has_one():
    assert Path(launch_plan("monitor", {}, environ={}).environment[PROFILES]) == ROOT / "config" / "fastdds_images.xml"
    assert launch_plan("monitor", {}, environ={PROFILES: "mine.xml"}).environment == {}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "sim.launch.py needs policy:=..., got none"),
        ({"policy": ""}, "sim.launch.py needs policy:=..., got none"),
        ({"policy": "p", "tsak": "push"}, "sim.launch.py has no argument 'tsak'; it has policy, task"),
        ({"policy": "p", "real_time_factor": "fast"}, "real_time_factor must be a number, got 'fast'"),
        ({"policy": "p", "first_state": "1.5"}, "first_state must be an integer, got '1.5'"),
        ({"policy": "p", "use_sim_time": "yes"}, "use_sim_time must be true or false, got 'yes'"),
        ({"policy": "p", "policy_parameters": "no.yaml"}, "a parameter file of policy_node must be a file, got no.yaml"),
    ],
)
def test_a_wrong_argument_is_named(given, message):
    with pytest.raises(InvalidConfig) as raised:
        launch_plan("sim", given)
    assert message in str(raised.value)


def test_wrong_images_are_named():
    with pytest.raises(InvalidConfig, match="images must be camera=topic, separated by commas, got '/front/image_raw'"):
        launch_plan("robot", {"policy": "p", "images": "/front/image_raw"})


def test_a_node_gets_the_values_of_its_command_line_with_their_types():
    """What YAML would read as something else stays what it is."""
    rclpy = pytest.importorskip("rclpy")
    from rclpy.context import Context
    from rclpy.node import Node

    values = {"digits": "0123", "word": "true", "uri": "ws://gpu:8000", "path": 'runs/my "arm": #1', "empty": "", "flag": True, "rate": 0.5}
    command = NodeStart("policy_node", (), values, (("joint_states", "/a/joint_states"),)).command()
    context = Context()
    rclpy.init(args=command, context=context)
    node = Node("policy_node", context=context)
    assert {name: node.declare_parameter(name, type(value)()).value for name, value in values.items()} == values
    assert node.resolve_topic_name("joint_states") == "/a/joint_states"
    node.destroy_node()
    rclpy.shutdown(context=context)


def test_a_plan_comes_after_the_parameter_file():
    """The later one wins."""
    command = launch_plan("sim", {"policy": "runs/arm"}).nodes[1].command()
    assert command.index("--params-file") < command.index("-p")


def test_each_launch_file_is_the_description_of_its_name():
    assert set(FILES) == set(ARGUMENTS)
    for name, path in FILES.items():
        tree = ast.parse(path.read_text())
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        assert [(call.func.id, call.args[0].value) for call in calls] == [("launch_description", name)]
        assert {node.name for node in tree.body if isinstance(node, ast.FunctionDef)} == {"generate_launch_description"}


def test_each_parameter_file_is_for_its_node_and_holds_all_of_its_parameters():
    for node in launch_plan("sim", {"policy": "p"}).nodes:
        content = yaml.safe_load(node.parameter_files[0].read_text())
        parameters = content[f"/**/{node.executable}"]["ros__parameters"]
        assert set(parameters) == {field.name for field in dataclasses.fields(settings_of(node))} | {"use_sim_time"}


def test_the_reference_lists_every_argument_with_its_files_and_default():
    page = (ROOT / "docs" / "reference" / "ros.md").read_text()
    rows = [row.split("|")[1:4] for row in page.splitlines() if row.startswith("| `")]
    listed = {tuple(cell.strip() for cell in row) for row in rows}
    for name, default in {(argument.name, argument.default) for arguments in ARGUMENTS.values() for argument in arguments}:
        files = ", ".join(file for file, those in ARGUMENTS.items() if (name, default) in {(one.name, one.default) for one in those})
        assert (f"`{name}`", files, "required" if default is None else f"`{default}`" if default else "") in listed


@pytest.mark.parametrize("name", ARGUMENTS)
def test_launch_makes_the_actions_of_the_plan(name):
    """With the real launch; the folder launch/ passes for a package of that name, so launch_ros is asked for."""
    pytest.importorskip("launch_ros", reason="launch_ros is not installed: it comes with a ROS distribution")
    from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable

    from launch import LaunchContext

    module = importlib.util.spec_from_file_location(name, FILES[name])
    loaded = importlib.util.module_from_spec(module)
    module.loader.exec_module(loaded)
    *declared, function = loaded.generate_launch_description().entities
    assert [action.name for action in declared] == [argument.name for argument in ARGUMENTS[name]]
    assert all(isinstance(action, DeclareLaunchArgument) for action in declared) and isinstance(function, OpaqueFunction)
    context = LaunchContext()
    context.launch_configurations.update({argument.name: argument.default or "" for argument in ARGUMENTS[name]} | given_to(name))
    actions = function.execute(context)
    plan = launch_plan(name, given_to(name))
    nodes = [action for action in actions if not isinstance(action, SetEnvironmentVariable)]
    assert len(actions) - len(nodes) == len(plan.environment)
    assert [node.node_executable for node in nodes] == [node.executable for node in plan.nodes]
    for action, node in zip(nodes, plan.nodes):
        action._perform_substitutions(context)
        _, written = (path for path, _ in action._Node__expanded_parameter_arguments)
        (parameters,) = yaml.safe_load(Path(written).read_text()).values()
        assert parameters["ros__parameters"] == node.parameters
        assert tuple(action.expanded_remapping_rules or ()) == node.remappings
