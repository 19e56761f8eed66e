"""What the launch files start, as plain data: processes with their parameters, files, remappings and environment.

`launch/*.launch.py` make launch actions of it, `policytrim_ros.demo` starts the same processes without launch.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from policytrim_gym.errors import InvalidConfig
from policytrim_gym.share import share_file

PACKAGE = "policytrim_ros"
PROFILES = "FASTRTPS_DEFAULT_PROFILES_FILE"
"""Environment variable that Fast DDS reads its profiles from."""
CONTROLLER = "/joint_trajectory_controller/joint_trajectory"
TRAJECTORY_TOPICS = ("joint_trajectory", "gripper_trajectory")

Value = bool | int | float | str


class Argument(NamedTuple):
    """An argument of a launch file.

    Args:
        name: before `:=`.
        kind: of its value.
        description: what it does.
        default: as text; empty: whatever the parameter file says; None: it must be given.
    """

    name: str
    kind: type
    description: str
    default: str | None = ""


class NodeStart(NamedTuple):
    """One process of a plan.

    Args:
        executable: of this package.
        parameter_files: read first, in their order.
        parameters: override them.
        remappings: from a relative name to another.
    """

    executable: str
    parameter_files: tuple[Path, ...]
    parameters: dict[str, Value]
    remappings: tuple[tuple[str, str], ...] = ()

    def command(self) -> list[str]:
        """Returns the command line that starts it with this Python.

        >>> NodeStart("policy_node", (), {"policy": "runs/arm", "autostart": True}).command()[1:]
        ['-m', 'policytrim_ros.nodes.policy_node', '--ros-args', '-p', 'policy:="runs/arm"', '-p', 'autostart:=true']
        """
        words = [sys.executable, "-m", f"{PACKAGE}.nodes.{self.executable}", "--ros-args"]
        for file in self.parameter_files:
            words += ["--params-file", str(file)]
        for name, value in self.parameters.items():
            words += ["-p", f"{name}:={json.dumps(value)}"]  # quoted, a text of digits stays a text
        for source, target in self.remappings:
            words += ["-r", f"{source}:={target}"]
        return words


class LaunchPlan(NamedTuple):
    """What a launch file starts, and the environment that it adds to its own."""

    nodes: tuple[NodeStart, ...]
    environment: dict[str, str]


_POLICY = Argument("policy", str, "a checkpoint folder, ws://host:port or python:module:factory", None)
_ROBOT = Argument("robot", str, "name of a file in config/robots, or the path of a YAML file")
_HORIZON = Argument("execute_horizon", int, "actions of a chunk to run before the next takes over; 0: the checkpoint's")
_CLIP = Argument("clip", str, "what of a chunk is cut to its range before the gate: none, gripper or all, as Gymnasium does")
_SIM_CLIP = _CLIP._replace(default="all")  # in the simulation a policy is to do what it did when it was evaluated
_AUTOSTART = Argument(
    "autostart", bool, "configures and activates policy_node; false: a lifecycle manager does. policy/start moves the arm", "true"
)
_RECORD = Argument("record", str, "folder for a recording, made anew, with -2, -3, ... appended where it exists")
_POLICY_FILE = Argument("policy_parameters", str, "parameter file of policy_node; empty: the package's")
_MONITOR_FILE = Argument("monitor_parameters", str, "parameter file of monitor_node; empty: the package's")
_SIM_TIME = Argument("use_sim_time", bool, "whether the clock is that of /clock", "false")
_GRIPPER = Argument("gripper_controller", bool, "whether the fingers have a controller of their own, on gripper_trajectory")
_TOPICS = (
    Argument("joint_trajectory", str, "topic of the arm's controller", CONTROLLER),
    Argument("joint_states", str, "topic of the measured joints", "/joint_states"),
)

ARGUMENTS: dict[str, tuple[Argument, ...]] = {
    "sim": (
        _POLICY,
        Argument("task", str, "reach, push or pick-place"),
        Argument("engine", str, "of physics, mujoco or pybullet"),
        Argument("controller", str, "how a new trajectory replaces the present one: hard (at once) or stamp (at its time stamp)"),
        _ROBOT,
        _HORIZON,
        _SIM_CLIP,
        Argument("split", str, "of the initial states: train, validation or test"),
        Argument("first_state", int, "initial state of the first episode"),
        Argument("image_size", int, "width and height of the cameras' images, as the policy sees them [pixels]"),
        _GRIPPER,
        Argument("real_time_factor", float, "simulated seconds in a second; other than 1 only with use_sim_time"),
        _RECORD,
        _SIM_TIME._replace(description="whether the clock of all nodes is the simulation's"),
        _AUTOSTART,
        Argument("sim_arm_parameters", str, "parameter file of sim_arm_node; empty: the package's"),
        _POLICY_FILE,
        _MONITOR_FILE,
    ),
    "robot": (
        _POLICY,
        *_TOPICS,
        Argument("gripper_trajectory", str, "topic of the gripper's controller; empty: the arm's controller has the fingers too"),
        Argument("command_interface", str, "how the controllers are told: topic, or action: goals of FollowJointTrajectory", "topic"),
        Argument("arm_action", str, "with action: the arm's action, such as /joint_trajectory_controller/follow_joint_trajectory"),
        Argument("gripper_action", str, "with action: the gripper's action; empty: the arm's controller has the fingers too"),
        Argument("images", str, "topics of the cameras that the policy sees, such as front=/front/image_raw,wrist=/wrist/image_raw"),
        Argument("controller", str, "how the controller replaces a trajectory: hard (at once) or stamp (allow_trajectory_replacement)"),
        _ROBOT,
        _HORIZON,
        _CLIP,
        _RECORD,
        _SIM_TIME,
        _AUTOSTART,
        _POLICY_FILE,
        _MONITOR_FILE,
    ),
    "monitor": (*_TOPICS, _ROBOT, _RECORD, _SIM_TIME, _MONITOR_FILE),
}
"""The arguments of each launch file, by its name."""


def launch_plan(name: str, given: Mapping[str, str], environ: Mapping[str, str] = os.environ) -> LaunchPlan:
    """Returns what a launch file starts.

    Args:
        name: "sim", "robot" or "monitor".
        given: texts by the names of `ARGUMENTS`; what is left out takes its default.
        environ: of the caller; a profile that it names already stays.

    Raises:
        InvalidConfig: an argument that is unknown, missing or of another type.
        MissingFile: a parameter file that is not there.

    >>> plan = launch_plan("sim", {"policy": "runs/arm", "task": "reach"}, environ={})
    >>> [node.executable for node in plan.nodes]
    ['sim_arm_node', 'policy_node', 'monitor_node']
    >>> plan.nodes[1].parameters
    {'policy': 'runs/arm', 'clip': 'all', 'use_sim_time': False, 'autostart': True, 'has_object': False}
    """
    values = _values(name, given)
    nodes = {"sim": _sim, "robot": _robot, "monitor": _monitor}[name](values)
    environment = {} if PROFILES in environ else {PROFILES: str(share_file("config/fastdds_images.xml"))}
    return LaunchPlan(nodes, environment)


def _sim(values: Mapping[str, Value]) -> tuple[NodeStart, ...]:
    shared = ("robot", "controller", "gripper_controller", "use_sim_time")
    own = ("task", "engine", "split", "first_state", "image_size", "real_time_factor")
    policy = _parameters(values, "policy", "execute_horizon", "clip", *shared, "autostart")
    if "task" in values:
        policy["has_object"] = values["task"] != "reach"
    return (
        _start("sim_arm_node", values, _parameters(values, *own, *shared)),
        _start("policy_node", values, policy),
        _start("monitor_node", values, _parameters(values, "robot", "record", "use_sim_time")),
    )


def _robot(values: Mapping[str, Value]) -> tuple[NodeStart, ...]:
    own = ("policy", "execute_horizon", "clip", "command_interface", "arm_action", "gripper_action")
    parameters = _parameters(values, *own, "robot", "controller", "use_sim_time", "autostart")
    by_action = values["command_interface"] == "action"
    parameters["gripper_controller"] = ("gripper_action" if by_action else "gripper_trajectory") in values
    if by_action:
        values = _without_trajectory_topics(values)
    images = _camera_topics(str(values.get("images", "")))
    return (_start("policy_node", values, parameters, (*_remapped(values), *images)), *_monitor(values))


def _without_trajectory_topics(values: Mapping[str, Value]) -> dict[str, Value]:
    """Returns the values of a plan by action: a controller that got the topics too would end each goal for the same trajectory."""
    for name, default in zip(TRAJECTORY_TOPICS, (CONTROLLER, None)):
        if values.get(name) != default:
            raise InvalidConfig(f"{name} must not be given with command_interface:=action, which needs no topic, got {values[name]!r}")
    return {name: value for name, value in values.items() if name not in TRAJECTORY_TOPICS}


def _monitor(values: Mapping[str, Value]) -> tuple[NodeStart, ...]:
    return (_start("monitor_node", values, _parameters(values, "robot", "record", "use_sim_time"), _remapped(values)),)


def _start(
    executable: str, values: Mapping[str, Value], parameters: dict[str, Value], remappings: tuple[tuple[str, str], ...] = ()
) -> NodeStart:
    own = values.get(f"{executable.removesuffix('_node')}_parameters")
    file = share_file(f"config/{executable}.yaml") if own is None else Path(str(own))
    if not file.is_file():
        raise InvalidConfig(f"a parameter file of {executable} must be a file, got {file}")
    return NodeStart(executable, (file,), parameters, remappings)


def _parameters(values: Mapping[str, Value], *names: str) -> dict[str, Value]:
    return {name: values[name] for name in names if name in values}


def _remapped(values: Mapping[str, Value]) -> tuple[tuple[str, str], ...]:
    names = (*TRAJECTORY_TOPICS, "joint_states")
    return tuple((name, str(values[name])) for name in names if name in values)


def _camera_topics(text: str) -> tuple[tuple[str, str], ...]:
    """Returns the remappings of `front=/a,wrist=/b`."""
    pairs = [entry.partition("=") for entry in text.split(",") if entry]
    if any(not (camera and topic) for camera, _, topic in pairs):
        raise InvalidConfig(f"images must be camera=topic, separated by commas, got {text!r}")
    return tuple((f"image/{camera.strip()}", topic.strip()) for camera, _, topic in pairs)


def _values(name: str, given: Mapping[str, str]) -> dict[str, Value]:
    """Returns the typed values of the arguments that say something."""
    arguments = {argument.name: argument for argument in ARGUMENTS[name]}
    unknown = sorted(set(given) - set(arguments))
    if unknown:
        raise InvalidConfig(f"{name}.launch.py has no argument {unknown[0]!r}; it has {', '.join(arguments)}")
    texts = {argument.name: given.get(argument.name, argument.default) for argument in arguments.values()}
    missing = [key for key, text in texts.items() if text is None or (text == "" and arguments[key].default is None)]
    if missing:
        raise InvalidConfig(f"{name}.launch.py needs {missing[0]}:=..., got none")
    return {key: _typed(arguments[key], text) for key, text in texts.items() if text}


def _typed(argument: Argument, text: str) -> Value:
    readers: dict[type, Callable[[str], Any]] = {bool: lambda text: {"true": True, "false": False}[text.lower()]}
    try:
        value: Value = readers.get(argument.kind, argument.kind)(text)
        return value
    except (KeyError, ValueError):
        kind = "true or false" if argument.kind is bool else {int: "an integer", float: "a number"}[argument.kind]
        raise InvalidConfig(f"{argument.name} must be {kind}, got {text!r}") from None
